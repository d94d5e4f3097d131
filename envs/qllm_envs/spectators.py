"""Spectators: `mpe_spread` for some agents, while all others look on and can do nothing.

A diagnostic of this package: the more agents look on, the more of a sum of values is noise (docs/credit_theory.md).
"""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from qllm_envs import mpe_spread, options
from qllm_envs.core import Env, Field, Scene, Shape, Spec, Step, View

NAME = "spectators"
A_ROW = 12  # spectators in a row of a picture


def make(
    *,
    movers: int = 3,
    spectators: int = 9,
    horizon: int = 25,
    local_ratio: float = 0.5,
) -> Env:
    """Return spread of `movers`, agents 0 to `movers` - 1, with `spectators` after them.

    Spectator i sees what mover i modulo `movers` sees, and its actions do nothing. Rewards are those of spread with the
    movers alone; without spectators the game is spread.
    """
    n_movers = options.integer(NAME, "movers", movers, low=1)
    n_agents = n_movers + options.integer(NAME, "spectators", spectators, low=0)
    try:
        spread = mpe_spread.make(n_agents=n_movers, horizon=horizon, local_ratio=local_ratio)
    except ValueError as error:
        raise ValueError(f"{NAME}: {str(error).partition(': ')[2]}") from error
    return Env(
        spec=_spec(spread.spec, n_agents),
        reset=spread.reset,
        step=partial(_step, spread),
        view=partial(_view, spread, n_agents),
        scene=partial(_scene, spread, n_agents),
        notable=spread.notable,
    )


def _step(spread: Env, key: jax.Array, state: Any, actions: Int[Array, " n"]) -> Step:
    return spread.step(key, state, actions[: spread.spec.n_agents])


def _view(spread: Env, n_agents: int, state: Any) -> View:
    seen, n_movers = spread.view(state), spread.spec.n_agents
    mover = np.arange(n_agents) % n_movers
    moves = jnp.arange(n_agents) < n_movers
    fields = {"moves": moves, **{_of_movers(name): array for name, array in seen.fields.items()}}
    return View(seen.obs[mover], seen.avail[mover], seen.state, fields)


def _spec(spread: Spec, n_agents: int) -> Spec:
    n_movers = spread.n_agents
    moves = (
        f"1 for movers, agents 0 to {n_movers - 1}, and 0 for spectators, whose actions do nothing, entry i for agent "
        "i; the same at all times"
    )
    of_movers = {
        _of_movers(name): field._replace(meaning=_of_movers(field.meaning)) for name, field in spread.fields.items()
    }
    (block,) = spread.state_layout
    entries = tuple(part._replace(formula=_of_movers(part.formula)) for part in block.entries)
    return spread._replace(
        name=NAME,
        n_agents=n_agents,
        fields={"moves": Field((n_agents,), moves, "0 or 1", 0.0, 1.0), **of_movers},
        reward=_of_movers(spread.reward),
        source=f"qllm_envs, a diagnostic of credit assignment (docs/credit_theory.md), on {spread.source}",
        task=f"{NAME}_m{n_movers}_s{n_agents - n_movers}",
        state_layout=(block._replace(entries=entries),),
    )


def _of_movers(text: str) -> str:
    """Return a name or a text of spread, in which every agent moves, as one about movers. Mover i is agent i."""
    return text.replace("agent", "mover")


def _scene(spread: Env, n_agents: int, state: Any) -> Scene:
    """The picture of spread, with the spectators in rows below it."""
    scene, n_movers = spread.scene(state), spread.spec.n_agents
    x0, y0, x1, y1 = scene.bounds
    n_spectators = n_agents - n_movers
    room = (x1 - x0) / A_ROW
    rows = [
        Shape("circle", _seat(scene, i), 0.4 * room, "gray", str(n_movers + i), agent=n_movers + i)
        for i in range(n_spectators)
    ]
    depth = room * math.ceil(n_spectators / A_ROW)
    return scene._replace(shapes=(*scene.shapes, *rows), bounds=(x0 - depth / 2, y0 - depth, x1 + depth / 2, y1))


def _seat(scene: Scene, index: int) -> tuple[float, float]:
    x0, y0, x1, _ = scene.bounds
    room = (x1 - x0) / A_ROW
    return x0 + room * (index % A_ROW + 0.5), y0 - room * (index // A_ROW + 0.5)
