"""Modes: a hidden mode of each agent decides which action pays, and credit for those with more at stake must hurt.

A diagnostic of this package and its negative control: unequal weights reverse what is learned (docs/credit_theory.md).
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from qllm_envs import _answers, options
from qllm_envs.core import Entries, Env, Field, Scene, Spec, StateBlock, Step, View

NAME = "modes"
RARE, PAY = 0.25, 2.0  # defaults: the best action in the dark is 0, unless the rare mode counts 1.5 times as much
ACTIONS = ("common", "rare")  # action 0 pays in the common mode, action 1 in the rare one


class Rules(NamedTuple):
    """The options of `make`, checked. All static."""

    n_agents: int
    rare: float
    pay: float
    horizon: int
    sees: bool


class State(NamedTuple):
    rare: Bool[Array, " n"]  # True for agents in the rare mode
    paid: Int[Array, " n"]  # of the step before: 1 for agents that were paid, 0 for others, -1 before the first step
    t: Int[Array, ""]  # steps taken


def make(*, n_agents: int = 10, rare: float = RARE, pay: float = PAY, horizon: int = 10, sees: bool = False) -> Env:
    """Return the game in which each agent is in the rare mode with probability `rare`, drawn anew for each step.

    Action 0 pays 1 in the common mode, action 1 pays `pay` in the rare mode; the reward is the mean over agents.
    Without `sees` agents cannot tell the modes apart, and action 0 is best if 1 - rare is more than rare x pay. `sees`
    shows each agent its own mode.
    """
    rules = Rules(
        n_agents=options.integer(NAME, "n_agents", n_agents, low=1),
        rare=options.number(NAME, "rare", rare, low=0, high=1),
        pay=options.number(NAME, "pay", pay, low=0, high=1000),
        horizon=options.integer(NAME, "horizon", horizon, low=1),
        sees=options.flag(NAME, "sees", sees),
    )
    return Env(
        spec=_spec(rules),
        reset=partial(_reset, rules),
        step=partial(_step, rules),
        view=partial(_view, rules),
        scene=_scene,
    )


def _reset(rules: Rules, key: jax.Array) -> State:
    return _at(rules, key, jnp.full((rules.n_agents,), -1, jnp.int32), jnp.int32(0))


def _at(rules: Rules, key: jax.Array, paid: Int[Array, " n"], t: Int[Array, ""]) -> State:
    """Draw the state at the start of a step. The key is consumed."""
    return State(jax.random.bernoulli(key, rules.rare, (rules.n_agents,)), paid, t)


def _step(rules: Rules, key: jax.Array, state: State, actions: Int[Array, " n"]) -> Step:
    paid = (actions == 1) == state.rare
    reward = jnp.where(paid, jnp.where(state.rare, rules.pay, 1.0), 0.0).mean()
    t_tp1 = state.t + 1
    after = _at(rules, key, paid.astype(jnp.int32), t_tp1)
    return Step(after, reward, jnp.bool_(False), t_tp1 >= rules.horizon)


def _view(rules: Rules, state: State) -> View:
    rare, n = state.rare.astype(jnp.float32), rules.n_agents
    obs = rare[:, None] if rules.sees else jnp.zeros((n, 1))
    return View(obs, jnp.ones((n, 2), bool), rare, {"rare": state.rare})


def threshold(spec: Spec) -> float:
    """Ratio of an agent's weight in the rare mode to that in the common one, above which it learns the other action.

    (1 - rare) / (rare x pay); see docs/credit_theory.md. Infinite if the rare mode never occurs or pays nothing.
    """
    rare, pay = (spec.options.get(name, default) for name, default in (("rare", RARE), ("pay", PAY)))
    return (1 - rare) / (rare * pay) if rare * pay else float("inf")


def _spec(rules: Rules) -> Spec:
    n = rules.n_agents
    other = "" if (rules.rare, rules.pay) == (RARE, PAY) else f"_rare{rules.rare:g}_pay{rules.pay:g}"
    told = "an agent sees its own entry" if rules.sees else "no agent sees it"
    mode = (
        "1 for agents that are in the rare mode in this step, 0 for those in the common one, entry i for agent i; each "
        f"agent is in the rare mode with probability {rules.rare:g}, drawn anew for each step; {told}"
    )
    return Spec(
        name=NAME,
        n_agents=n,
        n_actions=len(ACTIONS),
        obs_dim=1,
        state_dim=n,
        horizon=rules.horizon,
        fields={"rare": Field((n,), mode, "0 or 1", 0.0, 1.0)},
        action_names=ACTIONS,
        reward=(
            "The mean over all agents of what each is paid: 1 for action 0 in the common mode, "
            f"{rules.pay:g} for action 1 in the rare mode, else 0."
        ),
        source="qllm_envs, a diagnostic of credit assignment (docs/credit_theory.md)",
        task=f"{NAME}_n{n}{other}{'_sees' if rules.sees else ''}",
        state_layout=(StateBlock((Entries("rare", n),)),),
    )


def _scene(state: Any) -> Scene:
    """A frame for agents in the rare mode; below each agent, green if it was paid in the step before and red if not."""
    rare, paid = np.asarray(state.rare), np.asarray(state.paid)
    colors = {1: _answers.RIGHT, 0: _answers.WRONG}
    shapes = []
    for i, center in enumerate(_answers.cells(len(rare))):
        marks = [(colors[int(paid[i])], "")] if paid[i] >= 0 else []
        shapes += _answers.agent_shapes(i, center, "", bool(rare[i]), marks)
    return _answers.scene(len(rare), shapes)
