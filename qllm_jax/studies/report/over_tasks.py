"""The section of a study's page on tasks together, by group of tasks: IQM, probability of improvement, ranks."""

import itertools

import numpy as np

from qllm_jax import stats
from qllm_jax.stats import tasks as across
from qllm_jax.studies.report import aggregates, tables
from qllm_jax.studies.report.aggregates import Block
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


def title(data: Measured) -> str:
    """Return the section's title."""
    return "Tasks together" if data.study.plan.groups else "All tasks together"


def parts(data: Measured) -> list[str]:
    """Return caption and tables; [] if no group of tasks has two methods to compare."""
    plan = data.study.plan
    groups = plan.groups or {"": list(plan.tasks)}
    blocks = {label: aggregates.block(data, tasks, list(plan.methods)) for label, tasks in groups.items()}
    found = [
        part
        for label, table in blocks.items()
        if len(table.methods) > 1
        for part in ([f"### {label}"] if label else []) + group_parts(data, table)
    ]
    return [CAPTION, *found] if found else []


def group_parts(data: Measured, table: Block) -> list[str]:
    """Return the sentences and tables of one group of tasks."""
    left_out = f" Left out, for gaps or want of a scale: {'; '.join(table.left_out)}." if table.left_out else ""
    of = f"Of {stats.count(len(table.tasks), 'task')}.{left_out}"
    pairs = pairs_parts(data, table) if len(table.methods) > 2 else []  # the one pair of two methods is told already
    return [of, methods_table(data, table), ranks_sentence(data, table), *pairs, scale_table(data, table)]


def methods_table(data: Measured, table: Block) -> str:
    """Return IQM, probability of improvement and average rank of each method."""
    reference = data.study.plan.reference
    rows = []
    for method, rank in zip(table.methods, aggregates.average_ranks(table), strict=True):
        iqm = across.iqm_interval(table.scores[method])
        rows.append([data.method_label(method), estimate_text(iqm), f"{rank:.2f}", str(iqm.n_runs)])
        if reference in table.methods:
            rows[-1].extend(improvement_cells(table, method, reference))
    header = ["method", "IQM", "average rank", "runs"]
    if reference in table.methods:
        header.extend([f"probability of improvement over {data.method_label(reference)}", "p"])
    return tables.markdown(header, rows)


def improvement_cells(table: Block, method: str, reference: str) -> list[str]:
    """Return the probability that a run of the method beats one of the reference, and the p-value of it being 1/2."""
    if method == reference:
        return [tables.NONE, tables.NONE]
    both = table.scores[method], table.scores[reference]
    return [estimate_text(across.improvement_interval(*both)), f"{across.improvement_p(*both):.2g}"]


def pairs_parts(data: Measured, table: Block) -> list[str]:
    """Return the probability of improvement of each method over each other one, with its caption."""
    names, scores = table.methods, table.scores
    p = {frozenset(pair): across.improvement_p(*(scores[m] for m in pair)) for pair in itertools.combinations(names, 2)}
    rows = []
    for row in names:
        cells = [f"{float(across.improvement(scores[row], scores[column])):.2f}" for column in names]
        bold = [row != column and p[frozenset((row, column))] < 0.05 for column in names]
        shown = [f"**{cell}**" if marked else cell for cell, marked in zip(cells, bold, strict=True)]
        shown[names.index(row)] = tables.NONE
        rows.append([data.method_label(row), *shown])
    header = ["", *(data.method_label(method) for method in names)]
    return [PAIRS.format(pairs=stats.count(len(p), "pair")), tables.markdown(header, rows)]


def scale_table(data: Measured, table: Block) -> str:
    """Return the scores of each task that become 0 and 1."""
    rows = []
    for task, found in table.ranges.items():
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
