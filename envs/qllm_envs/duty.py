"""Duty: every agent answers to its own symbol, and only the answers of the few agents on duty are paid.

A diagnostic of this package, not a game from the literature: it isolates the one thing that positive credit weights can
do (docs/credit_theory.md). The flat state and its named parts tell who is on duty; agents are not told.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from qllm_envs import _answers, options
from qllm_envs.core import Env, Field, Scene, Spec, Step, View

NAME = "duty"
UNKNOWN, IDLE, RIGHT, WRONG = 0, 1, 2, 3  # of `State.marked`


class Rules(NamedTuple):
    """The options of `make`, checked. All static."""

    n_agents: int
    symbols: int
    actions: int
    active: int
    horizon: int
    sees: bool


class State(NamedTuple):
    symbol: Int[Array, " n"]
    on_duty: Bool[Array, " n"]
    marked: Int[Array, " n"]  # what became of each answer of the step before, for pictures
    t: Int[Array, ""]  # steps taken


def make(
    *,
    n_agents: int = 10,
    symbols: int = 8,
    actions: int = 8,
    active: int = 1,
    horizon: int = 10,
    sees: bool = False,
) -> Env:
    """Return the game in which `active` agents are on duty at each step.

    Symbols and duty are drawn anew for each step: every agent has any of the `symbols` equally likely, and every set of
    `active` agents is equally likely. The right answer to symbol k is action k modulo `actions`. `sees` shows each
    agent whether it is on duty itself, and its symbol only if it is; an agent off
    duty can then choose action 0 alone.
    """
    n = options.integer(NAME, "n_agents", n_agents, low=1)
    rules = Rules(
        n_agents=n,
        symbols=options.integer(NAME, "symbols", symbols, low=1),
        actions=options.integer(NAME, "actions", actions, low=1),
        active=_answers.capped(NAME, "active", active, n, "the number of agents"),
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
    start = _reset(rules, key)
    n, index = rules.n_agents, jnp.arange(rules.n_agents)
    alike = lambda symbol: start._replace(symbol=jnp.full((n,), symbol, jnp.int32))
    return {
        "in which all agents have symbol 0": alike(0),
        "in which all agents have the last symbol": alike(rules.symbols - 1),
        "in which the first agents are on duty": start._replace(on_duty=index < rules.active),
        "in which the last agents are on duty": start._replace(on_duty=index >= n - rules.active),
    }


def _reset(rules: Rules, key: jax.Array) -> State:
    return _at(rules, key, jnp.full((rules.n_agents,), UNKNOWN, jnp.int32), jnp.int32(0))


def _at(rules: Rules, key: jax.Array, marked: Int[Array, " n"], t: Int[Array, ""]) -> State:
    """Draw the state at the start of a step. The key is consumed."""
    return State(*_answers.drawn(key, rules.n_agents, rules.symbols, rules.active), marked, t)


def _step(rules: Rules, key: jax.Array, state: State, actions: Int[Array, " n"]) -> Step:
    right = _answers.right(state.symbol, actions, rules.actions)
    reward = (right & state.on_duty).sum() / rules.active
    marked = jnp.where(state.on_duty, jnp.where(right, RIGHT, WRONG), IDLE).astype(jnp.int32)
    t_tp1 = state.t + 1
    return Step(_at(rules, key, marked, t_tp1), reward, jnp.bool_(False), t_tp1 >= rules.horizon)


def _view(rules: Rules, state: State) -> View:
    symbol = jax.nn.one_hot(state.symbol, rules.symbols)  # (N, K)
    duty = state.on_duty.astype(jnp.float32)[:, None]  # (N, 1)
    row = jnp.concatenate([duty, symbol], -1)  # (N, 1 + K)
    fields = {"on_duty": state.on_duty, "symbol": state.symbol}
    # With `sees`, an agent off duty has no choice: its random actions would move the network that all agents share.
    first = (jnp.arange(rules.actions) == 0)[None]
    avail = first | (state.on_duty[:, None] | (not rules.sees))
    # A symbol that does not count is hidden too: a network would need many samples to learn that product.
    obs = jnp.concatenate([duty, duty * symbol], -1) if rules.sees else symbol
    return View(obs, avail, row.reshape(-1), fields)


def _spec(rules: Rules) -> Spec:
    n, k = rules.n_agents, rules.symbols
    block = _answers.rows(n, "on_duty", k)
    crowd = f"_active{rules.active}" if rules.active > 1 else ""
    return Spec(
        name=NAME,
        n_agents=n,
        n_actions=rules.actions,
        obs_dim=k + rules.sees,
        state_dim=block.width * n,
        horizon=rules.horizon,
        fields=_fields(rules),
        action_names=tuple(str(action) for action in range(rules.actions)),
        reward=_reward_sentence(rules),
        source="qllm_envs, a diagnostic of credit assignment (docs/credit_theory.md)",
        task=f"{NAME}_n{n}{crowd}{'_sees' if rules.sees else ''}",
        state_layout=(block,),
    )


def _reward_sentence(rules: Rules) -> str:
    if rules.active == 1:
        pays = "1 if the action of the agent on duty is the right answer to its own symbol, else 0"
    else:
        pays = (
            f"The share of the {rules.active} agents on duty whose action is the right answer to their own symbol, "
            "from 0 to 1"
        )
    return f"{pays}. {_answers.rule(rules.symbols, rules.actions)}"


def _fields(rules: Rules) -> dict[str, Field]:
    n = rules.n_agents
    told = (
        "an agent sees its own entry, and its symbol only if that is 1, else it can choose action 0 alone"
        if rules.sees
        else "no agent sees it"
    )
    on_duty = (
        "1 for agents that are on duty in this step, 0 for all others, entry i for agent i; "
        f"{rules.active} of {n}, drawn anew for each step, all equally likely; {told}"
    )
    return {
        "on_duty": Field((n,), on_duty, "0 or 1", 0.0, 1.0),
        "symbol": _answers.symbol_field(n, rules.symbols),
    }


def _scene(state: Any) -> Scene:
    """A frame for who is on duty; below each agent, green or red for its answer of the step before if that was paid."""
    colors = {RIGHT: _answers.RIGHT, WRONG: _answers.WRONG, IDLE: _answers.PLAIN}
    symbol, on_duty, marked = (np.asarray(x) for x in (state.symbol, state.on_duty, state.marked))
    shapes = []
    for i, center in enumerate(_answers.cells(len(symbol))):
        marks = [(colors[int(marked[i])], "")] if marked[i] != UNKNOWN else []
        shapes += _answers.agent_shapes(i, center, str(symbol[i]), bool(on_duty[i]), marks)
    return _answers.scene(len(symbol), shapes)
