"""Tables of a study's page, in Markdown: one row a task, one column a method."""

from collections.abc import Mapping, Sequence

import numpy as np

from qllm_jax import stats
from qllm_jax.stats.intervals import Difference
from qllm_jax.studies.report import curve_areas
from qllm_jax.studies.report.measured import Measured, Result, bounds, metric_of, metrics_of, random_mean

NONE, NO_BREAK = "-", "\u00a0"
SUFFIXES = {"return": "", "win_rate": ", won", "crash_rate": ", crashed"}  # of a task's name


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def final(data: Measured) -> tuple[str, int]:
    """Return the table of final evaluations, and the number of comparisons between methods of several seeds.

    A mean is bold if the interval of its difference to every other one of its row excludes 0.
    """
    rows, comparisons = [], 0
    for task in data.tasks:
        row = data.row(task)
        comparisons += max(sum(result.scores.size > 1 for result in row.values()) - 1, 0)
        for metric in metrics_of(row):
            random = number(random_mean(row, metric), metric, scale_of(row, metric))
            texts = in_columns(data, final_texts(row, metric))
            rows.append([name_of(data, task, metric), seeds_and_steps(row), *texts, random])
    return markdown(["task", "seeds, steps", *labels(data), "random"], rows), comparisons


def final_texts(row: Mapping[str, Result], metric: str) -> dict[str, str]:
    """Return each method's mean with its interval, that of the leader in bold if methods are compared by `metric`."""
    scale = scale_of(row, metric)
    own = {method: result.final[metric] for method, result in row.items() if metric in result.final}
    texts = {method: interval_text(scores, metric, scale) for method, scores in own.items()}
    if metric == metric_of(row) and (best := leader(row)):
        texts[best] = f"**{texts[best]}**"
    return texts


def differences(data: Measured, reference: str) -> tuple[str, int]:
    """Return the table of differences to the reference with Welch's intervals, and the number that have an interval."""
    rows, comparisons, others = [], 0, [method for method in data.methods if method != reference]
    for task in data.tasks:
        row = data.row(task)
        if reference not in row or len(row) < 2:
            continue
        metric, scale, base = metric_of(row), scale_of(row), row[reference].scores
        found = {method: stats.welch(row[method].scores, base) for method in others if method in row}
        texts = {method: difference_text(each, metric, scale) for method, each in found.items()}
        comparisons += sum(not np.isnan(each.low) for each in found.values())
        rows.append([name_of(data, task, metric), *(texts.get(method, NONE) for method in others)])
    return markdown(["task", *map(data.method_label, others)], rows) if rows else "", comparisons


def areas(data: Measured) -> str:
    """Return the table of mean scores over training."""
    rows = []
    for task in data.tasks:
        row = data.row(task)
        metric, scale, over = metric_of(row), scale_of(row), curve_areas.span(row)
        texts = {method: interval_text(curve_areas.areas(r, over), metric, scale) for method, r in row.items()}
        rows.append([name_of(data, task, metric), " to ".join(map(steps_text, over)), *in_columns(data, texts)])
    return markdown(["task", "env steps", *labels(data)], rows)


def steps_to_threshold(data: Measured) -> str:
    """Return the table of env steps to the thresholds; "" if no task has one."""
    rows = []
    for task in data.tasks:
        threshold, row = data.entry(task).threshold, data.row(task)
        if threshold is not None:
            metric, scale = metric_of(row), scale_of(row)
            texts = {m: reached_text(curve_areas.steps_to(r, threshold), int(r.steps[-1])) for m, r in row.items()}
            rows.append([name_of(data, task, metric), number(threshold, metric, scale), *in_columns(data, texts)])
    return markdown(["task", "threshold", *labels(data)], rows) if rows else ""


def leader(row: Mapping[str, Result]) -> str | None:
    """Return the method whose mean is above every other's by Welch's interval; None if there is none."""
    best = max(row, key=lambda method: row[method].scores.mean())
    others = [result.scores for method, result in row.items() if method != best]
    return best if others and all(stats.welch(row[best].scores, each).significant for each in others) else None


def in_columns(data: Measured, texts: Mapping[str, str]) -> list[str]:
    """Return a text for each method of the table."""
    return [texts.get(method, NONE) for method in data.methods]


def labels(data: Measured) -> list[str]:
    """Return the names of all methods that have results."""
    return [data.method_label(method) for method in data.methods]


def name_of(data: Measured, task: str, metric: str) -> str:
    """Return the name of a task, with the metric if it is not the return."""
    return data.task_label(task) + SUFFIXES[metric]


def unbroken(text: str) -> str:
    """Return a text that a narrow column breaks after its first word alone: a mean above its interval."""
    first, space, rest = text.partition(" ")
    return first + space + rest.replace(" ", NO_BREAK)


def scale_of(row: Mapping[str, Result], metric: str | None = None) -> float:
    """Return the largest mean of a row, which decides how many decimals all of its numbers have."""
    own = [result.final.get(metric or result.metric) for result in row.values()]
    return max(abs(float(scores.mean())) for scores in own if scores is not None)


def number(value: float, metric: str, scale: float, sign: str = "") -> str:
    """Return a value of a metric as text: three decimals if `scale` is below 1, one from 100 on, else two."""
    if metric != "return":
        return f"{value:{sign}.0%}"
    return f"{value:{sign},.{3 if scale < 1 else 2 if scale < 100 else 1}f}"


def interval_text(scores: np.ndarray, metric: str, scale: float) -> str:
    """Return a mean over seeds with its interval: half its width for returns, its ends for shares."""
    mean, (low, high) = float(scores.mean()), stats.interval(scores, bounds(metric))
    if np.isnan(low):
        return number(mean, metric, scale)
    if metric != "return":
        return unbroken(f"{mean:.0%} ({100 * low:.0f} to {high:.0%})")
    return unbroken(f"{number(mean, metric, scale)} ± {number(high - mean, metric, scale)}")


def difference_text(found: Difference, metric: str, scale: float) -> str:
    """Return a difference with its interval, in points for shares; bold if the interval excludes 0."""
    parts = [number(found.mean, metric, scale, "+")]
    if np.isfinite(found.low):
        parts.append(number(found.high - found.mean, metric, scale))
    text = " ± ".join(parts)
    text = text.replace("%", "") + " points" if metric != "return" else text
    return unbroken(f"**{text}**" if found.significant else text)


def reached_text(steps: np.ndarray, last: int) -> str:
    """Return the median of env steps to a threshold, and how many seeds hold it within the `last` env steps."""
    count, median = int(np.isfinite(steps).sum()), float(np.median(steps))
    middle = steps_text(median) if np.isfinite(median) else f">{NO_BREAK}{steps_text(last)}"
    return unbroken(f"{middle} ({count} of {steps.size})")


def seeds_and_steps(row: Mapping[str, Result]) -> str:
    """Return seeds and env steps of a row's results."""
    join = lambda values: " to ".join(dict.fromkeys((values[0], values[-1])))
    seeds = join([str(n) for n in sorted(result.scores.size for result in row.values())])
    return f"{seeds}, {join([steps_text(n) for n in sorted(r.content['env_steps'] for r in row.values())])}"


def steps_text(steps: float) -> str:
    """Return env steps with k or M, three digits."""
    rounded = float(f"{steps:.3g}")  # before the unit is chosen: 999,936 are 1M
    for unit, name in ((1e6, "M"), (1e3, "k")):
        if rounded >= unit:
            return f"{rounded / unit:g}{name}"
    return f"{steps:.0f}"
