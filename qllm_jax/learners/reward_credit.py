"""Reward credit: functions that give each agent a reward of its own for a step, one or several to choose among."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from qllm_envs import Spec, outside
from qllm_jax.config import split_control
from qllm_jax.core.types import Choice, Params
from qllm_jax.errors import UserError
from qllm_jax.learners import reward_controls
from qllm_jax.tfcaf import find, reward_from_source
from qllm_jax.tfcaf.contract import Fields
from qllm_jax.tfcaf.loading.source import Source

CHOICE = "choice"  # name of the parameter of `choosing`, as in the mixer tfcaf


class Step(NamedTuple):
    """All that reward credit can be computed from, of one step."""

    fields: Fields
    action: Int[Array, " agents"]
    reward: Float[Array, ""]  # of the team, as the environment pays it
    after: Fields  # fields after the step


class RewardCredit(NamedTuple):
    """`init(key, choice)` gives parameters without a gradient, {} for none; `apply(params, step)` factors (N, F)."""

    init: Callable[[jax.Array, Choice], Params]
    apply: Callable[[Params, Step], Float[Array, "agents factors"]]
    n_factors: int  # F; 1: the credit itself
    sources: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()


def _none(params: Params, step: Step) -> jax.Array:
    del params, step
    raise AssertionError("credit that is stored with episodes is not computed")


STORED = RewardCredit(lambda key, choice: {}, _none, 1)  # episodes have credit: no function is read


def make(spec: Spec, functions: Sequence[str]) -> RewardCredit:
    """Load one function by name or path, or the several that a sweep trains. UserError for one that does not exist.

    Each may end with a control, as in "duty:shuffled": see reward_controls.py.
    """
    each = [one(spec, function) for function in functions]
    return each[0] if len(each) == 1 else choosing(each)


def source_of(spec: Spec, function: str = "") -> Source:
    """Return the text of a function; empty: the one named as the environment. UserError if there is none."""
    if function in ("", spec.made_by) and outside.parse(spec.made_by):
        raise UserError(
            f"environment {spec.made_by!r} has no function of reward credit in the library: give "
            "algo.learner.function=FILE.py, which python -m qllm_jax.generate kind=reward writes"
        )
    return find(split_control(function)[0] or spec.name, "reward")


def one(spec: Spec, function: str) -> RewardCredit:
    """Reward credit by one function, with its control if it has one."""
    found, name = source_of(spec, function), split_control(function)[1]
    loaded = reward_from_source(found.text, found.file, spec)
    control = reward_controls.find(name) if name else None

    def apply(params: Params, step: Step) -> jax.Array:
        factors = loaded.credit(step.fields, step.action, step.reward, step.after)
        return factors if control is None else control.apply(params, factors, step.reward, step.fields)

    init = lambda key, choice: {} if control is None else control.init(key, spec.n_agents)
    n_factors = 1 if control is not None and control.ignores_factors else loaded.n_factors
    return RewardCredit(init, apply, n_factors, (loaded.source,), (loaded.program,))


def choosing(each: Sequence[RewardCredit]) -> RewardCredit:
    """Reward credit of K functions: each run uses the one that its `choice`, a one-hot (K,), marks."""
    if len({one.n_factors for one in each}) > 1:
        raise UserError("sweep.tfcaf: functions of reward credit must all give credit, or all as many factors")

    def init(key: jax.Array, choice: Choice) -> Params:
        own = {str(i): one.init(key, None) for i, one in enumerate(each)}
        # Copied: an argument that a compiled function returned as it came would be donated with the state.
        return {CHOICE: jnp.array(choice, jnp.float32)} | {i: fixed for i, fixed in own.items() if fixed}

    def apply(params: Params, step: Step) -> jax.Array:
        branches = [partial(one.apply, params.get(str(i), {})) for i, one in enumerate(each)]
        return jax.lax.switch(jnp.argmax(params[CHOICE]), branches, step)

    together = lambda name: tuple(part for one in each for part in getattr(one, name))
    return RewardCredit(init, apply, each[0].n_factors, together("sources"), together("programs"))
