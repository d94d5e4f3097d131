"""Frames of an episode: the scene on the left, every agent's credit weight as a bar on the right.

Drawn at twice the final size and halved, since Pillow does not smooth edges. All lengths here are in large pixels.
"""

from functools import cache
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from jaxtyping import Float
from matplotlib import colormaps, colors
from PIL import Image, ImageDraw, ImageFont
from PIL.ImageDraw import ImageDraw as Pen

from qllm_envs.core import Scene, Shape
from qllm_jax import stats

Color = tuple[int, int, int]

SIZE = (1920, 1240)
SCENE = (40, 200, 1020, 1180)  # x0, y0, x1, y1
BARS = (1190, 290, 1760, 1120)  # without labels, values and ticks
INK, PALE, LINE = (32, 36, 42), (116, 122, 130), (214, 218, 223)
PAPER, PANEL, MARK = (255, 255, 255), (244, 245, 247), (200, 60, 40)
MAX_ROW = 230
MIN_RADIUS = 8


class Film(NamedTuple):
    """An episode of T steps to draw: T + 1 pictures."""

    title: str
    scenes: tuple[Scene, ...]  # T+1
    weights: Float[np.ndarray, "slots agents"] | None  # None: the method has none, and the film says so
    reward_t: Float[np.ndarray, " time"]


class Scale(NamedTuple):
    """What must not move from frame to frame: the scene's bounds and the axis of the bars."""

    bounds: tuple[float, float, float, float]
    low: float
    high: float
    ticks: tuple[float, ...]


def frames(film: Film) -> list[Image.Image]:
    """All pictures, on one scale."""
    scale = scale_of(film)
    return [frame(film, scale, t) for t in range(len(film.scenes))]


