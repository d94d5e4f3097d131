"""Sizes and signs of weights and bias on the states that play reaches: a team value needs numbers of moderate size."""

import numpy as np
from jaxtyping import Bool, Float

from qllm_jax.tfcaf.semantics.trial import Outcome
from qllm_jax.tfcaf.static.check import Checked
from qllm_jax.tfcaf.verdict import TfcafError

SLACK = 1e-6  # of the largest weight: weights below minus that are negative, and agents with less never count
# Of weights and bias times the number of agents, by which training multiplies them. Returns are of the order of 1 to
# 1000: beyond these bounds float32 and Adam's epsilon leave nothing to learn from.
MOST, LEAST = 1e4, 1e-4
OVERFLOWS = 1e30
SEARCHED = "in the fields' ranges"  # phrase of the states to which a search leads


def verify(
    checked: Checked,
    outcome: Outcome,
    phrases: list[str],
    *,
    n_random: int,
    n_reached: int,
    near: Bool[np.ndarray, " states"],
) -> None:
    """Raise `TfcafError` for weights or a bias that are too large, too small, idle, or negative where IGM is True.

    The first `n_random` states are of rollouts, the first `n_reached` these and those that good play reaches; where
    there are none, all that were tried count. `near`: the states whose numbers lie in the ranges of those.
    """
    rows = n_reached or len(phrases)
    weights = outcome.weights[:rows]
    scale = weights.shape[1]
    # A search that drives a divisor to 0 leads to states between those of play, where a number added to it is seen.
    counts = (np.arange(len(phrases)) < rows) | (near & (np.array(phrases) == SEARCHED))
    _verify_most(checked, "a weight", np.where(counts, scale * np.abs(outcome.weights).max(-1), 0.0), phrases)
    _verify_most(checked, "the bias", np.where(counts, scale * np.abs(outcome.bias), 0.0), phrases)
    _verify_idle(checked, weights, "play reaches" if n_reached else "were tried")
    _verify_start(checked, weights, n_random)
    if (largest := scale * np.abs(weights).max()) < LEAST:
        problem = f"no weight is above {largest:.1e}, times the number of agents, on {rows} states that play reaches"
        hint = f"bring weights to the order of 1: between {LEAST:g} and {MOST:g}, times the number of agents"
        raise TfcafError("SCALE", checked.end, problem, hint)
    _verify_signs(checked, outcome.weights, np.abs(weights).max(), phrases)


def are_moderate(outcome: Outcome) -> Bool[np.ndarray, " states"]:
    """True for states on which nothing is so large that it overflows for being multiplied by the number of agents."""
    return (np.abs(outcome.weights).max(-1) < OVERFLOWS) & (np.abs(outcome.bias) < OVERFLOWS)


def _verify_idle(checked: Checked, weights: Float[np.ndarray, "states agents"], which: str) -> None:
    sizes = np.abs(weights).max(0)
    idle = np.flatnonzero(sizes <= SLACK * sizes.max())
    if not len(idle):
        return
    who = "every agent" if len(idle) == len(sizes) else f"agent {idle[0]}"
    size = "0" if not sizes[idle[0]] else f"{sizes[idle[0]]:.1e} at most, which is next to nothing,"
    problem = f"the weight of {who} is {size} on all {len(weights)} states that {which}"
    hint = "an agent that never counts learns nothing: give it some weight"
    raise TfcafError("ZEROGRAD", checked.end, problem, hint)


def _verify_start(checked: Checked, weights: Float[np.ndarray, "states agents"], random: int) -> None:
    """Raise `TfcafError` where no weight counts in random play, with which training begins."""
    if random and np.abs(weights[:random]).max() <= SLACK * np.abs(weights).max():
        problem = f"the weight of every agent is 0, or next to it, on all {random} states of random play"
        hint = "training begins with such states and learns nothing from them: give agents some weight there"
        raise TfcafError("ZEROGRAD", checked.end, problem, hint)


def _verify_most(checked: Checked, what: str, sizes: Float[np.ndarray, " states"], phrases: list[str]) -> None:
    if sizes.max() > MOST:
        row = int(sizes.argmax())
        problem = f"{what} is {sizes[row]:.1e}, times the number of agents, on a state {phrases[row]}"
        hint = f"keep it below {MOST:g}: bound what grows with distance, with jnp.clip, jnp.tanh or jax.nn.softmax"
        raise TfcafError("SCALE", checked.end, problem, hint)


def _verify_signs(
    checked: Checked, weights: Float[np.ndarray, "states agents"], in_play: float, phrases: list[str]
) -> None:
    # Rounding is told from a sign by the weights of the same state and of play, as corners of the ranges have larger.
    negative: Bool[np.ndarray, " states"] = weights.min(-1) < -SLACK * np.maximum(np.abs(weights).max(-1), in_play)
    if checked.igm and negative.any():
        row = int(negative.argmax())
        problem = f"a weight is {weights[row].min():.3g} on a state {phrases[row]}, while IGM is True"
        hint = "make weights non-negative, with jax.nn.softmax, relu or softplus, or write IGM = False if you mean it"
        raise TfcafError("NONMONO", checked.end, problem, hint)
