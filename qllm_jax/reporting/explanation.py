"""The picture of `explain`: scenes of telling moments, credit weights and rewards of an episode, effects of arguments.

Few agents have a line each, many a row of a heat map, whose colors are those of the agents in the scenes. Lengths are
in inches. Colors are in style.py.
"""

import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from PIL import Image

from qllm_jax.mixers.influence import Effect, Influence
from qllm_jax.reporting import frames
from qllm_jax.reporting.frames import Film
from qllm_jax.reporting.scene import draw_scene
from qllm_jax.reporting.style import CURVE_COLORS, GRID_COLOR, MARK, PANEL, PAPER, SCENE, SIZE, Scale, rgb, weight_color

MAX_LINES = len(CURVE_COLORS)  # agents; more are a heat map
MAX_ROWS = 10  # arguments in the picture
MAX_NAME = 34  # letters of an argument's name in the picture
N_MOMENTS = 6
WIDTH, MARGIN, LEFT, RIGHT = 11.0, 0.2, 0.8, 1.1
TITLE, STRIP, WEIGHTS, REWARD, ROW = 0.75, 1.66, 2.3, 0.9, 0.27
SCENE_PIXELS, DPI = 330, 130
RED = tuple(part / 255 for part in MARK)


class Explanation(NamedTuple):
    """An episode with its credit weights, and the effects of arguments over the states of several episodes."""

    film: Film
    weights: Float[np.ndarray, "slots agents"]  # those of the film
    influence: Influence
    episodes: int


