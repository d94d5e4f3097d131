"""The scene of a frame: rings, then shapes, lines, bars, and labels on top of all."""

import numpy as np
from PIL import Image, ImageDraw
from PIL.ImageDraw import ImageDraw as Pen

from qllm_envs.core import Scene, Shape
from qllm_jax.reporting.style import (
    INK,
    LINE,
    PANEL,
    PAPER,
    SCENE,
    SIZE,
    Color,
    Scale,
    font,
    rgb,
    ring_color,
    text_color,
    weight_color,
)

MIN_RADIUS = 8
MIN_RADIUS_WITH_BARS = 24  # of units in battles, which bars would cover if they were smaller
KEY_SIZE, KEY_GAP = 26, 40  # of text; pixels between entries
LINE_WIDTH, LINE_END = 4, 6  # thickness, and radius of the dot at the end


def draw_scene(image: Image.Image, scene: Scene, weights: np.ndarray | None, scale: Scale) -> None:
    """Draw all shapes of a scene. With weights, the color of an agent shows its weight."""
    pen = ImageDraw.Draw(image)
    pen.rounded_rectangle(SCENE, 12, PANEL, LINE, 3)
    _draw_rings(image, scene, scale)
    solid = [(shape, *_placed(shape, scale)) for shape in scene.shapes if shape.kind != "ring"]
    for shape, x, y, radius in solid:
        fill = fill_color(shape, weights, scale)
        outline = PAPER if shape.agent is None else rgb(shape.color)
        draw = pen.ellipse if shape.kind == "circle" else pen.rectangle
        draw((x - radius, y - radius, x + radius, y + radius), fill, outline, 2 if shape.agent is None else 6)
    for line in scene.lines:
        ends = [to_pixels(end, 0.0, scale)[:2] for end in (line.start, line.end)]
        pen.line(ends, rgb(line.color), LINE_WIDTH)
        pen.circle(ends[1], LINE_END, rgb(line.color))
    for shape, x, y, radius in solid:
        _draw_bars(pen, shape, x, y, radius)
    for shape, x, y, radius in solid:
        if shape.label:
            fill = fill_color(shape, weights, scale)
            size = int(np.clip(radius * 0.9, 20, 40))
            style = {"font": font(size, bold=True), "anchor": "mm", "stroke_width": 4, "stroke_fill": fill}
            pen.text((x, y), shape.label, text_color(fill), **style)


def _placed(shape: Shape, scale: Scale) -> tuple[float, float, float]:
    x, y, radius = to_pixels(shape.center, shape.radius, scale)
    return x, y, max(radius, MIN_RADIUS_WITH_BARS) if shape.bars else radius


def draw_key(image: Image.Image, scene: Scene) -> None:
    """Draw what shapes stand for below the scene, in one line, with smaller letters if it is long."""
    pen = ImageDraw.Draw(image)
    left, _, right, bottom = SCENE
    width = sum(font(KEY_SIZE).getlength(each.text) + KEY_SIZE + 12 + KEY_GAP for each in scene.key)
    size = int(KEY_SIZE * min(1.0, (right - left) / max(width, 1.0)))
    x, y, half = float(left), (bottom + SIZE[1]) / 2, 0.45 * size
    for each in scene.key:
        box, color = (x, y - half, x + 2 * half, y + half), rgb(each.color)
        if each.kind == "ring":
            pen.ellipse(box, outline=ring_color(each.color), width=3)
        elif each.kind == "line":
            pen.line((x, y, x + 2 * half, y), color, LINE_WIDTH)
        else:
            (pen.ellipse if each.kind == "circle" else pen.rectangle)(box, color)
        pen.text((x + 2 * half + 12, y), each.text, INK, font(size), anchor="lm")
        x += 2 * half + 12 + font(size).getlength(each.text) + KEY_GAP * size / KEY_SIZE


def _draw_rings(image: Image.Image, scene: Scene, scale: Scale) -> None:
    """Draw the rings, clipped at the frame of the scene, which is 3 wide."""
    left, top, right, bottom = SCENE
    layer = image.crop((left + 3, top + 3, right - 2, bottom - 2))
    pen = ImageDraw.Draw(layer)
    for shape in scene.shapes:
        if shape.kind == "ring":
            x, y, radius = to_pixels(shape.center, shape.radius, scale)
            pen.circle((x - left - 3, y - top - 3), radius, outline=ring_color(shape.color), width=3)
    image.paste(layer, (left + 3, top + 3))


def _draw_bars(pen: Pen, shape: Shape, x: float, y: float, radius: float) -> None:
    """Draw the bars of a shape on its upper part, where they cover no neighbor."""
    high, half = int(np.clip(0.3 * radius, 7, 14)), 0.85 * radius
    left, top, frame = x - half, y - 0.45 * radius - high * len(shape.bars), 1 if high < 6 else 2
    if shape.bars:
        box = (left - frame, top - frame, x + half + frame, top + high * len(shape.bars) + frame - 1)
        pen.rectangle(box, INK)
    for i, bar in enumerate(shape.bars):
        box = (left, top + high * i, left + 2 * half * bar.share, top + high * (i + 1) - 1)
        if bar.share > 0:
            pen.rectangle(box, rgb(bar.color))


def fill_color(shape: Shape, weights: np.ndarray | None, scale: Scale) -> Color:
    """The color of an agent's weight if there are weights, else the shape's own color."""
    if shape.agent is None or weights is None:
        return rgb(shape.color)
    return weight_color(float(weights[shape.agent]), scale)


def to_pixels(center: tuple[float, float], radius: float, scale: Scale) -> tuple[float, float, float]:
    """Pixel coordinates and radius in pixels of a point and a radius of the scene. In a picture, y grows downwards."""
    x0, y0, x1, y1 = scale.bounds
    left, top, right, bottom = SCENE
    unit = min((right - left) / (x1 - x0), (bottom - top) / (y1 - y0))
    x = (left + right) / 2 + unit * (center[0] - (x0 + x1) / 2)
    y = (top + bottom) / 2 - unit * (center[1] - (y0 + y1) / 2)
    return x, y, max(MIN_RADIUS, unit * radius)
