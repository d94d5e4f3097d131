"""The picture of `explain`: scenes of telling moments, credit weights and rewards of an episode, effects of arguments.

The charts are in explanation_charts.py. Lengths are in inches. Colors are in style.py.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

from qllm_envs.core import Key
from qllm_jax import files, stats
from qllm_jax.mixers.influence import Influence
from qllm_jax.reporting import explanation_charts as charts
from qllm_jax.reporting import frames
from qllm_jax.reporting.explanation_charts import MARGIN, MAX_ROWS
from qllm_jax.reporting.frames import Film
from qllm_jax.reporting.scene import draw_scene
from qllm_jax.reporting.style import (
    CURVE_COLORS,
    MARK,
    PANEL,
    PAPER,
    SCENE,
    SIZE,
    Scale,
    hexadecimal,
    palette,
    rgb,
    ring_color,
    weight_color,
)

N_MOMENTS = 6
WIDTH, LEFT, RIGHT = 11.0, 0.8, 1.1
TITLE, STRIP, KEY, WEIGHTS, REWARD, ROW = 0.75, 1.66, 0.3, 2.3, 0.9, 0.27
SCENE_PIXELS, DPI = 330, 130
KEY_SIZE, GAP, MAX_LETTERS = 8.5, 7, 145  # points; letters as wide as the space between two entries, and as the picture


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
    bars = ROW * (min(MAX_ROWS, len(explained.influence.effects)) + 0.6)
    heights = (TITLE, STRIP, KEY, 0.45, WEIGHTS, 0.12, REWARD, 1.15, bars, 0.4)
    figure = Figure((WIDTH, sum(heights)))  # of its own, without pyplot: no window and no global state
    FigureCanvasAgg(figure)
    tops = sum(heights) - np.cumsum((0, *heights))[:-1]

    def axes(row: int, left: float, width: float, **options: Any) -> Axes:
        bottom, height = tops[row] - heights[row], heights[row]
        return figure.add_axes((left / WIDTH, bottom / sum(heights), width / WIDTH, height / sum(heights)), **options)

    film, times = explained.film, moments(explained.weights)
    scale = frames.scale_of(film)
    figure.text(MARGIN / WIDTH, 1 - 0.28 / sum(heights), film.title, fontsize=13, fontweight="bold", va="center")
    step = (WIDTH - 2 * MARGIN) / N_MOMENTS
    for i, t in enumerate(times):
        draw_moment(axes(1, MARGIN + i * step + (step - STRIP) / 2, STRIP), explained, scale, t, charts.letter(i))
    draw_key(axes(2, MARGIN, WIDTH - 2 * MARGIN), film.scenes[0].key, scale)
    above = axes(4, LEFT, WIDTH - LEFT - RIGHT)
    below = axes(6, LEFT, WIDTH - LEFT - RIGHT, sharex=above)
    charts.draw_weights(above, explained.weights, scale, lambda: axes(4, WIDTH - RIGHT + 0.15, 0.14))
    charts.draw_rewards(below, film)
    charts.mark_moments(above, below, times)
    panels = [axes(8, left, 2.2) for left in (3.2, 5.75, 8.3)]
    charts.draw_effects(panels, explained.influence, caption(explained))
    save(figure, out)


def save(figure: Any, out: Path) -> None:
    """Write a figure atomically, in the format of the suffix; a PNG in 256 colors, which is a third of its size."""
    suffix = out.suffix[1:].lower()
    with files.replacing(out) as temporary:
        if suffix != "png":
            figure.savefig(temporary, format=suffix, dpi=DPI)
            return
        figure.dpi = DPI
        figure.canvas.draw()
        image = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3])
        in_palette(image).save(temporary, "PNG", optimize=True, dpi=(DPI, DPI))


def in_palette(image: Image.Image) -> Image.Image:
    """Reduce an image to 256 colors, among them those of thin lines and of weights, which averages would blur."""
    of_weights = [weight_color(level, Scale((0, 0, 1, 1), -1, 1, ())) for level in np.linspace(-1, 1, 81)]
    found = palette(image, (PAPER, PANEL, MARK, *map(rgb, CURVE_COLORS), *of_weights))
    return image.quantize(palette=found, dither=Image.Dither.NONE)


def draw_moment(axes: Axes, explained: Explanation, scale: Scale, t: int, name: str) -> None:
    """Draw the scene at slot `t`, with the drawing of films."""
    image = Image.new("RGB", SIZE, PAPER)
    draw_scene(image, explained.film.scenes[t], explained.weights[t], scale)
    left, top, right, bottom = SCENE
    cropped = image.crop((left, top, right + 1, bottom + 1))
    axes.imshow(np.asarray(cropped.resize((SCENE_PIXELS, SCENE_PIXELS), Image.Resampling.LANCZOS)))
    axes.set_axis_off()
    when = f"after {stats.count(t, 'step')}" if t else "start"
    axes.set_title(f"{name}: {when}", fontsize=9.5, pad=4)


def draw_key(axes: Axes, key: tuple[Key, ...], scale: Scale) -> None:
    """Draw what the shapes of the scenes stand for, in one line, with smaller letters if it is long; agents first."""
    entries = (Key("circle", hexadecimal(weight_color(1.0, scale)), "agent, darker with a larger weight"), *key)
    handles = [Line2D([], [], label=each.text, **mark_of(each)) for each in entries]
    letters = sum(len(each.text) + GAP for each in entries)
    size = KEY_SIZE * min(1.0, MAX_LETTERS / letters)
    axes.set_axis_off()
    axes.legend(handles=handles, ncols=len(handles), frameon=False, fontsize=size, loc="center", handletextpad=0.3)


def mark_of(entry: Key) -> dict[str, Any]:
    """Options of matplotlib's Line2D that make it look as the shape of an entry."""
    if entry.kind == "line":
        return {"color": entry.color, "linewidth": 2}
    shape = {"linestyle": "none", "marker": "s" if entry.kind == "square" else "o", "markersize": 8}
    if entry.kind == "ring":
        return shape | {"markerfacecolor": "none", "markeredgecolor": hexadecimal(ring_color(entry.color))}
    return shape | {"color": entry.color, "markeredgecolor": "none"}


def caption(explained: Explanation) -> str:
    """Number of states and episodes over which effects were measured."""
    return f"{explained.influence.n_states:,} states of {explained.episodes} episodes"
