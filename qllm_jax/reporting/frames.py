"""Frames of an episode: the scene on the left, every agent's credit weight as a bar on the right.

A frame is drawn at twice its final size and halved, since Pillow does not smooth edges. All lengths are in pixels of
the large picture. Colors and sizes are in style.py.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw
from PIL.ImageDraw import ImageDraw as Pen

from qllm_envs.core import Scene
from qllm_jax import stats
from qllm_jax.reporting.scene import draw_key, draw_scene
from qllm_jax.reporting.style import INK, LINE, MARK, PALE, PAPER, SIZE, Scale, font, minus, weight_color

BARS = (1190, 290, 1760, 1120)  # x0, y0, x1, y1 without labels, values and ticks
MAX_ROW_HEIGHT = 230


class Film(NamedTuple):
    """An episode of T steps, as T + 1 frames show it."""

    title: str
    scenes: tuple[Scene, ...]  # T+1
    weights: Float[np.ndarray, "slots agents"] | None  # None: the method has none, and the frames say so
    reward_t: Float[np.ndarray, " time"]


def frames(film: Film) -> list[Image.Image]:
    """All frames, on one scale."""
    scale = scale_of(film)
    return [frame(film, scale, t) for t in range(len(film.scenes))]


def frame(film: Film, scale: Scale, t: int) -> Image.Image:
    """The frame after `t` steps."""
    image = Image.new("RGB", SIZE, PAPER)
    pen = ImageDraw.Draw(image)
    draw_header(pen, film, t)
    weights = None if film.weights is None else film.weights[t]
    draw_scene(image, film.scenes[t], weights, scale)
    draw_key(image, film.scenes[t])
    if weights is None:
        pen.text((BARS[0], BARS[1] - 76), "this method has no credit weights", PALE, font(32, bold=True), anchor="lm")
    else:
        draw_bars(pen, weights, scale, present(film, t))
    return image.resize((SIZE[0] // 2, SIZE[1] // 2), Image.Resampling.LANCZOS)


def present(film: Film, t: int) -> set[int]:
    """Return the agents that the frame after `t` steps shows; all, if no frame of the film shows any.

    An agent that has died is in no scene, and its credit weight means nothing.
    """
    shown = [{shape.agent for shape in scene.shapes if shape.agent is not None} for scene in film.scenes]
    return shown[t] if any(shown) or film.weights is None else set(range(film.weights.shape[1]))


def scale_of(film: Film) -> Scale:
    """The bounds of all scenes, and an axis with 0, 1 and all weights."""
    corners = np.array([scene.bounds for scene in film.scenes])
    x0, y0, x1, y1 = (*corners[:, :2].min(0).tolist(), *corners[:, 2:].max(0).tolist())
    weights = np.zeros(1) if film.weights is None else film.weights
    low, high = min(0.0, float(weights.min())), max(1.0, float(weights.max()))
    step = nice_step((high - low) / 4)
    ticks = tuple(step * i for i in range(round(np.floor(low / step)), round(np.ceil(high / step)) + 1))
    inside = tuple(tick for tick in ticks if low <= tick <= high)
    return Scale((x0, y0, x1, y1), low, high, inside)


def nice_step(rough: float) -> float:
    """The smallest of 1, 2, 2.5 and 5 times a power of ten that is at least `rough`."""
    power = 10.0 ** np.floor(np.log10(rough))
    return float(next(power * k for k in (1, 2, 2.5, 5, 10) if power * k >= rough * (1 - 1e-9)))


def draw_header(pen: Pen, film: Film, t: int) -> None:
    """Draw the title, the time, the reward so far and a progress line."""
    n_steps, width = len(film.reward_t), SIZE[0] - 80
    fits = min(1.0, width / font(38, bold=True).getlength(film.title))
    pen.text((40, 64), film.title, INK, font(int(38 * fits), bold=True), anchor="lm")
    reward = f"reward so far {minus(stats.format_number(film.reward_t[:t].sum(), film.reward_t.sum()))}"
    pen.text((40, 128), f"step {t} of {n_steps}", INK, font(34), anchor="lm")
    pen.text((400, 128), reward, INK, font(34), anchor="lm")
    pen.rectangle((40, 168, 40 + width, 173), LINE)
    pen.rectangle((40, 168, 40 + width * t / n_steps, 173), PALE)


def draw_bars(pen: Pen, weights: np.ndarray, scale: Scale, present: set[int]) -> None:
    """Draw a row for each agent (its number, a bar from 0, its weight), and the line at 1; no bar for the dead."""
    left, top, right, bottom = BARS
    row = min(MAX_ROW_HEIGHT, (bottom - top) / len(weights))
    end = top + row * len(weights)
    at = lambda value: left + (right - left) * (value - scale.low) / (scale.high - scale.low)
    draw_axis(pen, scale, at, end)
    size = int(np.clip(0.62 * row, 10, 32))
    # If rows are too low for text, every second, fifth, tenth ... agent has a label.
    every = next(k for k in (1, 2, 5, 10, 20, 50, 100, 10**9) if k * row >= 18)
    for agent, weight in enumerate(weights.tolist()):
        y = top + row * (agent + 0.5)
        thick, lives = min(0.36 * row, 60), agent in present
        x0, x1 = sorted((at(0.0), at(weight)))
        if lives:
            pen.rectangle((x0, y - thick, x1, y + thick), weight_color(weight, scale), INK if row > 12 else None, 2)
        if agent % every == 0:
            color = INK if lives else PALE
            pen.text((left - 20, y), f"agent {agent}", color, font(size), anchor="rm")
            figure = minus(f"{weight:.2f}" if abs(weight) < 100 else f"{weight:.0f}") if lives else "dead"
            pen.text((right + 24, y), figure, color, font(size), anchor="lm")
    for y in np.arange(top - 10, end + 10, 16):
        pen.line((at(1.0), y, at(1.0), min(y + 9, end + 10)), MARK, 4)


def draw_axis(pen: Pen, scale: Scale, at: Callable[[float], float], end: float) -> None:
    """Draw title, grid and ticks of the bars' axis. `at` maps a value to its x; `end` is the y below the last row."""
    left, top = BARS[:2]
    pen.text((left, top - 76), "credit weight  ∂Q_tot / ∂q", INK, font(32, bold=True), anchor="lm")
    pen.text((left, top - 36), "dashed: 1, equal credit (VDN)", MARK, font(24), anchor="lm")
    for tick in scale.ticks:
        pen.line((at(tick), top - 10, at(tick), end + 10), PALE if tick == 0 else LINE, 3)
        pen.text((at(tick), end + 36), minus(f"{tick:g}"), PALE, font(26), anchor="mm")
