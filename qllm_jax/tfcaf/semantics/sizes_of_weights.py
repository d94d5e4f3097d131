"""Sizes and signs of weights and bias on the states that play reaches: a team value needs numbers of moderate size."""

from typing import NamedTuple

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
SEARCHED = "in the fields' ranges"  # kind of the states to which a search leads


class Rows(NamedTuple):
    """Numbers of the first states that were tried; where play gives none, all that were tried count."""

    random: int  # of rollouts
    reached: int  # of these, and of states that good play reaches
    near: Bool[np.ndarray, " states"]  # True for all states whose numbers lie in the ranges of those


def verify(checked: Checked, outcome: Outcome, kinds: list[str], counts: Rows) -> None:
    """Raise `TfcafError` for weights or a bias that are too large, too small, idle, or negative where IGM is True."""
    rows = counts.reached or len(kinds)
    weights = outcome.weights[:rows]
    scale = weights.shape[1]
    _verify_most(checked, "a weight", scale * np.abs(outcome.weights).max(-1), counts, kinds)
    _verify_most(checked, "the bias", scale * np.abs(outcome.bias), counts, kinds)
    _verify_idle(checked, weights, "play reaches" if counts.reached else "were tried")
    _verify_start(checked, weights, counts.random)
    if (largest := scale * np.abs(weights).max()) < LEAST:
        problem = f"no weight is above {largest:.1e}, times the number of agents, on {rows} states that play reaches"
        hint = f"bring weights to the order of 1: between {LEAST:g} and {MOST:g}, times the number of agents"
        raise TfcafError("SCALE", checked.end, problem, hint)
    _verify_signs(checked, outcome.weights, np.abs(weights).max(), kinds)


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


def _verify_most(
    checked: Checked, what: str, sizes: Float[np.ndarray, " states"], counts: Rows, kinds: list[str]
) -> None:
    # A search that drives a divisor to 0 leads to states between those of play, where a number added to it is seen.
    searched = counts.near & (np.array(kinds) == SEARCHED)
    sizes = np.where((np.arange(len(kinds)) < (counts.reached or len(kinds))) | searched, sizes, 0.0)
    if sizes.max() > MOST:
        row = int(sizes.argmax())
        problem = f"{what} is {sizes[row]:.1e}, times the number of agents, on a state {kinds[row]}"
        hint = f"keep it below {MOST:g}: bound what grows with distance, with jnp.clip, jnp.tanh or jax.nn.softmax"
        raise TfcafError("SCALE", checked.end, problem, hint)


def _verify_signs(
    checked: Checked, weights: Float[np.ndarray, "states agents"], in_play: float, kinds: list[str]
) -> None:
    # Rounding is told from a sign by the weights of the same state and of play, as corners of the ranges have larger.
    negative: Bool[np.ndarray, " states"] = weights.min(-1) < -SLACK * np.maximum(np.abs(weights).max(-1), in_play)
    if checked.igm and negative.any():
        row = int(negative.argmax())
        problem = f"a weight is {weights[row].min():.3g} on a state {kinds[row]}, while IGM is True"
        hint = "make weights non-negative, with jax.nn.softmax, relu or softplus, or write IGM = False if you mean it"
        raise TfcafError("NONMONO", checked.end, problem, hint)
