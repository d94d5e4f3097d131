"""What all parts of a frame share: sizes, colors, fonts, and the scale that holds for a whole film.

All lengths are in pixels of the large picture, which is halved in the end.
"""

from functools import cache
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib import colormaps, colors
from PIL import ImageFont

Color = tuple[int, int, int]

SIZE = (1920, 1240)
SCENE = (40, 200, 1020, 1180)  # x0, y0, x1, y1
INK, PALE, LINE = (32, 36, 42), (116, 122, 130), (214, 218, 223)
PAPER, PANEL, MARK = (255, 255, 255), (244, 245, 247), (200, 60, 40)


class Scale(NamedTuple):
    """What must not move from frame to frame: the scene's bounds and the axis of the bars."""

    bounds: tuple[float, float, float, float]
    low: float
    high: float
    ticks: tuple[float, ...]


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


def minus(number: str) -> str:
    """A number with a true minus sign."""
    return number.replace("-", "−")  # noqa: RUF001
