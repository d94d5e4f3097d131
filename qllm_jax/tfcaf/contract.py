"""The functions that language models write, of three kinds.

Value credit is the credit function (TFCAF) of QLLM (arxiv.org/abs/2504.12961, Eq. 3): Q_tot = scale * (w(s) @ q +
b(s)). Reward credit gives each agent a reward of its own for a step, and a task function gives each agent a task, after
LLM-MCA and LLM-TACA (arxiv.org/abs/2502.16863).

Axis letters: N agents, S flat global state, F factors, B batch (of the paper's signature only).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from qllm_jax.tfcaf.static.vocabulary import Signature
from qllm_jax.tfcaf.verdict import Location, TfcafError

Fields = dict[str, jax.Array]  # one sample's named fields, shapes as in `Spec.fields`
Credit = tuple[Float[Array, " agents"], Float[Array, ""]]  # weights, bias


class CreditFunction(NamedTuple):
    """A credit function that was checked and loaded; it has no parameters and draws no random numbers."""

    name: str
    credit: Callable[[Fields, Float[Array, " state"]], Credit]  # one sample; pure, can be jitted and vmapped
    igm: bool  # the gate of paper v1 (arxiv.org/abs/2504.12961v1): True = no weight may be negative
    signature: Signature
    source: str  # the file's text, stored with each run
    sha256: str  # of `source` in UTF-8
    program: str  # digest of the traced program that `credit` evaluates


class RewardFunction(NamedTuple):
    """A function of reward credit that was checked and loaded; it has no parameters and draws no random numbers."""

    name: str
    # (fields, actions (N,), team reward, fields after the step) -> factors (N, F); pure, can be jitted and vmapped
    credit: Callable[[Fields, Int[Array, " agents"], Float[Array, ""], Fields], Float[Array, "agents factors"]]
    n_factors: int  # F; 1: the credit itself, more: what a network turns into credit
    source: str
    sha256: str
    program: str  # as in CreditFunction


class TaskFunction(NamedTuple):
    """A task function that was checked and loaded; it has no parameters and draws no random numbers."""

    name: str
    assign: Callable[[Fields], Int[Array, " agents"]]  # tasks from 0 to n_tasks - 1; pure, can be jitted and vmapped
    n_tasks: int
    source: str
    sha256: str
    program: str  # as in CreditFunction


MAX_FACTORS = 32  # of one agent


def as_factors(outcome: Any, n_agents: int, location: Location) -> Float[Array, "agents factors"]:
    """Return the outcome of a function of reward credit as float32 factors (N, F). `TfcafError` if it is not."""
    one = "return one number an agent, of shape (n_agents,), or factors of shape (n_agents, f)"
    if not isinstance(outcome, jax.Array):
        raise TfcafError("SHAPE", location, f"`credit` returns {_kind(outcome)}", f"{one}: jnp.stack makes one array")
    shape = outcome.shape
    is_factors = len(shape) == 2 and shape[0] == n_agents and 2 <= shape[1] <= MAX_FACTORS
    if shape != (n_agents,) and not is_factors:
        allowed = f"{(n_agents,)}, or {n_agents} rows of 2 to {MAX_FACTORS} factors"
        raise TfcafError("SHAPE", location, f"the credit is of shape {shape}, not {allowed}", one)
    if not jnp.issubdtype(outcome.dtype, jnp.floating):
        raise TfcafError(
            "DTYPE", location, f"the credit is {outcome.dtype}", "make it floats with .astype(jnp.float32)"
        )
    return outcome.astype(jnp.float32).reshape(n_agents, -1)


def as_tasks(outcome: Any, n_agents: int, location: Location) -> Int[Array, " agents"]:
    """Return the outcome of a task function as int32 tasks (N,). `TfcafError` if it is not."""
    if not isinstance(outcome, jax.Array):
        hint = "return one array with jnp.array or jnp.stack"
        raise TfcafError("SHAPE", location, f"`assign` returns {_kind(outcome)}", hint)
    if outcome.shape != (n_agents,):
        problem = f"the tasks are of shape {outcome.shape}, not {(n_agents,)}"
        raise TfcafError("SHAPE", location, problem, "return one task an agent")
    if not jnp.issubdtype(outcome.dtype, jnp.integer):
        hint = "make them whole numbers with .astype(jnp.int32)"
        raise TfcafError("DTYPE", location, f"the tasks are {outcome.dtype}", hint)
    return outcome.astype(jnp.int32)


def as_credit(outcome: Any, n_agents: int, location: Location) -> Credit:
    """Return the outcome of a credit function as float32 weights (N,) and bias (). `TfcafError` if it is not."""
    if not (isinstance(outcome, tuple) and len(outcome) == 2):
        raise TfcafError("SHAPE", location, f"`credit` returns {_kind(outcome)}", "return the pair (weights, bias)")
    weights, bias = outcome
    if not isinstance(weights, jax.Array):
        hint = "make one array of them with jnp.stack or jnp.array"
        raise TfcafError("SHAPE", location, f"the weights are {_kind(weights)}", hint)
    if weights.shape != (n_agents,):
        hint = "return one weight an agent: sum, index or reshape the other axes away"
        raise TfcafError("SHAPE", location, f"the weights are of shape {weights.shape}, not {(n_agents,)}", hint)
    if not jnp.issubdtype(weights.dtype, jnp.floating):
        hint = "make them floats with .astype(jnp.float32)"
        raise TfcafError("DTYPE", location, f"the weights are {weights.dtype}", hint)
    return weights.astype(jnp.float32), _as_bias(bias, location)


def _as_bias(bias: Any, location: Location) -> Float[Array, ""]:
    if not isinstance(bias, (int, float, jax.Array)) or jnp.shape(bias) != ():
        raise TfcafError("SHAPE", location, f"the bias is {_kind(bias)}", "return one number, 0.0 for none")
    if jnp.iscomplexobj(bias):
        raise TfcafError("DTYPE", location, "the bias is complex", "return a real number")
    return jnp.asarray(bias, jnp.float32)


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, jax.Array):
        return f"an array of shape {value.shape}"
    return f"a {type(value).__name__}" + (f" of {len(value)}" if isinstance(value, (tuple, list)) else "")