def frame(film: Film, scale: Scale, t: int) -> Image.Image:
    """The picture after `t` steps."""
    image = Image.new("RGB", SIZE, PAPER)
    pen = ImageDraw.Draw(image)
    draw_header(pen, film, t)
    weights = None if film.weights is None else film.weights[t]
    draw_scene(pen, film.scenes[t], weights, scale)
    if weights is None:
        pen.text((BARS[0], BARS[1] - 76), "this method has no credit weights", PALE, font(32, bold=True), anchor="lm")
    else:
        draw_bars(pen, weights, scale)
    return image.resize((SIZE[0] // 2, SIZE[1] // 2), Image.Resampling.LANCZOS)


def scale_of(film: Film) -> Scale:
    """Bounds that hold all scenes; an axis that holds 0, 1 and all weights."""
    corners = np.array([scene.bounds for scene in film.scenes])
    x0, y0, x1, y1 = (*corners[:, :2].min(0).tolist(), *corners[:, 2:].max(0).tolist())
    weights = np.zeros(1) if film.weights is None else film.weights
    low, high = min(0.0, float(weights.min())), max(1.0, float(weights.max()))
    step = nice_step((high - low) / 4)
    ticks = tuple(step * i for i in range(round(np.floor(low / step)), round(np.ceil(high / step)) + 1))
    inside = tuple(tick for tick in ticks if low <= tick <= high)
    return Scale((x0, y0, x1, y1), low, high, inside)


def nice_step(rough: float) -> float:
    """The smallest of 1, 2, 2.5, 5 times a power of ten that is no smaller than `rough`."""
    power = 10.0 ** np.floor(np.log10(rough))
    return float(next(power * k for k in (1, 2, 2.5, 5, 10) if power * k >= rough * (1 - 1e-9)))


def color_of(weight: float, scale: Scale) -> Color:
    """Pale at 0, bluer with more credit, more orange the more negative (ColorBrewer: safe for the color-blind)."""
    share = abs(weight) / max(scale.high, -scale.low)
    return rgb(colormaps["Blues"](0.06 + 0.84 * share) if weight >= 0 else colormaps["Oranges"](0.25 + 0.65 * share))


def rgb(color: object) -> Color:
    """A color of matplotlib as three bytes."""
    red, green, blue = (round(255 * part) for part in colors.to_rgb(color))  # pyright: ignore[reportArgumentType]
    return red, green, blue


def on(color: Color) -> Color:
    """Black or white, whichever reads better on a color."""
    return INK if np.dot(color, (0.299, 0.587, 0.114)) > 140 else PAPER


@cache
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib and has mathematical signs."""
    fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return ImageFont.truetype(str(fonts / ("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf")), size)


def draw_header(pen: Pen, film: Film, t: int) -> None:
    """Title, time, reward so far, and a line that grows with time."""
    n_steps, width = len(film.reward_t), SIZE[0] - 80
    fits = min(1.0, width / font(38, bold=True).getlength(film.title))
    pen.text((40, 64), film.title, INK, font(int(38 * fits), bold=True), anchor="lm")
    reward = f"reward so far {minus(stats.number(film.reward_t[:t].sum(), film.reward_t.sum()))}"
    pen.text((40, 128), f"step {t} of {n_steps}", INK, font(34), anchor="lm")
    pen.text((400, 128), reward, INK, font(34), anchor="lm")
    pen.rectangle((40, 168, 40 + width, 173), LINE)
    pen.rectangle((40, 168, 40 + width * t / n_steps, 173), PALE)


def minus(number: str) -> str:
    """A number with a true minus sign."""
    return number.replace("-", "−")  # noqa: RUF001


def draw_scene(pen: Pen, scene: Scene, weights: np.ndarray | None, scale: Scale) -> None:
    """Shapes in their order, then all labels, so that no label is covered. An agent is filled by its weight."""
    pen.rounded_rectangle(SCENE, 12, PANEL, LINE, 3)
    for shape in scene.shapes:
        fill = fill_of(shape, weights, scale)
        outline = PAPER if shape.agent is None else rgb(shape.color)
        draw = pen.ellipse if shape.kind == "circle" else pen.rectangle
        x, y, radius = place(shape, scale)
        draw((x - radius, y - radius, x + radius, y + radius), fill, outline, 2 if shape.agent is None else 6)
    for shape in scene.shapes:
        if shape.label:
            x, y, radius = place(shape, scale)
            fill = fill_of(shape, weights, scale)
            size = int(np.clip(radius * 0.9, 20, 40))
            style = {"font": font(size, bold=True), "anchor": "mm", "stroke_width": 4, "stroke_fill": fill}
            pen.text((x, y), shape.label, on(fill), **style)


def fill_of(shape: Shape, weights: np.ndarray | None, scale: Scale) -> Color:
    """An agent's color by its weight where there are weights, else the shape's own."""
    if shape.agent is None or weights is None:
        return rgb(shape.color)
    return color_of(float(weights[shape.agent]), scale)


def place(shape: Shape, scale: Scale) -> tuple[float, float, float]:
    """Center and radius of a shape in the picture; y grows downwards there."""
    x0, y0, x1, y1 = scale.bounds
    left, top, right, bottom = SCENE
    unit = min((right - left) / (x1 - x0), (bottom - top) / (y1 - y0))
    x = (left + right) / 2 + unit * (shape.center[0] - (x0 + x1) / 2)
    y = (top + bottom) / 2 - unit * (shape.center[1] - (y0 + y1) / 2)
    return x, y, max(MIN_RADIUS, unit * shape.radius)


def draw_bars(pen: Pen, weights: np.ndarray, scale: Scale) -> None:
    """A row an agent: its number, its bar from 0, its weight; and the line at 1."""
    left, top, right, bottom = BARS
    row = min(MAX_ROW, (bottom - top) / len(weights))
    end = top + row * len(weights)
    at = lambda value: left + (right - left) * (value - scale.low) / (scale.high - scale.low)
    draw_axis(pen, scale, at, end)
    size = int(np.clip(0.62 * row, 10, 32))
    # Rows too low for text name every second, fifth, tenth ... agent.
    every = next(k for k in (1, 2, 5, 10, 20, 50, 100, 10**9) if k * row >= 18)
    for agent, weight in enumerate(weights.tolist()):
        y = top + row * (agent + 0.5)
        thick = min(0.36 * row, 60)
        x0, x1 = sorted((at(0.0), at(weight)))
        pen.rectangle((x0, y - thick, x1, y + thick), color_of(weight, scale), INK if row > 12 else None, 2)
        if agent % every == 0:
            pen.text((left - 20, y), f"agent {agent}", INK, font(size), anchor="rm")
            figure = minus(f"{weight:.2f}" if abs(weight) < 100 else f"{weight:.0f}")
            pen.text((right + 24, y), figure, INK, font(size), anchor="lm")
    for y in np.arange(top - 10, end + 10, 16):
        pen.line((at(1.0), y, at(1.0), min(y + 9, end + 10)), MARK, 4)


def draw_axis(pen: Pen, scale: Scale, at, end: float) -> None:
    """Title, grid and numbers of the bars' axis; `at` gives the x of a value, `end` is the y below the last row."""
    left, top = BARS[:2]
    pen.text((left, top - 76), "credit weight  ∂Q_tot / ∂q", INK, font(32, bold=True), anchor="lm")
    pen.text((left, top - 36), "dashed: 1, equal credit (VDN)", MARK, font(24), anchor="lm")
    for tick in scale.ticks:
        pen.line((at(tick), top - 10, at(tick), end + 10), PALE if tick == 0 else LINE, 3)
        pen.text((at(tick), end + 36), minus(f"{tick:g}"), PALE, font(26), anchor="mm")
