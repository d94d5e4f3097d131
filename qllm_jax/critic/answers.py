"""Answers of a critic: one JSON object with the credit of each agent in each step, and an explanation.

Whatever a model says, `parse` gives credit that can be written into a replay, or the fault with a label and a sentence.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from qllm_jax.llm.replies import brief, last_object, no_object

# Labels of faults of an answer.
NO_JSON, CUT_OFF, AGENTS, LENGTHS = "no_json", "cut_off", "agents", "lengths"
NO_NUMBER, NOT_FINITE, TOO_LARGE, ALL_ZERO = "no_number", "not_finite", "too_large", "all_zero"
FAULTS = (NO_JSON, CUT_OFF, AGENTS, LENGTHS, NO_NUMBER, NOT_FINITE, TOO_LARGE, ALL_ZERO)

EXPLANATION_CHARS = 2000  # kept
CHARS, CHARS_PER_NUMBER = 20_000, 40  # at the end of an answer, in which the JSON object is sought
SHOWN_CHARS = 60  # of a value that is no number


class Answer(NamedTuple):
    """A usable answer."""

    credit: Float[np.ndarray, "steps agents"]  # agents as the question numbers them
    explanation: str


class Fault(NamedTuple):
    """A fault of an answer, and the sentence that a repair question quotes."""

    label: str
    problem: str


def parse(
    text: str, n_agents: int, n_steps: int, *, is_paid: bool, bound: float, is_cut_off: bool = False
) -> Answer | Fault:
    """Parse an answer about an episode. The last JSON object with the key "credit" counts, text around it is ignored.

    `is_paid`: the team is paid in some step, so that credit which is 0 throughout is refused. `bound` is the largest
    size of a number. `is_cut_off`: the model stopped at a limit on tokens, which is then the fault.
    """
    end = text[-(CHARS + CHARS_PER_NUMBER * n_agents * n_steps) :]
    found = last_object(end, "credit") or {}
    credit = _numbers(found["credit"], n_agents, n_steps) if found else Fault(NO_JSON, no_object(end, "credit"))
    if isinstance(credit, np.ndarray):
        credit = _checked(credit, is_paid, bound)
    if isinstance(credit, Fault):
        return (
            Fault(CUT_OFF, f"the answer was cut off at a limit on tokens; {credit.problem}") if is_cut_off else credit
        )
    given = found.get("explanation")
    return Answer(credit, brief(given if isinstance(given, str) else "", EXPLANATION_CHARS))


def _numbers(given: Any, n_agents: int, n_steps: int) -> np.ndarray | Fault:
    """Credit (L, N) as it is written, in float64."""
    if not isinstance(given, list) or len(given) != n_agents:
        got = f"{len(given)} entries" if isinstance(given, list) else "no list"
        return Fault(AGENTS, f'"credit" must be a list of {n_agents} lists, one for each agent; it has {got}')
    for agent, row in enumerate(given):
        if not isinstance(row, list) or len(row) != n_steps:
            got = f"{len(row)} numbers" if isinstance(row, list) else "no list"
            return Fault(LENGTHS, f"agent {agent} must have {n_steps} numbers, one for each step; it has {got}")
        for step, value in enumerate(row):
            if isinstance(value, bool) or not isinstance(value, int | float):
                shown = brief(str(value) if not isinstance(value, list | dict) else type(value).__name__, SHOWN_CHARS)
                return Fault(NO_NUMBER, f"agent {agent}, step {step}: {shown!r} is no number")
            if not math.isfinite(value):
                return Fault(NOT_FINITE, f"agent {agent}, step {step}: {value} is not finite")
    return np.asarray(given, np.float64).reshape(n_agents, n_steps).T


def _checked(credit: np.ndarray, is_paid: bool, bound: float) -> np.ndarray | Fault:
    """Credit of a size that can be learned from, in float32."""
    if (largest := np.abs(credit).max(initial=0.0)) > bound:
        step, agent = np.argwhere(np.abs(credit) == largest)[0]
        problem = f"agent {agent}, step {step}: {credit[step, agent]:g} is not from {-bound:g} to {bound:g}"
        return Fault(TOO_LARGE, problem)
    given = credit.astype(np.float32)
    if is_paid and not given.any():
        return Fault(ALL_ZERO, "all credit is 0, and the team is paid in this episode")
    return given
