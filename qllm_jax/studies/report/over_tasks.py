"""The section of a study's page on all tasks together: IQM, probability of improvement, ranks."""

import numpy as np

from qllm_jax import stats
from qllm_jax.stats import tasks as across
from qllm_jax.studies.report import aggregates, tables
from qllm_jax.studies.report.aggregates import Block
from qllm_jax.studies.report.measured import Measured, metric_of

SCALE_HEADER = ("task", "0: random policy", "1", "which is")


def parts(data: Measured) -> list[str]:
    """Return caption and tables; [] with fewer than two methods."""
    table = aggregates.block(data, list(data.study.plan.tasks), list(data.study.plan.methods))
    if len(table.methods) < 2:
        return []
    return [caption(table), methods_table(data, table), ranks_sentence(data, table), scale_table(data, table)]


def caption(table: Block) -> str:
    """Say what the aggregates are of."""
    left_out = f" Left out, for gaps or want of a scale: {'; '.join(table.left_out)}." if table.left_out else ""
    return (
        "Scores are normalized for each task: 0 is the random policy, 1 is named below. IQM is the interquartile mean "
        f"of all runs on {stats.count(len(table.tasks), 'task')}. Intervals are stratified bootstrap intervals, which "
        f"are a little too narrow with few seeds.{left_out}"
    )


def methods_table(data: Measured, table: Block) -> str:
    """Return IQM, probability of improvement and average rank of each method."""
    reference = data.study.plan.reference
    rows = []
    for method, rank in zip(table.methods, aggregates.average_ranks(table), strict=True):
        iqm = across.iqm_interval(table.scores[method])
        rows.append([data.method_label(method), estimate_text(iqm), f"{rank:.2f}", str(iqm.n_runs)])
        if reference in table.methods:
            found = across.improvement_interval(table.scores[method], table.scores[reference])
            rows[-1].append(estimate_text(found) if method != reference else tables.NONE)
    header = ["method", "IQM", "average rank", "runs"]
    if reference in table.methods:
        header.append(f"probability of improvement over {data.method_label(reference)}")
    return tables.markdown(header, rows)


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
