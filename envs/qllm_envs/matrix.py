"""Repeated matrix games (Claus and Boutilier 1998, AAAI-98): one table of payoffs, one axis an agent, one reward.

As in QLLM's release (arxiv.org/abs/2504.12961): the team is paid the payoff once, an agent sees its own last action and
a 0, the state is all last actions. In matrix-games 0.0.2 each agent is paid the payoff, and all see zeros. The release
never clears its last actions, so that an episode there begins with those of the one before; here with -1.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from qllm_envs import _payoffs, options
from qllm_envs._payoffs import Payoff
from qllm_envs.core import Entries, Env, Field, Key, Scene, Shape, Spec, StateBlock, Step, View

NAME = "matrix"
MOST_NOTABLE = 128  # joint actions that are tried on credit functions
CELL, AGENT = 0.47, 0.25  # half a side, and a radius, in a scene whose cells are 1 apart
CHOSEN, OTHER = "gold", "lightgray"
KEY = (Key("square", CHOSEN, "chosen in the last step"),)


class Game(NamedTuple):
    """The options of `make`, checked. All static."""

    title: str
    source: str
    payoff: Payoff
    horizon: int


class State(NamedTuple):
    last_action: Int[Array, " n"]  # -1 before the first step
    t: Int[Array, ""]  # steps taken


def make(*, game: str | None = None, k: float | None = None, payoff: Any = None, horizon: int = 25) -> Env:
    """Return a game of matrix-games by its name, or any other by its payoff; climbing if neither is given.

    `k`, 0 or more, is the penalty of `game="penalty"`, paid for the joint actions (0, 0) and (2, 2); 100 unless given.
    `payoff` is a nested list of numbers, or an array: one axis an agent, all as long as there are actions.
    """
    rules = _game(game, k, payoff, options.integer(NAME, "horizon", horizon, low=1))
    return Env(
        spec=_spec(rules),
        reset=partial(_reset, rules),
        step=partial(_step, rules),
        view=partial(_view, rules),
        notable=partial(_notable, rules),
        scene=partial(_scene, rules),
    )


def best_return(spec: Spec) -> float:
    """Highest return of a matrix game: its highest payoff at every step."""
    return spec.horizon * spec.fields["payoff"].high


def _game(game: str | None, k: float | None, payoff: Any, horizon: int) -> Game:
    if payoff is not None and game is not None:
        raise ValueError(f"{NAME}: give a game or a payoff, not both; got game={game!r} and a payoff")
    if payoff is None and game is None:
        game = "climbing"
    if k is not None and game != _payoffs.PENALTY:
        given = "a payoff" if game is None else f"game={game!r}"
        raise ValueError(f"{NAME}: k is an option of game={_payoffs.PENALTY!r} alone, got k={k!r} and {given}")
    if game is None:
        table = _payoffs.checked(NAME, payoff)
        return Game(f"n{table.ndim}_a{len(table)}", "a payoff from the configuration", table, horizon)
    title, table = _payoffs.named(NAME, game, k)
    return Game(title, f"{title} of matrix-games 0.0.2 (github.com/uoe-agents/matrix-games)", table, horizon)


def _reset(rules: Game, key: jax.Array) -> State:
    del key  # nothing is random
    return State(jnp.full((rules.payoff.ndim,), -1, jnp.int32), jnp.int32(0))


def _notable(rules: Game, key: jax.Array) -> dict[str, State]:
    """Return the states after each joint action, or after some of many."""
    del key
    n, n_actions = rules.payoff.ndim, len(rules.payoff)
    total = n_actions**n
    chosen = np.unique([*np.linspace(0, total - 1, min(total, MOST_NOTABLE)).astype(int), rules.payoff.argmax()])
    joint = np.stack(np.unravel_index(chosen, (n_actions,) * n), -1)
    named = lambda actions: ", ".join(map(str, actions))
    return {
        f"after the joint action ({named(actions)})": State(jnp.array(actions, jnp.int32), jnp.int32(1))
        for actions in joint.tolist()
    }


def _step(rules: Game, key: jax.Array, state: State, actions: Int[Array, " n"]) -> Step:
    del key
    reward = jnp.asarray(rules.payoff)[tuple(actions)]
    t_tp1 = state.t + 1
    return Step(State(actions.astype(jnp.int32), t_tp1), reward, jnp.bool_(False), t_tp1 >= rules.horizon)


def _view(rules: Game, state: State) -> View:
    own = state.last_action.astype(jnp.float32)  # (N,)
    # The 0 pads to what the release's wrapper hands to the network, so that parameter counts are the paper's.
    obs = jnp.stack([own, jnp.zeros_like(own)], -1)
    fields = {"last_action": state.last_action, "payoff": jnp.asarray(rules.payoff)}
    return View(obs, jnp.ones(own.shape + rules.payoff.shape[:1], bool), own, fields)


def _spec(rules: Game) -> Spec:
    payoff, n, n_actions = rules.payoff, rules.payoff.ndim, len(rules.payoff)
    low, high = float(payoff.min()), float(payoff.max())
    return Spec(
        name=NAME,
        n_agents=n,
        n_actions=n_actions,
        obs_dim=2,
        state_dim=n,
        horizon=rules.horizon,
        fields={
            "last_action": Field((n,), LAST_ACTION, "index of an action", -1.0, n_actions - 1.0),
            "payoff": Field(payoff.shape, PAYOFF, "reward of the team for one step", low, high),
        },
        action_names=tuple(str(action) for action in range(n_actions)),
        reward=f"The payoff of the joint action, from {low:g} to {high:g}, once for the team of {n}.",
        source=rules.source,
        task=f"{NAME}_{rules.title}",
        state_layout=(StateBlock((Entries("last_action", n),)),),
    )


LAST_ACTION = "what each agent chose in the step before, entry i for agent i; -1 for all before the first step"
PAYOFF = (
    "the table of payoffs, the same in all steps and episodes, axis i for agent i: the entry at index "
    "(a_0, a_1, ...) is the reward of a step in which agent 0 chooses action a_0, agent 1 chooses a_1, and so on"
)


def _scene(rules: Game, state: Any) -> Scene:
    last = tuple(int(action) for action in np.asarray(state.last_action))
    return (_table if rules.payoff.ndim == 2 else _rows)(rules.payoff, last)


def _table(payoff: Payoff, last: tuple[int, ...]) -> Scene:
    """The payoffs of two agents: agent 0 beside the row of its last action, agent 1 above its column."""
    size = len(payoff)
    cells = [_cell(j, -i, f"{payoff[i, j]:g}", (i, j) == last) for i in range(size) for j in range(size)]
    # Before the first step both wait in the corner.
    row, column = ((-1.0, -last[0]), (last[1], 1.0)) if last[0] >= 0 else ((-1.3, 0.7), (-0.7, 1.3))
    return Scene((*cells, _agent(0, *row), _agent(1, *column)), (-1.6, 0.4 - size, size - 0.4, 1.6), key=KEY)


def _rows(payoff: Payoff, last: tuple[int, ...]) -> Scene:
    """The actions of each agent in a row, for any number of agents; the payoff of the last step on top."""
    size = len(payoff)
    cells = [_cell(a, -i, str(a), a == action) for i, action in enumerate(last) for a in range(size)]
    paid = [_cell((size - 1) / 2, 1.2, f"pays {payoff[last]:g}", True)] if min(last) >= 0 else []
    agents = [_agent(i, -1.0, -i) for i in range(len(last))]
    return Scene((*cells, *paid, *agents), (-1.6, 0.4 - len(last), size - 0.4, 1.8), key=KEY)


def _cell(x: float, y: float, label: str, chosen: bool) -> Shape:
    return Shape("square", (float(x), float(y)), CELL, CHOSEN if chosen else OTHER, label)


def _agent(index: int, x: float, y: float) -> Shape:
    return Shape("circle", (float(x), float(y)), AGENT, "tab:blue", str(index), agent=index)
