"""Collisions of the robotic warehouse, as rware 2.0.0 resolves them on the graph of all wishes to move.

Each agent is an edge from its cell to the cell it heads for. In each connected part of this graph:

- if it ends in an empty cell, the longest queue to that cell moves, and nobody else;
- if it ends in a ring of four or more agents, the ring moves, and nobody else;
- if it ends in two agents that face each other, or in an agent that stays, no agent of it leaves its cell.

Where two queues to one cell are equally long, `ties` says whose turn it is.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from qllm_envs._rware import ties

UNROLLED = 8  # rounds up to which they are written out: a loop costs more than a round of few agents


class _Ahead(NamedTuple):
    """Result of following each agent `k` times to the agent on whose cell the last one wishes to go."""

    k: Array
    agent: Int[Array, " n"]  # -1 once an agent heads for an empty cell or stays
    queue: Int[Array, " n"]  # agents queued after each one, in the longest queue; means nothing near rings
    in_ring: Bool[Array, " n"]


def resolve(cell: Int[Array, " n"], target: Int[Array, " n"], tables: tuple[ties.Table, ...]) -> Bool[Array, " n"]:
    """Return the agents that move to their target. An agent whose target is its own cell stays.

    `tables` are those of `ties.tables` for this floor and number of agents.
    """
    n, index = cell.shape[0], jnp.arange(cell.shape[0])
    goes = target != cell
    follows = goes[:, None] & (target[:, None] == cell[None])  # (N, N): i heads for the cell of j
    nxt = jnp.where(follows, index[None], -1).max(1)

    def look_ahead(seen: _Ahead) -> _Ahead:
        agent = jnp.where(seen.agent[:, None] == index[None], nxt[None], -1).max(1)
        queue = jnp.where(agent[:, None] == index[None], seen.k + 1, seen.queue[None]).max(0)
        return _Ahead(seen.k + 1, agent, queue, seen.in_ring | (agent == index))

    start = _Ahead(jnp.int32(0), index, jnp.zeros_like(index), jnp.zeros((n,), bool))
    seen = _rounds(n, look_ahead, start)
    facing = (follows & follows.T).any(1)
    order = ties.order(ties.Wishes(cell, target, follows, seen.queue), tables)
    rivals = goes[:, None] & goes[None] & (target[:, None] == target[None])
    longer = (seen.queue[None] > seen.queue[:, None]) | (
        (seen.queue[None] == seen.queue[:, None]) & (order[None] < order[:, None])
    )
    wins = goes & ~(rivals & longer).any(1)
    free = wins & ~follows.any(1)
    # The first of a queue frees its cell for the second, and so on.
    moved = _rounds(n - 1, lambda moved: free | (wins & (follows & moved[None]).any(1)), free)
    return moved | (seen.in_ring & ~facing)


def _rounds(count: int, body: Callable[[Any], Any], start: Any) -> Any:
    """Apply `body` `count` times."""
    if count <= UNROLLED:
        for _ in range(count):
            start = body(start)
        return start
    return jax.lax.fori_loop(0, count, lambda _, carry: body(carry), start)
