"""The charts of `explain`'s picture: credit weights and rewards of an episode, and effects of a function's arguments.

Few agents have a line each, many a row of a heat map, whose colors are those of the agents in the scenes.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize

from qllm_jax.mixers.influence import Influence
from qllm_jax.reporting.frames import Film
from qllm_jax.reporting.style import CURVE_COLORS, GRID_COLOR, MARK, Scale, weight_color

MAX_LINES = len(CURVE_COLORS)  # agents; more are a heat map
MAX_ROWS = 10  # arguments in the picture
MAX_NAME = 34  # letters of an argument's name in the picture
MARGIN = 0.2  # inches, at the left of the picture
RED = tuple(part / 255 for part in MARK)


def draw_weights(
    axes: Axes, weights: Float[np.ndarray, "slots agents"], scale: Scale, color_bar: Callable[[], Axes]
) -> None:
    """Draw a line per agent, or a heat map with a color bar, whose axes `color_bar` makes."""
    slots, agents = weights.shape
    axes.set_title("credit weights  ∂Q_tot / ∂q", fontsize=10.5, loc="left", pad=16)
    axes.tick_params(labelbottom=False)
    if agents <= MAX_LINES:
        for i, color in zip(range(agents), CURVE_COLORS, strict=False):
            axes.plot(weights[:, i], color=color, linewidth=1.8, label=f"agent {i}", marker="o", markersize=2.5)
        axes.axhline(1.0, color=RED, linestyle="--", linewidth=1, label="VDN")
        axes.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1.0, 0.5))
        axes.set_ylabel("weight")
        clean(axes, "y")
        return
    levels = np.linspace(scale.low, scale.high, 256)
    colors = ListedColormap([np.array(weight_color(level, scale)) / 255 for level in levels])
    norm = Normalize(scale.low, scale.high)
    edges = np.arange(slots + 1) - 0.5
    axes.pcolormesh(edges, np.arange(agents + 1) - 0.5, weights.T, cmap=colors, norm=norm, rasterized=True)
    axes.set_ylim(agents - 0.5, -0.5)
    axes.set_yticks(range(0, agents, -(-agents // 10)))
    axes.set_ylabel("agent")
    axes.figure.colorbar(ScalarMappable(norm, colors), cax=color_bar(), label="weight")


def draw_rewards(axes: Axes, film: Film) -> None:
    """Draw the reward of each step between the states before and after it."""
    steps = len(film.reward_t)
    axes.bar(np.arange(steps) + 0.5, film.reward_t, width=0.8, color="#8a9099")
    axes.axhline(0.0, color="black", linewidth=0.6)
    axes.set_xlim(-0.5, steps + 0.5)
    axes.set_ylabel("reward")
    axes.set_xlabel("steps taken", labelpad=1)
    clean(axes, "y")


def letter(i: int) -> str:
    """A, B, C ..."""
    return chr(ord("A") + i)


def mark_moments(above: Axes, below: Axes, times: Sequence[int]) -> None:
    """Mark the slots whose scenes are shown, with their letters."""
    for i, t in enumerate(times):
        for axes in (above, below):
            axes.axvline(t, color="black", linewidth=0.8, linestyle=":")
        above.text(t, 1.02, letter(i), transform=above.get_xaxis_transform(), ha="center", fontsize=9)


def draw_effects(panels: Sequence[Any], found: Influence, measured_in: str) -> None:
    """Draw the three measures as bars, an argument a row, the largest change of shares on top."""
    shown = found.effects[:MAX_ROWS]
    columns = (
        ("change of shares", [e.shares for e in shown], found.together.shares),
        ("change of weights", [e.weights for e in shown], found.together.weights),
        ("sensitivity", [e.sensitivity for e in shown], None),
    )
    for axes, (title, values, together) in zip(panels, columns, strict=True):
        axes.barh(range(len(shown)), [value or 0.0 for value in values], height=0.62, color=CURVE_COLORS[0])
        for row, value in enumerate(values):
            axes.text(0.0, row, " not continuous" if value is None else "", va="center", fontsize=8, color="#747a82")
        if together:
            axes.axvline(together, color=RED, linestyle="--", linewidth=1)
        high = max([value for value in (*values, together) if value] or [1.0])
        axes.set_xlim(0.0, 1.05 * high)
        axes.set_ylim(len(shown) - 0.5, -0.6)
        axes.set_yticks([])
        axes.set_title(title, fontsize=10, loc="left")
        axes.locator_params(axis="x", nbins=4)
        if all(value is None for value in values):
            axes.set_xticks([])
        clean(axes, "x")
    panels[0].set_yticks(range(len(shown)), [short(effect.name) for effect in shown])
    left = len(found.effects) - len(shown)
    rest = f"; {left} more in the table" if left else ""
    figure = panels[0].figure
    at = panels[0].get_position().y1 + 0.5 / figure.get_figheight()
    text = f"What each argument does to the weights, in {measured_in}; dashed: all replaced at once{rest}"
    figure.text(MARGIN / figure.get_figwidth(), at, text, fontsize=10.5, va="center")


def short(name: str) -> str:
    """The name of an argument for a picture: a formula of the flat state without its loop."""
    name = re.sub(r"^\[(.*?) for .*\]$", r"\1", name)
    return name if len(name) <= MAX_NAME else name[: MAX_NAME - 1] + "…"


def clean(axes: Axes, grid: Literal["x", "y"]) -> None:
    """Draw a pale grid along one axis, and no frame above and at the right."""
    axes.grid(axis=grid, color=GRID_COLOR, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)
