"""Sizes of what functions of reward credit and of tasks give on the steps and states of play."""

import numpy as np

from qllm_envs.core import Spec
from qllm_jax.tfcaf.loading.signatures import REWARD
from qllm_jax.tfcaf.semantics.probes import States
from qllm_jax.tfcaf.semantics.trial import Outcome
from qllm_jax.tfcaf.static.check import Checked
from qllm_jax.tfcaf.verdict import TfcafError

FACTOR = 10.0  # the credit of all agents, in sizes, is at least the team's reward / FACTOR, at most N FACTOR times that
BOUND = 100.0  # times the largest team reward of the steps that were tried, or 1 if that is less: of one agent's credit
NOTHING = 1e-6  # of the largest credit


def verify_credit(checked: Checked, spec: Spec, states: States, outcome: Outcome, reached: int) -> None:
    """Raise `TfcafError` for credit or factors that are too large, too small, or 0 where the team is paid.

    The first `reached` rows are steps of play; where there are none, nothing is known of sizes and all rows are tried
    for being bounded alone.
    """
    rows = reached or len(outcome.weights)
    reward, given = states[REWARD][:rows], outcome.weights[:rows].reshape(rows, spec.n_agents, -1)
    pay = float(np.abs(reward).max()) if reached else np.inf
    if (largest := np.abs(given).max()) > (most := BOUND * max(1.0, pay)):
        problem = f"the credit of an agent is {largest:.1e} in a step of play, where the team is paid {pay:.3g} at most"
        hint = f"keep each agent's credit below {most:g}: it is to be of the size of the team's reward"
        raise TfcafError("SCALE", checked.end, problem, hint)
    paid = (reward != 0) & (reached > 0)
    if not paid.any():
        return
    sizes = np.abs(given).sum((1, 2))
    if (nothing := paid & (sizes <= NOTHING * max(np.abs(given).max(), NOTHING))).any():
        problem = f"no agent gets credit in {nothing.sum()} of {paid.sum()} steps in which the team is paid, as when "
        problem += f"it is paid {reward[nothing][0]:.3g}"
        hint = "where the team's reward is not 0, give credit to the agents that brought it about"
        raise TfcafError("ZEROCREDIT", checked.end, problem, hint)
    if given.shape[-1] == 1:  # factors get their size from the network that reads them
        _verify_sum(checked, spec, float(sizes[paid].mean()), float(np.abs(reward[paid]).mean()))


def _verify_sum(checked: Checked, spec: Spec, credit: float, reward: float) -> None:
    low, high = reward / FACTOR, spec.n_agents * FACTOR * reward
    if not low <= credit <= high:
        problem = f"the sizes of all agents' credit sum to {credit:.3g} on average in the steps in which the team is "
        problem += f"paid, and the team's reward there is {reward:.3g}"
        hint = f"scale the credit: its sum is to be between {low:.3g} and {high:.3g} there"
        raise TfcafError("SCALE", checked.end, problem, hint)


def verify_tasks(checked: Checked, outcome: Outcome, phrases: list[str]) -> None:
    """Raise `TfcafError` for a task below 0 or of at least TASKS, on any state that was tried."""
    outside = np.any((outcome.weights < 0) | (outcome.weights >= checked.tasks), axis=-1)
    if outside.any():
        row = int(outside.argmax())
        wrong = next(task for task in outcome.weights[row] if not 0 <= task < checked.tasks)
        problem = f"an agent's task is {wrong:g} on a state {phrases[row]}, and TASKS is {checked.tasks}"
        raise TfcafError("OOB", checked.end, problem, f"give numbers from 0 to {checked.tasks - 1}: use jnp.clip")
