"""Relay: one agent's answer of each round is paid steps later, and only the state keeps whose it was.

A diagnostic of this package, not a game from the literature: credit has to follow an answer until it is paid
(docs/credit_theory.md). With `delay=0` it is `duty` with one agent on duty, but for what is shown besides.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from qllm_envs import _answers, options
from qllm_envs.core import Entries, Env, Field, Scene, Spec, StateBlock, Step, View

NAME = "relay"
NONE = -1  # in `State.answer`, before the answer is given


class Rules(NamedTuple):
    """The options of `make`, checked. All static."""

    n_agents: int
    symbols: int
    actions: int
    active: int
    delay: int
    rounds: int
    sees: bool

    @property
    def length(self) -> int:
        """Steps of a round."""
        return self.delay + 1


class State(NamedTuple):
    symbol: Int[Array, " n"]
    on_duty: Bool[Array, " n"]
    answer: Int[Array, " n"]  # of this round
    t: Int[Array, ""]  # steps taken


def make(
    *,
    n_agents: int = 10,
    symbols: int = 8,
    actions: int = 8,
    active: int = 1,
    delay: int = 3,
    rounds: int = 4,
    sees: bool = False,
) -> Env:
    """Return the game of `rounds` rounds, each of 1 + `delay` steps.

    In the first step of a round all agents get a symbol and answer it, and `active` of them are on duty; in its last
    step the answers of those on duty are paid. In the steps after the answer agents wait, and see their own symbol and
    answer. The right answer to symbol k is action k modulo `actions`; action number `actions` is to wait. `sees` shows
    each agent whether it is on duty itself, and its symbol and answer only if it is; an
    agent off duty can then answer 0 alone.
    """
    n = options.integer(NAME, "n_agents", n_agents, low=1)
    rules = Rules(
        n_agents=n,
        symbols=options.integer(NAME, "symbols", symbols, low=1),
        actions=options.integer(NAME, "actions", actions, low=1),
        active=_answers.capped(NAME, "active", active, n, "the number of agents"),
        delay=options.integer(NAME, "delay", delay, low=0),
        rounds=options.integer(NAME, "rounds", rounds, low=1),
        sees=options.flag(NAME, "sees", sees),
    )
    return Env(
        spec=_spec(rules),
        reset=partial(_reset, rules),
        step=partial(_step, rules),
        view=partial(_view, rules),
        scene=partial(_scene, rules),
        notable=partial(_notable, rules),
    )


def _notable(rules: Rules, key: jax.Array) -> dict[str, State]:
    """Rounds as good play has them, and draws that are too rare for rollouts."""
    key_reset, key_step = jax.random.split(key)
    start, n = _reset(rules, key_reset), rules.n_agents
    alike = start._replace(symbol=jnp.full((n,), rules.symbols - 1, jnp.int32))
    found = {"in which all agents have the last symbol of all": alike}
    if not rules.delay:  # an answer is paid before it shows
        return found
    # An agent that sees that it is off duty has answer 0 alone.
    given = lambda answer: jnp.where(start.on_duty | (not rules.sees), answer, 0)
    after = lambda answer: _step(rules, key_step, start, given(answer)).state
    right = after(start.symbol % rules.actions)
    found["after all agents on duty gave the right answer"] = right
    found["in which all agents on duty gave the right answer, and are paid"] = right._replace(t=jnp.int32(rules.delay))
    found["after all agents gave answer 0"] = after(jnp.zeros((n,), jnp.int32))
    if rules.actions > 1:
        found["after all agents on duty gave a wrong answer"] = after((start.symbol + 1) % rules.actions)
    return found


def _reset(rules: Rules, key: jax.Array) -> State:
    return _round(rules, key, jnp.int32(0))


def _round(rules: Rules, key: jax.Array, t: Int[Array, ""]) -> State:
    """Draw the start of a round. The key is consumed."""
    symbol, on_duty = _answers.drawn(key, rules.n_agents, rules.symbols, rules.active)
    return State(symbol, on_duty, jnp.full((rules.n_agents,), NONE, jnp.int32), t)


def _step(rules: Rules, key: jax.Array, state: State, actions: Int[Array, " n"]) -> Step:
    phase, t_tp1 = state.t % rules.length, state.t + 1
    answer = jnp.where(phase == 0, actions, state.answer).astype(jnp.int32)
    right = _answers.right(state.symbol, answer, rules.actions)
    pays = phase == rules.delay
    reward = jnp.where(pays, (right & state.on_duty).sum() / rules.active, 0.0)
    same = state._replace(answer=answer, t=t_tp1)
    after = jax.tree.map(partial(jnp.where, pays), _round(rules, key, t_tp1), same)
    return Step(after, reward, jnp.bool_(False), t_tp1 >= rules.rounds * rules.length)


def _view(rules: Rules, state: State) -> View:
    phase, n = state.t % rules.length, rules.n_agents
    symbol = jax.nn.one_hot(state.symbol, rules.symbols)  # (N, K)
    answer = jax.nn.one_hot(state.answer, rules.actions)  # (N, A - 1), zeros before the answer
    duty, own = state.on_duty.astype(jnp.float32)[:, None], jnp.concatenate([symbol, answer], -1)
    row = jnp.concatenate([duty, own], -1)  # (N, K + A)
    clock = jax.nn.one_hot(phase, rules.length)  # (1 + delay,)
    # What does not count is hidden too: a network would need many samples to learn that product.
    seen = [duty, duty * own] if rules.sees else [own]
    obs = jnp.concatenate([*seen, jnp.tile(clock[None], (n, 1))], -1)
    waits = jnp.arange(rules.actions + 1) == rules.actions
    # With `sees`, an agent off duty has no choice: its random answers would move the network that all agents share.
    first = (jnp.arange(rules.actions + 1) == 0)[None]
    answers = first | (~waits[None] & (state.on_duty[:, None] | (not rules.sees)))  # (N, A)
    avail = jnp.where(phase == 0, answers, jnp.tile(waits[None], (n, 1)))
    fields = {
        "on_duty": state.on_duty,
        "symbol": state.symbol,
        "answer": state.answer,
        "steps_to_pay": (rules.delay - phase).astype(jnp.int32),
    }
    return View(obs, avail, jnp.concatenate([row.reshape(-1), clock]), fields)


def _spec(rules: Rules) -> Spec:
    n, k, a = rules.n_agents, rules.symbols, rules.actions
    clock = Entries(f"[steps_to_pay == {rules.delay} - d for d in range({rules.length})]", rules.length)
    block = _answers.rows(n, "on_duty", k, Entries(f"[answer[i] == a for a in range({a})]", a))
    delay = f"_delay{rules.delay}" if rules.delay != 3 else ""
    crowd = f"_active{rules.active}" if rules.active > 1 else ""
    return Spec(
        name=NAME,
        n_agents=n,
        n_actions=a + 1,
        obs_dim=k + a + rules.length + rules.sees,
        state_dim=n * block.width + rules.length,
        horizon=rules.rounds * rules.length,
        fields=_fields(rules),
        action_names=(*(str(action) for action in range(a)), "wait"),
        reward=_reward_sentence(rules),
        source="qllm_envs, a diagnostic of credit assignment (docs/credit_theory.md)",
        task=f"{NAME}_n{n}{delay}{crowd}{'_sees' if rules.sees else ''}",
        state_layout=(block, StateBlock((clock,))),
    )


def _reward_sentence(rules: Rules) -> str:
    answer = "right answer to its own symbol of the round"
    if rules.active == 1:
        pays = f"1 if the agent on duty gave the {answer}, else 0"
    else:
        pays = f"the share of the {rules.active} agents on duty that gave the {answer}, from 0 to 1"
    return (
        f"A round has {rules.length} steps; its last step pays {pays}; all other steps pay 0. "
        f"{_answers.rule(rules.symbols, rules.actions)}"
    )


def _fields(rules: Rules) -> dict[str, Field]:
    n = rules.n_agents
    told = "no agent sees it"
    if rules.sees:
        told = "an agent sees its own entry, and its symbol and answer only if that is 1, else it can answer 0 alone"
    on_duty = (
        "1 for agents that are on duty in this round, 0 for all others, entry i for agent i; "
        f"{rules.active} of {n}, drawn anew for each round, all equally likely, and fixed in it; {told}"
    )
    symbol = (
        "the symbol of each agent in this round, entry i for agent i; drawn anew for each round, all equally likely, "
        "and fixed in it"
    )
    answer = "the action with which each agent answered in this round; -1 in the first step of a round, before it"
    to_pay = (
        f"steps from this one to the one that pays; {rules.delay} in the first step of a round, in which agents "
        "answer, and 0 in its last, which pays"
    )
    return {
        "on_duty": Field((n,), on_duty, "0 or 1", 0.0, 1.0),
        "symbol": Field((n,), symbol, "number of a symbol", 0.0, rules.symbols - 1.0),
        "answer": Field((n,), answer, "number of an action", -1.0, rules.actions - 1.0),
        "steps_to_pay": Field((), to_pay, "steps", 0.0, float(rules.delay)),
    }


def _scene(rules: Rules, state: Any) -> Scene:
    """A clock of the round above the agents; a frame for who is on duty; answers, of those on duty green or red."""
    symbol, on_duty, answer = (np.asarray(x) for x in (state.symbol, state.on_duty, state.answer))
    right = np.asarray(_answers.right(state.symbol, state.answer, rules.actions))
    shapes = []
    for i, center in enumerate(_answers.cells(rules.n_agents)):
        color = _answers.PLAIN if not on_duty[i] else _answers.RIGHT if right[i] else _answers.WRONG
        marks = [(color, str(answer[i]))] if answer[i] != NONE else []
        shapes += _answers.agent_shapes(i, center, str(symbol[i]), bool(on_duty[i]), marks)
    return _answers.scene(rules.n_agents, shapes, clock=(int(state.t) % rules.length, rules.length))
