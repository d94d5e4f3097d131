"""Pictures of single tasks: learning curves, final evaluations, and means over training by the number of agents."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from qllm_jax import stats
from qllm_jax.reporting import curves, plotting
from qllm_jax.reporting.style import RANDOM_COLOR, Look
from qllm_jax.studies.plan import FigureEntry
from qllm_jax.studies.report import curve_areas
from qllm_jax.studies.report.measured import Measured, Result, bounds, metric_of, metrics_of, random_mean

COLUMNS = 3
PANEL = (4.4, 3.3)  # inches
SINGLE = (6.6, 4.2)  # a picture of one panel
ROW = 0.34  # height of a method's row, in inches
YLABELS = {
    "return": "return of an episode",
    "win_rate": "share of episodes won",
    "crash_rate": "share of episodes with a crash",
}


def grid_of(n_panels: int, height: float | None = None) -> tuple[Figure, list[Axes]]:
    """Return a figure with up to COLUMNS panels in a row."""
    if n_panels == 1:
        return plotting.panels(1, 1, (SINGLE[0], height or SINGLE[1]))
    n_columns = 2 if n_panels in (2, 4) else COLUMNS
    return plotting.panels(n_panels, n_columns, (PANEL[0], height or PANEL[1]))


def draw_curves(data: Measured, entry: FigureEntry, looks: dict[str, Look]) -> Figure | str:
    """Learning curves: mean and 95% band over seeds, one panel for each task and metric."""
    rows = [(task, row) for task in entry.tasks if (row := data.row(task, entry.methods))]
    plots = [(task, row, metric) for task, row in rows for metric in metrics_of(row)]
    if not plots:
        return "no result yet"
    figure, grid = grid_of(len(plots))
    for axes, (task, row, metric) in zip(grid, plots, strict=True):
        for method, result in row.items():
            label, curve = data.method_label(method), result.curves.get(metric)
            curves.draw_curve(axes, result.steps, curve, label, looks[method], bounds(metric))
        curves.draw_random(axes, random_mean(row, metric))
        threshold = data.entry(task).threshold
        if threshold is not None and metric == metric_of(row):
            axes.axhline(threshold, linestyle=(0, (1, 2)), color="black", linewidth=1.2, label="threshold")
        plotting.frame(axes, f"{data.task_label(task)}, {seeds_text(row)}", curves.STEPS_LABEL, YLABELS[metric])
        plotting.count_steps(axes)
    plotting.legend_below(figure, grid)
    return figure


def draw_bars(data: Measured, entry: FigureEntry, looks: dict[str, Look]) -> Figure | str:
    """Final evaluation: a bar from the random policy to the mean, the 95% interval, and a dot for each seed."""
    rows = [(task, row) for task in entry.tasks if (row := data.row(task, entry.methods))]
    if not rows:
        return "no result yet"
    shown = [method for method in entry.methods if any(method in row for _, row in rows)]
    figure, grid = grid_of(len(rows), 1.15 + ROW * len(shown))
    for i, (axes, (task, row)) in enumerate(zip(grid, rows, strict=True)):
        metric = metric_of(row)
        random = random_mean(row, metric)
        for y, method in enumerate(shown):
            if method in row:
                draw_bar(axes, y, row[method], random, looks[method])
        axes.axvline(random, linestyle="--", color=RANDOM_COLOR, linewidth=1.2, label="random policy")
        axes.margins(x=0.05)
        axes.use_sticky_edges = False  # bars begin at the random policy's line, which shall be seen
        plotting.frame(axes, f"{data.task_label(task)}, {seeds_text(row)}", f"final {YLABELS[metric]}", "")
        first_column = i % grid[0].get_gridspec().ncols == 0  # pyright: ignore[reportOptionalMemberAccess]
        plotting.name_rows(axes, [data.method_label(method) if first_column else "" for method in shown])
    plotting.legend_below(figure, grid)
    return figure


def draw_bar(axes: Axes, y: float, result: Result, random: float, look: Look) -> None:
    """Draw the final evaluation of one cell."""
    mean, (low, high) = result.scores.mean(), stats.interval(result.scores, bounds(result.metric))
    axes.barh(y, mean - random, left=random, height=0.62, color=look.color, alpha=0.35, linewidth=0)
    offsets = np.linspace(-0.17, 0.17, result.scores.size) if result.scores.size > 1 else np.zeros(1)
    axes.plot(result.scores, y + offsets, "o", color=look.color, markersize=3, alpha=0.75, markeredgewidth=0)
    axes.plot([low, high], [y, y], "-", color="black", linewidth=1.4)
    axes.plot(mean, y, "|", color="black", markersize=11, markeredgewidth=1.8)


def draw_auc_by_agents(data: Measured, entry: FigureEntry, looks: dict[str, Look]) -> Figure | str:
    """Mean score over training, with its 95% interval, over the number of agents."""
    spans = {task: curve_areas.span(data.row(task)) for task in entry.tasks if data.row(task, entry.methods)}
    if not spans:
        return "no result yet"
    figure, (axes,) = grid_of(1)
    shown = [method for method in entry.methods if any((task, method) in data.results for task in spans)]
    for i, method in enumerate(shown):
        found = [(data.results[task, method], span) for task, span in spans.items() if (task, method) in data.results]
        points = sorted(found, key=lambda point: point[0].content["n_agents"])
        draw_points(axes, points, 1.018 ** (i - (len(shown) - 1) / 2), data.method_label(method), looks[method])
    metrics = {result.metric for task in spans for result in data.row(task).values()}
    ylabel = "mean over training of the\n" + " or ".join(YLABELS[metric] for metric in sorted(metrics))
    plotting.frame(axes, "Mean over training (area under the curve)", "agents N", ylabel)
    agents = sorted({result.content["n_agents"] for task in spans for result in data.row(task).values()})
    plotting.agent_numbers(axes, agents)
    plotting.legend_below(figure, [axes])
    return figure


def draw_points(
    axes: Axes, points: list[tuple[Result, curve_areas.Span]], shift: float, label: str, look: Look
) -> None:
    """Draw means over seeds with intervals, all moved sideways by a factor so that methods do not cover each other."""
    x = np.array([result.content["n_agents"] for result, _ in points]) * shift
    areas = [curve_areas.areas(*point) for point in points]
    means = np.array([values.mean() for values in areas])
    found = [stats.interval(each, bounds(result.metric)) for each, (result, _) in zip(areas, points, strict=True)]
    axes.vlines(x, *np.array(found).T, color=look.color, linewidth=1.4, alpha=0.8)
    # A line would join tasks and not numbers of agents where two tasks have equally many.
    dash = look.dash if len(set(x)) == len(x) else "none"
    axes.plot(
        x, means, linestyle=dash, color=look.color, marker=look.marker, markersize=5.5, linewidth=1.4, label=label
    )


def seeds_text(row: dict[str, Result]) -> str:
    """Return the number of seeds of a row's results."""
    counts = sorted({result.scores.size for result in row.values()})
    return stats.count(counts[0], "seed") if len(counts) == 1 else f"{counts[0]} to {counts[-1]} seeds"