def moments(weights: Float[np.ndarray, "slots agents"]) -> list[int]:
    """Slots to show: the first, the last, and of equal parts of the time between the slot of the largest change.

    A change is sum_i |w_i - w_i one step before|; of equal ones, as in VDN, the middle one of the part counts.
    """
    last = len(weights) - 1
    change = np.abs(np.diff(weights, axis=0)).sum(1)  # of the slots 1 ... last
    found = {0, last}
    for part in np.array_split(np.arange(1, last), N_MOMENTS - 2):
        if len(part):
            largest = part[change[part - 1] >= change[part - 1].max()]
            found.add(int(largest[len(largest) // 2]))
    return sorted(found)


def draw(explained: Explanation, out: Path) -> None:
    """Write the picture atomically, in the format of the suffix."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = explained.influence.effects[:MAX_ROWS]
    bars = ROW * (len(shown) + 0.6)
    heights = (TITLE, STRIP, 0.45, WEIGHTS, 0.12, REWARD, 1.15, bars, 0.4)
    figure = Figure((WIDTH, sum(heights)))  # of its own, without pyplot: no window and no global state
    FigureCanvasAgg(figure)
    tops = sum(heights) - np.cumsum((0, *heights))[:-1]

    def axes(row: int, left: float, width: float, **options: Any) -> Any:
        bottom, height = tops[row] - heights[row], heights[row]
        return figure.add_axes((left / WIDTH, bottom / sum(heights), width / WIDTH, height / sum(heights)), **options)

    film, times = explained.film, moments(explained.weights)
    scale = frames.scale_of(film)
    figure.text(MARGIN / WIDTH, 1 - 0.28 / sum(heights), film.title, fontsize=13, fontweight="bold", va="center")
    step = (WIDTH - 2 * MARGIN) / N_MOMENTS
    for i, t in enumerate(times):
        draw_moment(axes(1, MARGIN + i * step + (step - STRIP) / 2, STRIP), explained, scale, t, letter(i))
    above = axes(3, LEFT, WIDTH - LEFT - RIGHT)
    below = axes(5, LEFT, WIDTH - LEFT - RIGHT, sharex=above)
    draw_weights(above, explained.weights, scale, lambda: axes(3, WIDTH - RIGHT + 0.15, 0.14))
    draw_rewards(below, film)
    mark_moments(above, below, times)
    draw_effects([axes(7, left, 2.2) for left in (3.2, 5.75, 8.3)], explained, shown)
    save(figure, out)


def save(figure: Any, out: Path) -> None:
    """Write a figure atomically, in the format of the suffix; a PNG in 256 colors, which is a third of its size."""
    temporary, suffix = out.with_name(out.name + ".tmp"), out.suffix[1:].lower()
    if suffix == "png":
        figure.dpi = DPI
        figure.canvas.draw()
        image = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3])
        in_palette(image).save(temporary, "PNG", optimize=True, dpi=(DPI, DPI))
    else:
        figure.savefig(temporary, format=suffix, dpi=DPI)
    temporary.replace(out)


def in_palette(image: Image.Image) -> Image.Image:
    """Reduce an image to 256 colors, among them those of thin lines and of weights, which averages would blur."""
    of_weights = [weight_color(level, Scale((0, 0, 1, 1), -1, 1, ())) for level in np.linspace(-1, 1, 81)]
    exact = [part for color in (PAPER, PANEL, MARK, *map(rgb, CURVE_COLORS), *of_weights) for part in color]
    found = image.quantize(256 - len(exact) // 3, Image.Quantize.MEDIANCUT).getpalette()
    averages = np.array(found).reshape(-1, 3)
    averages = averages[averages.min(1) < min(PANEL) - 4]  # else a background would be an average with its neighbors
    palette = Image.new("P", (1, 1))
    palette.putpalette([*exact, *averages.ravel().tolist()])
    return image.quantize(palette=palette, dither=Image.Dither.NONE)


def letter(i: int) -> str:
    """A, B, C ..."""
    return chr(ord("A") + i)


def draw_moment(axes: Any, explained: Explanation, scale: Scale, t: int, name: str) -> None:
    """Draw the scene at slot `t`, with the drawing of films."""
    image = Image.new("RGB", SIZE, PAPER)
    draw_scene(image, explained.film.scenes[t], explained.weights[t], scale)
    left, top, right, bottom = SCENE
    cropped = image.crop((left, top, right + 1, bottom + 1))
    axes.imshow(np.asarray(cropped.resize((SCENE_PIXELS, SCENE_PIXELS), Image.Resampling.LANCZOS)))
    axes.set_axis_off()
    axes.set_title(f"{name}: after {t} steps" if t else f"{name}: start", fontsize=9.5, pad=4)


def draw_weights(axes: Any, weights: Float[np.ndarray, "slots agents"], scale: Scale, color_bar: Any) -> None:
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
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize

    levels = np.linspace(scale.low, scale.high, 256)
    colors = ListedColormap([np.array(weight_color(level, scale)) / 255 for level in levels])
    norm = Normalize(scale.low, scale.high)
    edges = np.arange(slots + 1) - 0.5
    axes.pcolormesh(edges, np.arange(agents + 1) - 0.5, weights.T, cmap=colors, norm=norm, rasterized=True)
    axes.set_ylim(agents - 0.5, -0.5)
    axes.set_yticks(range(0, agents, -(-agents // 10)))
    axes.set_ylabel("agent")
    axes.figure.colorbar(ScalarMappable(norm, colors), cax=color_bar(), label="weight")


def draw_rewards(axes: Any, film: Film) -> None:
    """Draw the reward of each step between the states before and after it."""
    steps = len(film.reward_t)
    axes.bar(np.arange(steps) + 0.5, film.reward_t, width=0.8, color="#8a9099")
    axes.axhline(0.0, color="black", linewidth=0.6)
    axes.set_xlim(-0.5, steps + 0.5)
    axes.set_ylabel("reward")
    axes.set_xlabel("steps taken", labelpad=1)
    clean(axes, "y")


def mark_moments(above: Any, below: Any, times: list[int]) -> None:
    """Mark the slots whose scenes are shown, with their letters."""
    for i, t in enumerate(times):
        for axes in (above, below):
            axes.axvline(t, color="black", linewidth=0.8, linestyle=":")
        above.text(t, 1.02, letter(i), transform=above.get_xaxis_transform(), ha="center", fontsize=9)


def draw_effects(panels: list[Any], explained: Explanation, shown: tuple[Effect, ...]) -> None:
    """Draw the three measures as bars, an argument a row, the largest change of shares on top."""
    found = explained.influence
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
    height = panels[0].figure.get_figheight()
    at = panels[0].get_position().y1 + 0.5 / height
    text = f"What each argument does to the weights, in {caption(explained)}; dashed: all replaced at once{rest}"
    panels[0].figure.text(MARGIN / WIDTH, at, text, fontsize=10.5, va="center")


def caption(explained: Explanation) -> str:
    """Number of states and episodes over which effects were measured."""
    return f"{explained.influence.n_states:,} states of {explained.episodes} episodes"


def short(name: str) -> str:
    """The name of an argument for a picture: a formula of the flat state without its loop."""
    name = re.sub(r"^\[(.*?) for .*\]$", r"\1", name)
    return name if len(name) <= MAX_NAME else name[: MAX_NAME - 1] + "…"


def clean(axes: Any, grid: str) -> None:
    """Draw a pale grid along one axis, and no frame above and at the right."""
    axes.grid(axis=grid, color=GRID_COLOR, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)
