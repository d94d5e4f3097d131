"""All colors and fonts of the report's curves (PNG, PDF, SVG) and of the frames of `render`, and the sizes of a frame.

The colors of an environment's own shapes are in its `scene` function (`envs/qllm_envs/NAME.py`).
"""

from collections.abc import Iterable, Sequence
from functools import cache
from itertools import cycle, product
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib import colormaps, colors
from PIL import Image, ImageFont

Color = tuple[int, int, int]

# Learning curves. Okabe and Ito 2008: distinct for any color vision. Their yellow is too pale for lines on white.
CURVE_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
CURVE_DASHES = ("-", "-.", ":")  # "--" is the random policy; with the colors: 21 looks, one for each method
CURVE_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")
OWN_LOOKS = ("qllm", "qmix", "vdn")  # methods with the first colors: alike in all pictures, whatever is beside them
BAND_ALPHA = 0.18  # opacity of the 95% band of a curve
RANDOM_COLOR, GRID_COLOR = "gray", "#dddddd"

# Frames: text and outlines, pale text, lines, background, background of the scene, the mark at weight 1.
INK, PALE, LINE = (32, 36, 42), (116, 122, 130), (214, 218, 223)
PAPER, PANEL, MARK = (255, 255, 255), (244, 245, 247), (200, 60, 40)
POSITIVE_WEIGHTS, NEGATIVE_WEIGHTS = "Blues", "Oranges"  # matplotlib's ColorBrewer maps, safe for the color-blind
RING_PALENESS = 0.55  # share of the background in the color of a ring

# Sizes of a frame in pixels before it is halved (see frames.py); the scene as x0, y0, x1, y1.
SIZE = (1920, 1240)
SCENE = (40, 200, 1020, 1180)


class Look(NamedTuple):
    """Color, dash and marker of one method in all pictures of a report."""

    color: str
    dash: str
    marker: str


def looks(names: Iterable[str]) -> dict[str, Look]:
    """Return a look for each name, different for 21. The methods of `OWN_LOOKS` have the same in every picture."""
    known = [(color, dash) for dash, color in product(CURVE_DASHES, CURVE_COLORS)]
    distinct = list(dict.fromkeys(names))
    by_method = {name.removeprefix("matched_"): name for name in distinct}
    own = {by_method[method]: i for i, method in enumerate(OWN_LOOKS) if method in by_method}
    free = [*range(len(OWN_LOOKS), len(known))] + [i for i in range(len(OWN_LOOKS)) if i not in own.values()]
    numbers = own | dict(zip((name for name in distinct if name not in own), cycle(free), strict=False))
    return {name: Look(*known[i], CURVE_MARKERS[i % len(CURVE_MARKERS)]) for name, i in numbers.items()}


class Scale(NamedTuple):
    """Bounds of the scene and axis of the bars, equal in all frames of a film."""

    bounds: tuple[float, float, float, float]
    low: float
    high: float
    ticks: tuple[float, ...]


def weight_color(weight: float, scale: Scale) -> Color:
    """The color of a credit weight: pale at 0, deeper blue if it is more positive, deeper orange if more negative."""
    share = abs(weight) / max(scale.high, -scale.low)
    if weight >= 0:
        return rgb(colormaps[POSITIVE_WEIGHTS](0.06 + 0.84 * share))
    return rgb(colormaps[NEGATIVE_WEIGHTS](0.25 + 0.65 * share))


def ring_color(color: str) -> Color:
    """A color mixed with the background, for rings that lie below other shapes."""
    share = RING_PALENESS
    red, green, blue = (round((1 - share) * c + share * p) for c, p in zip(rgb(color), PANEL, strict=True))
    return red, green, blue


def text_color(background: Color) -> Color:
    """Black or white, whichever reads better on a background."""
    return INK if np.dot(background, (0.299, 0.587, 0.114)) > 140 else PAPER


def rgb(color: object) -> Color:
    """A color of matplotlib as three bytes."""
    red, green, blue = (round(255 * part) for part in colors.to_rgb(color))  # pyright: ignore[reportArgumentType]
    return red, green, blue


def hexadecimal(color: Color) -> str:
    """A color as matplotlib reads it: "#rrggbb"."""
    return "#{:02x}{:02x}{:02x}".format(*color)


@cache
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib and has mathematical signs."""
    fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return ImageFont.truetype(str(fonts / ("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf")), size)


def palette(image: Image.Image, exact: Sequence[Color]) -> Image.Image:
    """The 256 colors of an image, as `quantize` of Pillow takes them: `exact`, then averages of the image's colors.

    Pillow averages each background with similar colors. Those averages are left out, so that backgrounds stay exact.
    """
    found = np.array(image.quantize(256 - len(exact), Image.Quantize.MEDIANCUT).getpalette()).reshape(-1, 3)
    averages = found[found.min(1) < min(PANEL) - 4]
    made = Image.new("P", (1, 1))
    made.putpalette([*np.ravel(exact).tolist(), *averages.ravel().tolist()])
    return made


def minus(number: str) -> str:
    """A number with a true minus sign."""
    return number.replace("-", "−")  # noqa: RUF001
