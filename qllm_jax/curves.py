"""Learning curves (Gorsane et al. 2022, arXiv 2209.10485): mean over seeds, 95% bootstrap band, a panel a task."""

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from qllm_jax import compare, stats
from qllm_jax.compare import Entry, Panel

# Okabe and Ito 2008: told apart with any color vision. Their yellow is too pale for lines on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", "-.", ":")  # "--" is the random policy
COLUMNS = 3


def draw(panels: list[Panel], out: Path) -> None:
    """Write the picture, whole or not at all; its suffix names the format."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    n_columns = min(COLUMNS, len(panels))
    n_rows = -(-len(panels) // n_columns)
    # A figure of its own, without pyplot: no window and no global state.
    figure = Figure((5.6 * n_columns, 4.2 * n_rows), layout="constrained")
    FigureCanvasAgg(figure)
    styles = styles_of(panels)
    for i, panel in enumerate(panels):
        axes = figure.add_subplot(n_rows, n_columns, i + 1)
        for entry, label in zip(panel.entries, panel.labels, strict=True):
            draw_run(axes, entry, label + compare.running(entry), styles[label])
        draw_frame(axes, panel)
    temporary = out.with_name(out.name + ".tmp")
    figure.savefig(temporary, format=out.suffix[1:].lower(), dpi=200)
    temporary.replace(out)


def styles_of(panels: list[Panel]) -> dict[str, tuple[str, str]]:
    """Color and dash of each label: an algorithm looks the same in all panels."""
    names = dict.fromkeys(label for panel in panels for label in panel.labels)
    looks = [(color, dash) for dash, color in product(DASHES, PALETTE)]
    return {name: looks[i % len(looks)] for i, name in enumerate(names)}


def draw_run(axes: Any, entry: Entry, label: str, style: tuple[str, str]) -> None:
    """The curve of one run with its band; nothing before its first evaluation."""
    if not len(entry.steps):
        return
    color, dash = style
    marker = "o" if len(entry.steps) == 1 else None
    axes.plot(entry.steps, entry.returns.mean(0), dash, color=color, marker=marker, linewidth=1.8, label=label)
    if len(entry.returns) > 1:
        axes.fill_between(entry.steps, *stats.band(entry.returns), color=color, alpha=0.18, linewidth=0)


def draw_frame(axes: Any, panel: Panel) -> None:
    """The random policy, title, axes and legend."""
    from matplotlib.ticker import EngFormatter

    random = [entry.result["random_policy"]["mean"] for entry in panel.entries if entry.result]
    if random:
        axes.axhline(np.mean(random), linestyle="--", color="gray", linewidth=1.2, label="random policy")
    counts = sorted({len(entry.returns) for entry in panel.entries})
    seeds = " or ".join(map(str, counts)) + (" seed" if counts == [1] else " seeds")
    axes.set_title(f"{panel.title}, {seeds}", fontsize=11)
    axes.set_xlabel("environment steps per seed")
    axes.set_ylabel("return of an evaluation episode\n(sum of team rewards)")
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=9)
