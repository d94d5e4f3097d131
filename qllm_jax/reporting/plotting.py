"""Pictures of panels: figures without a window, their frames and legends, and how they are saved."""

import io
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import EngFormatter, FixedLocator
from PIL import Image

from qllm_jax import files
from qllm_jax.reporting.style import GRID_COLOR

DPI = 200
SMALL_DPI, SMALL_COLORS = 120, 96  # of `save_small`
PAD, LEGEND_ENTRY_WIDTH = 0.08, 1.75  # inches; of a short name
LEGEND_LINE_WIDTH, LETTER_WIDTH = 0.6, 0.068  # inches


def panels(n_panels: int, n_columns: int, size: tuple[float, float]) -> tuple[Figure, list[Axes]]:
    """Return a figure and its panels, row by row. `size` is that of a panel, in inches."""
    n_rows = -(-n_panels // n_columns)
    # A figure of its own, without pyplot: no window and no global state.
    figure = Figure((size[0] * n_columns, size[1] * n_rows), layout=ConstrainedLayoutEngine(w_pad=PAD, h_pad=PAD))
    FigureCanvasAgg(figure)
    return figure, [figure.add_subplot(n_rows, n_columns, i + 1) for i in range(n_panels)]


def frame(axes: Axes, title: str, xlabel: str, ylabel: str) -> None:
    """Draw title, labels and grid of a panel, without a box."""
    axes.set_title(title, fontsize=11)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.set_axisbelow(True)
    axes.grid(color=GRID_COLOR, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def count_steps(axes: Axes) -> None:
    """Write env steps on the x axis with k and M."""
    axis: Axis = axes.xaxis
    axis.set_major_formatter(EngFormatter(sep=""))


def name_rows(axes: Axes, labels: Sequence[str]) -> None:
    """Write the names of rows 0, 1, ... from the top, without horizontal grid lines."""
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")


def agent_numbers(axes: Axes, numbers: Sequence[int]) -> None:
    """Make the x axis logarithmic, with ticks at these numbers of agents alone."""
    axes.set_xscale("log")
    axes.set_xticks(numbers, list(map(str, numbers)))
    axes.xaxis.set_minor_locator(FixedLocator([]))


def legend_below(figure: Figure, grid: Sequence[Axes]) -> None:
    """Draw one legend of all panels below them, with one entry for each label."""
    found = {}
    for axes in grid:
        handles, labels = axes.get_legend_handles_labels()
        found |= {label: handle for handle, label in zip(handles, labels, strict=True) if label not in found}
    if found:
        width = max(LEGEND_ENTRY_WIDTH, LEGEND_LINE_WIDTH + LETTER_WIDTH * max(map(len, found)))
        n_rows = -(-len(found) // max(1, int(figure.get_figwidth() / width)))
        n_columns = -(-len(found) // n_rows)
        place = "outside lower center"
        figure.legend(found.values(), found.keys(), loc=place, ncols=n_columns, frameon=False, fontsize=9)


def save(figure: Figure, out: Path) -> None:
    """Write the picture atomically, in the format of the suffix."""
    with files.replacing(out) as temporary:
        figure.savefig(temporary, format=out.suffix[1:].lower(), dpi=DPI)


def save_small(figure: Figure, out: Path) -> None:
    """Write a PNG for a page that is kept in the repository, atomically: in a palette, a third of the size."""
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=SMALL_DPI)
    palette = Image.open(picture).convert("RGB").quantize(SMALL_COLORS, dither=Image.Dither.NONE)
    with files.replacing(out) as temporary:
        palette.save(temporary, format="PNG", optimize=True)
