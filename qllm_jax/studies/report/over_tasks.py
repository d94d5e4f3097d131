"""The section of a study's page on tasks together, by group of tasks: IQM, probability of improvement, ranks."""

import itertools

import numpy as np

from qllm_jax import stats
from qllm_jax.stats import tasks as across
from qllm_jax.studies.plan import GroupEntry
from qllm_jax.studies.report import aggregates, tables
from qllm_jax.studies.report.aggregates import Block, Range
from qllm_jax.studies.report.measured import Measured, metric_of

SCALE_HEADER = ("task", "0: random policy", "1", "which is")
CAPTION = (
    "Scores are normalized for each task: 0 is the random policy, 1 is named below. IQM is the interquartile mean of "
    "all runs. Intervals are stratified bootstrap intervals, which are a little too narrow with few seeds; p is of a "
    "permutation test within tasks, not corrected for the number of methods."
)
PAIRS = (
    "How often a run of the row's method ends above one of the column's on the same task, as a mean over tasks. Bold: "
    "p < 0.05 by the permutation test, in {pairs}, none corrected."
)
NOTHING = "Nothing to compare yet: fewer than two methods have results here."
PValues = dict[frozenset[str], float]  # of each pair of methods


def title(data: Measured) -> str:
    """Return the section's title."""
    return "Tasks together" if data.study.plan.groups else "All tasks together"


def parts(data: Measured, pictures: list[str]) -> list[str]:
    """Return caption, pictures and tables; the pictures alone if no group of tasks has two methods to compare."""
    plan = data.study.plan
    groups = plan.groups or {"": GroupEntry(list(plan.tasks), list(plan.methods))}
    blocks = {title: aggregates.block(data, each.tasks, each.methods) for title, each in groups.items()}
    if all(len(table.methods) < 2 for table in blocks.values()):
        return pictures
    grouped = {task for each in groups.values() for task in each.tasks}
    others = "; ".join(data.task_label(task) for task in plan.tasks if task not in grouped)
    found = [CAPTION + (f" In no group: {others}." if others else ""), *pictures]
    for label, table in blocks.items():
        found += ([f"### {label}"] if label else []) + group_parts(data, table)
    ranges = {task: scale for table in blocks.values() for task, scale in table.ranges.items()}
    return [*found, *(["### Scales"] if plan.groups else []), scale_table(data, ranges)]


def group_parts(data: Measured, table: Block) -> list[str]:
    """Return the sentences and tables of one group of tasks."""
    if len(table.methods) < 2:
        return [NOTHING]
    pairs_of = itertools.combinations(table.methods, 2)
    p = {frozenset((a, b)): across.improvement_p(table.scores[a], table.scores[b]) for a, b in pairs_of}
    # The one pair of two methods is told in the first table, if one of them is the reference.
    pairs = pairs_parts(data, table, p) if len(p) > 1 or data.study.plan.reference not in table.methods else []
    averages = [methods_table(data, table, p), ranks_sentence(data, table)]
    return [of_what(table), *averages, *pairs]


def of_what(table: Block) -> str:
    """Say how many tasks the tables are of, and what they leave out."""
    sentences = [f"{stats.count(len(table.tasks), 'task')}."]
    if table.other_tasks:
        sentences.append(f"Tasks left out, for gaps or want of a scale: {'; '.join(table.other_tasks)}.")
    if table.other_methods:
        sentences.append(f"Methods left out, for gaps: {'; '.join(table.other_methods)}.")
    return " ".join(sentences)


def methods_table(data: Measured, table: Block, p: PValues) -> str:
    """Return IQM, probability of improvement and average rank of each method."""
    reference = data.study.plan.reference
    rows = []
    for method, rank in zip(table.methods, aggregates.average_ranks(table), strict=True):
        iqm = across.iqm_interval(table.scores[method])
        rows.append([data.method_label(method), estimate_text(iqm), f"{rank:.2f}", str(iqm.n_runs)])
        if method == reference:
            rows[-1] += [tables.NONE, tables.NONE]
        elif reference in table.methods:
            found = across.improvement_interval(table.scores[method], table.scores[reference])
            rows[-1] += [estimate_text(found), f"{p[frozenset((method, reference))]:.2g}"]
    header = ["method", "IQM", "average rank", "runs"]
    if reference in table.methods:
        header.extend([f"probability of improvement over {data.method_label(reference)}", "p"])
    return tables.markdown(header, rows)


def pairs_parts(data: Measured, table: Block, p: PValues) -> list[str]:
    """Return the probability of improvement of each method over each other one, with its caption."""
    rows = []
    for row in table.methods:
        cells = [tables.NONE if row == column else pair_text(table, row, column, p) for column in table.methods]
        rows.append([data.method_label(row), *cells])
    header = ["", *(data.method_label(method) for method in table.methods)]
    return [PAIRS.format(pairs=stats.count(len(p), "pair")), tables.markdown(header, rows)]


def pair_text(table: Block, row: str, column: str, p: PValues) -> str:
    """Write the probability of improvement of one method over another, bold if it is significant."""
    shown = f"{across.improvement(table.scores[row], table.scores[column]):.2f}"
    return f"**{shown}**" if p[frozenset((row, column))] < 0.05 else shown


def scale_table(data: Measured, ranges: dict[str, Range]) -> str:
    """Return the scores of each task that become 0 and 1."""
    rows = []
    for task, found in ranges.items():
        row = data.row(task)
        metric = metric_of(row)
        ends = [tables.number(value, metric, tables.scale_of(row)) for value in (found.random, found.best)]
        rows.append([tables.name_of(data, task, metric), *ends, found.source])
    return tables.markdown(SCALE_HEADER, rows)


def ranks_sentence(data: Measured, table: Block) -> str:
    """Say what Friedman's and Nemenyi's tests find, or why they cannot be made."""
    try:
        found = aggregates.ranking(table)
    except ValueError as error:
        return f"There is no test of ranks: {error}."
    test = f"Friedman's test over {len(table.tasks)} tasks gives p = {found.p:.2g}"
    if not found.rejects:
        return f"{test}. It does not reject that all methods are alike, so ranks tell no two of them apart."
    alike = "; ".join(" = ".join(data.method_label(table.methods[i]) for i in clique) for clique in found.cliques)
    difference = f"Ranks that differ by less than {found.critical_difference:.2f} (Nemenyi, 5%) are not told apart"
    return f"{test}. {difference}: {alike or 'here none are'}."


def estimate_text(found: across.Estimate) -> str:
    """Write an estimate with its interval."""
    interval = "" if np.isnan(found.low) else f" ({found.low:.2f} to {found.high:.2f})"
    return tables.unbroken(f"{found.value:.2f}{interval}")
