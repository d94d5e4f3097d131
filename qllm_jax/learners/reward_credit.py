"""Reward credit: functions that give each agent a reward of its own for a step, one or several to choose among."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
from jaxtyping import Array, Float, Int

from qllm_envs import Spec
from qllm_jax.config import split_control
from qllm_jax.core import choosing
from qllm_jax.core.types import Choice, Params
from qllm_jax.errors import UserError
from qllm_jax.learners import reward_controls
from qllm_jax.tfcaf import reward_from_source
from qllm_jax.tfcaf.contract import Fields
from qllm_jax.tfcaf.loading.lookup import find_for_env


class Transition(NamedTuple):
    """All that reward credit can be computed from, of one step; `fields` are those before it."""

    fields: Fields
    action: Int[Array, " agents"]
    reward: Float[Array, ""]  # of the team, as the environment pays it
    next_fields: Fields


class RewardCredit(NamedTuple):
    """`init(key, choice)` gives parameters without a gradient, {} for none, and `apply` a step's factors (N, F)."""

    init: Callable[[jax.Array, Choice], Params]
    apply: Callable[[Params, Transition], Float[Array, "agents factors"]]
    n_factors: int  # F; 1: the credit itself
    sources: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()


def _none(params: Params, transition: Transition) -> jax.Array:
    del params, transition
    raise AssertionError("credit that is stored with episodes is not computed")


STORED = RewardCredit(lambda key, choice: {}, _none, 1)  # episodes have credit: no function is read


def load(spec: Spec, functions: Sequence[str]) -> RewardCredit:
    """Load one function by name or path, or the several that a sweep trains. UserError for one that does not exist.

    Each may end with a control, as in "duty:shuffled": see reward_controls.py.
    """
    each = [one(spec, function) for function in functions]
    return each[0] if len(each) == 1 else choose(each)


def one(spec: Spec, function: str) -> RewardCredit:
    """Reward credit by one function, with its control if it has one."""
    found, name = find_for_env(spec, function, "reward"), split_control(function)[1]
    loaded = reward_from_source(found.text, found.file, spec)
    control = reward_controls.find(name) if name else None

    def apply(params: Params, transition: Transition) -> jax.Array:
        factors = loaded.credit(transition.fields, transition.action, transition.reward, transition.next_fields)
        return factors if control is None else control.apply(params, factors, transition.reward, transition.fields)

    init = lambda key, choice: {} if control is None else control.init(key, spec.n_agents)
    n_factors = 1 if control is not None and control.ignores_factors else loaded.n_factors
    return RewardCredit(init, apply, n_factors, (loaded.source,), (loaded.program,))


def choose(each: Sequence[RewardCredit]) -> RewardCredit:
    """Reward credit of K functions: each run uses the one that its `choice`, a one-hot (K,), marks."""
    if len({one.n_factors for one in each}) > 1:
        raise UserError("sweep.tfcaf: functions of reward credit must all give credit, or all as many factors")

    init = lambda key, choice: choosing.params_of([one.init(key, None) for one in each], choice)
    apply = partial(choosing.call, [one.apply for one in each])
    sources, programs = choosing.joined(each, "sources"), choosing.joined(each, "programs")
    return RewardCredit(init, apply, each[0].n_factors, sources, programs)
