"""Learning curves (Gorsane et al. 2022, arXiv 2209.10485): mean over seeds and its 95% t interval as a band.

Each task has a plot of returns and, if it has winners, a plot of the share of episodes won. Colors are in style.py.
"""

from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from qllm_jax import stats
from qllm_jax.reporting import comparison
from qllm_jax.reporting.comparison import Entry, Panel
from qllm_jax.reporting.style import BAND_ALPHA, CURVE_COLORS, CURVE_DASHES, GRID_COLOR, RANDOM_COLOR
from qllm_jax.stats.intervals import ANY, SHARE, Bounds

COLUMNS = 3


class Plot(NamedTuple):
    """One plot of a panel."""

    panel: Panel
    ylabel: str
    curves: Callable[[Entry], np.ndarray | None]  # (runs, evals)
    random: Callable[[dict[str, Any]], float]  # the random policy's value in a result
    bounds: Bounds = ANY  # of the band


def plots_of(panel: Panel) -> list[Plot]:
    """The plot of returns and, if the task has winners, of the share of episodes won."""
    of_returns = lambda result: result["random_policy"]["mean"]
    found = [Plot(panel, "return of an evaluation episode\n(sum of team rewards)", lambda e: e.returns, of_returns)]
    if any(entry.win_rates is not None for entry in panel.entries):
        of_wins = lambda result: result["random_policy_win_rate"]["mean"]
        found.append(Plot(panel, "share of evaluation episodes won", lambda e: e.win_rates, of_wins, SHARE))
    return found


def draw(panels: list[Panel], out: Path) -> None:
    """Write the picture atomically, in the format of the suffix."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    plots = [plot for panel in panels for plot in plots_of(panel)]
    n_columns = 2 if len(plots) == 2 * len(panels) else min(COLUMNS, len(plots))  # both plots of a task in one row
    n_rows = -(-len(plots) // n_columns)
    # A figure of its own, without pyplot: no window and no global state.
    figure = Figure((5.6 * n_columns, 4.2 * n_rows), layout="constrained")
    FigureCanvasAgg(figure)
    styles = styles_of(panels)
    for i, plot in enumerate(plots):
        axes = figure.add_subplot(n_rows, n_columns, i + 1)
        for entry, label in zip(plot.panel.entries, plot.panel.labels, strict=True):
            name = label + comparison.unfinished_mark(entry)
            draw_run(axes, entry.steps, plot.curves(entry), name, styles[label], plot.bounds)
        draw_frame(axes, plot)
    temporary = out.with_name(out.name + ".tmp")
    figure.savefig(temporary, format=out.suffix[1:].lower(), dpi=200)
    temporary.replace(out)


def styles_of(panels: list[Panel]) -> dict[str, tuple[str, str]]:
    """Color and dash of each label, equal in all panels."""
    names = dict.fromkeys(label for panel in panels for label in panel.labels)
    looks = [(color, dash) for dash, color in product(CURVE_DASHES, CURVE_COLORS)]
    return {name: looks[i % len(looks)] for i, name in enumerate(names)}


def draw_run(
    axes: Any, steps: np.ndarray, curves: np.ndarray | None, label: str, style: tuple[str, str], bounds: Bounds = ANY
) -> None:
    """Draw the mean of curves (seeds, evals) and its 95% band; nothing before the first evaluation."""
    if curves is None or not len(steps):
        return
    color, dash = style
    marker = "o" if len(steps) == 1 else None
    axes.plot(steps, curves.mean(0), dash, color=color, marker=marker, linewidth=1.8, label=label)
    if len(curves) > 1:
        axes.fill_between(steps, *stats.band(curves, bounds), color=color, alpha=BAND_ALPHA, linewidth=0)


def draw_frame(axes: Any, plot: Plot) -> None:
    """Draw the random policy, title, axes and legend."""
    from matplotlib.ticker import EngFormatter

    panel = plot.panel
    random = [plot.random(entry.result) for entry in panel.entries if entry.result]
    if random:
        axes.axhline(np.mean(random), linestyle="--", color=RANDOM_COLOR, linewidth=1.2, label="random policy")
    counts = sorted({len(entry.returns) for entry in panel.entries})
    seeds = " or ".join(map(str, counts)) + (" seed" if counts == [1] else " seeds")
    axes.set_title(f"{panel.title}, {seeds}", fontsize=11)
    axes.set_xlabel("environment steps per seed")
    axes.set_ylabel(plot.ylabel)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.grid(color=GRID_COLOR, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=9)
