"""Measurements of a verdict in words, for the evaluator and for the table.

Three digits of each number, and no times: the words are the same on every machine.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from qllm_jax.tfcaf.verdict import Verdict


def measurements(verdict: Verdict) -> list[str]:
    """Return one sentence for each quantity that the gates measured over the states of random episodes."""
    of_weights = (
        "weights from {min:.3g} to {max:.3g}, their sum over agents {sum:.3g} on average",
        "{negative_share:.0%} of the weights are negative",
        "evenness {entropy:.3g} (1: all agents alike, 0: one agent has all)",
        "change with the state {sensitivity:.3g} (spread of a weight over states, relative to the mean weight)",
        "bias from {bias_min:.3g} to {bias_max:.3g}",
    )
    lines = _filled(of_weights, verdict.report.get("weights") or {}) + _of_rewards(verdict)
    if sizes := verdict.report.get("traces_for_n_agents"):
        lines.append(f"its shapes also fit teams of {', '.join(map(str, sizes))} agents, which were not tried")
    return [*lines, *verdict.report.get("notes", ())] or ["nothing"]


def _of_rewards(verdict: Verdict) -> list[str]:
    """Return sentences on a function of reward credit, or on one of tasks."""
    found = verdict.report.get("credit") or {}
    what = f"{found['factors']} factors" if found.get("factors", 1) > 1 else "credit"
    of_credit = (
        f"{what} from {{min:.3g}} to {{max:.3g}} in steps of play",
        "{dense_share:.0%} of the steps in which the team is not paid give some agent credit",
        "in steps that pay the team {reward_where_paid:.3g} on average, all credit sums to {sum_where_paid:.3g}, "
        "and the agent with most of it has {largest_share_where_paid:.0%}",
    )
    lines = _filled(of_credit, found)
    if shares := verdict.report.get("task_shares"):
        lines.append(f"shares of the tasks, task 0 first: {', '.join(f'{share:.0%}' for share in shares)}")
    return lines


def _filled(templates: Sequence[str], found: Mapping[str, Any]) -> list[str]:
    """Return the templates filled in, without those that name what was not measured."""
    lines = []
    for template in templates:
        with suppress(KeyError):
            lines.append(template.format(**found))
    return lines


def table_cells(verdict: Verdict) -> tuple[str, str, str]:
    """Range, evenness and change with the state as cells of a table; "" for what was not measured."""
    found = verdict.report.get("weights") or verdict.report.get("credit") or {}
    number = lambda key: f"{found[key]:.3g}" if key in found else ""
    return f"{number('min')} to {number('max')}" if "min" in found else "", number("entropy"), number("sensitivity")
