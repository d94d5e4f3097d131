"""Modes: a hidden mode of each agent decides which answer pays, and credit for those with more at stake must hurt.

A diagnostic of this package and its negative control: unequal weights reverse what is learned (docs/credit_theory.md).
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from qllm_envs import _answers, options
from qllm_envs.core import Env, Field, Scene, Spec, Step, View

NAME = "modes"
RARE, PAY = 0.25, 2.0  # defaults: right answers are best in the dark, unless the rare mode counts 1.5 times as much
ACTIONS = 2


class Rules(NamedTuple):
    """The options of `make`, checked. All static."""

    n_agents: int
    symbols: int
    rare: float
    pay: float
    horizon: int
    sees: bool


class State(NamedTuple):
    symbol: Int[Array, " n"]
    rare: Bool[Array, " n"]  # True for agents in the rare mode
    paid: Int[Array, " n"]  # of the step before: 1 for agents that were paid, 0 for others, -1 before the first step
    t: Int[Array, ""]  # steps taken


def make(
    *,
    n_agents: int = 10,
    symbols: int = 8,
    rare: float = RARE,
    pay: float = PAY,
    horizon: int = 10,
    sees: bool = False,
) -> Env:
    """Return the game in which each agent is in the rare mode with probability `rare`, drawn anew for each step.

    Agents get symbols as in `duty`, and answer with one of two actions. In the common mode the right answer pays 1, in
    the rare mode the other one pays `pay`; the reward is the mean over agents. Without `sees` agents cannot tell the
    modes apart, and right answers are best if 1 - rare is more than rare x pay. `sees` shows each agent its own mode.
    """
    rules = Rules(
        n_agents=options.integer(NAME, "n_agents", n_agents, low=1),
        symbols=options.integer(NAME, "symbols", symbols, low=1),
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
        notable=partial(_notable, rules),
    )


def _notable(rules: Rules, key: jax.Array) -> dict[str, State]:
    """Draws that are too rare for rollouts. How a team plays does not show in a state."""
    start, n = _reset(rules, key), rules.n_agents
    found = {"in which all agents have the same symbol": start._replace(symbol=jnp.zeros((n,), jnp.int32))}
    if rules.rare > 0:
        found["in which all agents are in the rare mode"] = start._replace(rare=jnp.ones((n,), bool))
    if rules.rare < 1:
        found["in which no agent is in the rare mode"] = start._replace(rare=jnp.zeros((n,), bool))
    return found


def _reset(rules: Rules, key: jax.Array) -> State:
    return _at(rules, key, jnp.full((rules.n_agents,), -1, jnp.int32), jnp.int32(0))


def _at(rules: Rules, key: jax.Array, paid: Int[Array, " n"], t: Int[Array, ""]) -> State:
    """Draw the state at the start of a step. The key is consumed."""
    key_symbol, key_mode = jax.random.split(key)
    symbol = jax.random.randint(key_symbol, (rules.n_agents,), 0, rules.symbols, jnp.int32)
    return State(symbol, jax.random.bernoulli(key_mode, rules.rare, (rules.n_agents,)), paid, t)


def _step(rules: Rules, key: jax.Array, state: State, actions: Int[Array, " n"]) -> Step:
    paid = _answers.right(state.symbol, actions, ACTIONS) ^ state.rare
    reward = jnp.where(paid, jnp.where(state.rare, rules.pay, 1.0), 0.0).mean()
    t_tp1 = state.t + 1
    after = _at(rules, key, paid.astype(jnp.int32), t_tp1)
    return Step(after, reward, jnp.bool_(False), t_tp1 >= rules.horizon)


def _view(rules: Rules, state: State) -> View:
    symbol = jax.nn.one_hot(state.symbol, rules.symbols)  # (N, K)
    row = jnp.concatenate([state.rare.astype(jnp.float32)[:, None], symbol], -1)  # (N, 1 + K)
    avail = jnp.ones((rules.n_agents, ACTIONS), bool)
    fields = {"rare": state.rare, "symbol": state.symbol}
    return View(row if rules.sees else symbol, avail, row.reshape(-1), fields)


def threshold(spec: Spec) -> float:
    """Ratio of an agent's weight in the rare mode to that in the common one, above which it learns wrong answers.

    (1 - rare) / (rare x pay); see docs/credit_theory.md. Infinite if the rare mode never occurs or pays nothing.
    """
    rare, pay = (spec.options.get(name, default) for name, default in (("rare", RARE), ("pay", PAY)))
    return (1 - rare) / (rare * pay) if rare * pay else float("inf")


def _spec(rules: Rules) -> Spec:
    n, k = rules.n_agents, rules.symbols
    other = "" if (rules.rare, rules.pay) == (RARE, PAY) else f"_rare{rules.rare:g}_pay{rules.pay:g}"
    told = "an agent sees its own entry" if rules.sees else "no agent sees it"
    mode = (
        "1 for agents that are in the rare mode in this step, 0 for those in the common one, entry i for agent i; each "
        f"agent is in the rare mode with probability {rules.rare:g}, drawn anew for each step; {told}"
    )
    block = _answers.rows(n, "rare", k)
    return Spec(
        name=NAME,
        n_agents=n,
        n_actions=ACTIONS,
        obs_dim=k + rules.sees,
        state_dim=n * block.width,
        horizon=rules.horizon,
        fields={
            "rare": Field((n,), mode, "0 or 1", 0.0, 1.0),
            "symbol": _answers.symbol_field(n, k),
        },
        action_names=tuple(str(action) for action in range(ACTIONS)),
        reward=(
            "The mean over all agents of what each is paid: 1 for the right answer in the common mode, "
            f"{rules.pay:g} for the other answer in the rare mode, else 0. {_answers.rule(k, ACTIONS)}"
        ),
        source="qllm_envs, a diagnostic of credit assignment (docs/credit_theory.md)",
        task=f"{NAME}_n{n}{other}{'_sees' if rules.sees else ''}",
        state_layout=(block,),
    )


def _scene(state: Any) -> Scene:
    """A frame for agents in the rare mode; below each agent, green if it was paid in the step before and red if not."""
    symbol, rare, paid = (np.asarray(x) for x in (state.symbol, state.rare, state.paid))
    colors = {1: _answers.RIGHT, 0: _answers.WRONG}
    shapes = []
    for i, center in enumerate(_answers.cells(len(rare))):
        marks = [(colors[int(paid[i])], "")] if paid[i] >= 0 else []
        shapes += _answers.agent_shapes(i, center, str(symbol[i]), bool(rare[i]), marks)
    return _answers.scene(len(rare), shapes)
