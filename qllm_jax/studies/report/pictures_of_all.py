"""Pictures over several tasks: performance profile, probability of improvement, critical differences."""

import numpy as np
from matplotlib.figure import Figure

from qllm_jax import stats
from qllm_jax.reporting import plotting
from qllm_jax.reporting.style import BAND_ALPHA, RANDOM_COLOR, Look
from qllm_jax.stats import tasks as across
from qllm_jax.studies.plan import FigureEntry
from qllm_jax.studies.report import aggregates, rank_picture
from qllm_jax.studies.report.measured import Measured
from qllm_jax.studies.report.pictures_of_tasks import ROW, grid_of


def draw_profile(data: Measured, entry: FigureEntry, looks: dict[str, Look]) -> Figure | str:
    """Performance profile: share of runs above a normalized score, with 95% bands."""
    table = aggregates.block(data, entry.tasks, entry.methods)
    if not table.methods:
        return "no task has results and a scale"
    every = np.concatenate([scores for method in table.methods for scores in table.scores[method]])
    thresholds = np.linspace(min(0.0, every.min()), max(1.0, every.max()) * 1.02, 151)
    figure, (axes,) = grid_of(1)
    for method in table.methods:
        look, scores = looks[method], table.scores[method]
        label = data.method_label(method)
        axes.plot(
            thresholds, across.profile(scores, thresholds), look.dash, color=look.color, linewidth=1.8, label=label
        )
        axes.fill_between(
            thresholds, *across.profile_band(scores, thresholds), color=look.color, alpha=BAND_ALPHA / 2, linewidth=0
        )
    title = f"Performance profile over {stats.count(len(table.tasks), 'task')}"
    plotting.frame(axes, title, "normalized score τ (0 random, 1 best)", "share of runs above τ")
    axes.set_ylim(-0.02, 1.02)
    plotting.legend_below(figure, [axes])
    return figure


def draw_improvement(data: Measured, entry: FigureEntry, looks: dict[str, Look]) -> Figure | str:
    """Probability that a run of a method beats one of the reference, with its 95% interval."""
    reference, table = data.study.plan.reference, aggregates.block(data, entry.tasks, entry.methods)
    others = [method for method in table.methods if method != reference]
    if reference is None or reference not in table.methods or not others:
        return "the study names no `reference`, or it has no result beside another method's"
    figure, (axes,) = grid_of(1, 1.3 + ROW * len(others))
    for y, method in enumerate(others):
        found, look = across.improvement_interval(table.scores[method], table.scores[reference]), looks[method]
        axes.plot(
            [found.low, found.high], [y, y], "-", color=look.color, linewidth=5, alpha=0.35, solid_capstyle="butt"
        )
        axes.plot(found.value, y, look.marker, color=look.color, markersize=7)
    axes.axvline(0.5, linestyle="--", color=RANDOM_COLOR, linewidth=1.2)
    name, n_tasks = data.method_label(reference), stats.count(len(table.tasks), "task")
    plotting.frame(axes, f"Probability of improvement over {name}, {n_tasks}", f"P(method > {name})", "")
    axes.set_xlim(-0.02, 1.02)
    plotting.name_rows(axes, [data.method_label(method) for method in others])
    return figure


def draw_critical_difference(data: Measured, entry: FigureEntry, looks: dict[str, Look]) -> Figure | str:
    """Average ranks, with a bar over methods that Nemenyi's test does not part."""
    table = aggregates.block(data, entry.tasks, entry.methods)
    try:
        found = aggregates.ranking(table)
    except ValueError as error:
        return str(error)
    return rank_picture.draw(found, [data.method_label(m) for m in table.methods], [looks[m] for m in table.methods])
