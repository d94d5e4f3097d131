"""Learning curves (Gorsane et al. 2022, arXiv 2209.10485): mean over seeds and its 95% t interval as a band.

Each task has a plot of returns and, if it has winners, a plot of the share of episodes won. Colors are in style.py.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes

from qllm_jax import stats
from qllm_jax.reporting import comparison, plotting, style
from qllm_jax.reporting.comparison import Entry, Panel
from qllm_jax.reporting.style import BAND_ALPHA, RANDOM_COLOR, Look
from qllm_jax.stats.intervals import ANY, SHARE, Bounds

COLUMNS = 3
STEPS_LABEL = "environment steps per seed"


class Plot(NamedTuple):
    """One plot of a panel."""

    panel: Panel
    ylabel: str
    curves: Callable[[Entry], np.ndarray | None]  # (runs, evals)
    random: Callable[[dict[str, Any]], float | None]  # the random policy's value in a result; None: it has none
    bounds: Bounds = ANY  # of the band


def plots_of(panel: Panel) -> list[Plot]:
    """The plot of returns and, if the task has winners, of the share of episodes won."""
    of_returns = lambda result: result["random_policy"]["mean"]
    found = [Plot(panel, "return of an evaluation episode\n(sum of team rewards)", lambda e: e.returns, of_returns)]
    if any(entry.win_rates is not None for entry in panel.entries):
        of_wins = lambda result: result.get("random_policy_win_rate", {}).get("mean")  # not in an older run's
        found.append(Plot(panel, "share of evaluation episodes won", lambda e: e.win_rates, of_wins, SHARE))
    return found


def draw(panels: list[Panel], out: Path, with_untrained: bool = True) -> None:
    """Write the picture atomically, in the format of the suffix; without the first evaluation if it is not wanted."""
    plots = [plot for panel in panels for plot in plots_of(panel)]
    n_columns = 2 if len(plots) == 2 * len(panels) else min(COLUMNS, len(plots))  # both plots of a task in one row
    figure, grid = plotting.panels(len(plots), n_columns, (5.6, 4.2))
    looks = style.looks(label for panel in panels for label in panel.labels)
    first = 0 if with_untrained else 1
    for axes, plot in zip(grid, plots, strict=True):
        for entry, label in zip(plot.panel.entries, plot.panel.labels, strict=True):
            name = short_label(plot.panel, label) + comparison.unfinished_mark(entry)
            curves = plot.curves(entry)
            found = None if curves is None else curves[:, first:]
            draw_curve(axes, entry.steps[first:], found, name, looks[label], plot.bounds)
        draw_frame(axes, plot)
    plotting.legend_below(figure, grid)
    plotting.save(figure, out)


def common_method(panel: Panel) -> str:
    """Return the method of all curves of a panel, "" if they are several, or if nothing else tells them apart."""
    names = {entry.config.algo.name for entry in panel.entries}
    return names.pop() if len(names) == 1 and all(entry.configuration for entry in panel.entries) else ""


def short_label(panel: Panel, label: str) -> str:
    """Return a label without the method if that is in the title, as in a sweep of one method."""
    return label.removeprefix(f"{common_method(panel)} ").strip()


def draw_curve(
    axes: Axes, steps: np.ndarray, curves: np.ndarray | None, label: str, look: Look, bounds: Bounds = ANY
) -> None:
    """Draw the mean of curves (seeds, evals) and its 95% band; nothing before the first evaluation."""
    if curves is None or not len(steps):
        return
    marker = "o" if len(steps) == 1 else None
    axes.plot(steps, curves.mean(0), look.dash, color=look.color, marker=marker, linewidth=1.8, label=label)
    if len(curves) > 1:
        axes.fill_between(steps, *stats.band(curves, bounds), color=look.color, alpha=BAND_ALPHA, linewidth=0)


def draw_random(axes: Axes, value: float) -> None:
    """Draw the random policy's value."""
    axes.axhline(value, linestyle="--", color=RANDOM_COLOR, linewidth=1.2, label="random policy")


def draw_frame(axes: Axes, plot: Plot) -> None:
    """Draw the random policy, title and axes."""
    panel = plot.panel
    random = [plot.random(entry.result) for entry in panel.entries if entry.result]
    if known := [value for value in random if value is not None]:
        draw_random(axes, float(np.mean(known)))
    counts = sorted({len(entry.returns) for entry in panel.entries})
    seeds = " or ".join(map(str, counts)) + (" seed" if counts == [1] else " seeds")
    title = ", ".join(filter(None, (panel.title, common_method(panel), seeds)))
    plotting.frame(axes, title, STEPS_LABEL, plot.ylabel)
    plotting.count_steps(axes)
