"""Order in which rware 2.0.0 prefers queues of one length to one cell.

rware asks networkx for the longest path of a connected part of its graph, and networkx takes the first of equals in the
order of the part's nodes (networkx 3.6). Mostly that is the order in which rware adds cells to the graph: agent by
agent, its own cell and then the one it heads for. But networkx copies a part of fewer than half of all nodes in the
order of a Python set of their (x, y). CPython fixes that order: by hash, the size of the table, and the order in which
cells are added, which is that of a breadth-first search. Such ties are rare, so it is followed in a loop that mostly
makes no round.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from qllm_envs._rware.floor import Floor

LINEAR_PROBES, PERTURB_SHIFT, SMALLEST = 9, 5, 8  # of CPython's setobject.c


class Table(NamedTuple):
    """A size that a set of cells has while it grows."""

    size: int
    full: int  # a set of this many entries grows to the next size
    tries: np.ndarray  # (cells, size) int16: a cell goes to the free slot with the lowest number


class Wishes(NamedTuple):
    """The graph of a step. `queue` counts the agents queued after each one, in the longest queue."""

    cell: Int[Array, " n"]
    target: Int[Array, " n"]
    follows: Bool[Array, "n n"]  # i heads for the cell of j
    queue: Int[Array, " n"]


def tables(floor: Floor, n_agents: int) -> tuple[Table, ...]:
    """Return the tables that sets of cells can need; none with up to three agents, where no set is asked."""
    found, size = [], SMALLEST
    while n_agents > 3:
        full = -(-3 * (size - 1) // 5)  # ceil
        found.append(Table(size, full, _tries(floor, size)))
        if n_agents - 1 < full:  # a part of fewer than half of at most 2N nodes
            break
        while size <= 4 * full:
            size *= 2
    return tuple(found)


def _tries(floor: Floor, size: int) -> np.ndarray:
    """Number of each slot in the order in which a set of this size tries slots for a cell, (cells, size)."""
    hashes = [hash((cell % floor.width, cell // floor.width)) for cell in range(floor.n_cells)]
    perturb = np.array(hashes, np.int64).astype(np.uint64)
    mask, cells = np.uint64(size - 1), np.arange(floor.n_cells)
    tries, slot, count = np.full((floor.n_cells, size), -1, np.int16), perturb & mask, 0
    while (tries < 0).any():
        for probe in range(LINEAR_PROBES + 1):
            # Slots next to the first are tried only where all of them are in the table.
            here = cells if probe == 0 else cells[slot + LINEAR_PROBES < size]
            at = slot[here].astype(np.int64) + probe
            new = tries[here, at] < 0
            tries[here[new], at[new]] = count
            count += 1
        perturb = perturb >> np.uint64(PERTURB_SHIFT)
        slot = (slot * np.uint64(5) + np.uint64(1) + perturb) & mask
    return tries


def order(wishes: Wishes, sizes: tuple[Table, ...]) -> Int[Array, " n"]:
    """Return numbers by which agents with equally long queues to one cell stand in line: the lowest goes."""
    n, index = wishes.cell.shape[0], jnp.arange(wishes.cell.shape[0])
    # The cell of an agent is added with its own edge, or before that with the edge of one that heads for it.
    by_edges = jnp.where(wishes.follows, 2 * index[:, None] + 1, 2 * n).min(0)
    by_edges = jnp.minimum(2 * index, by_edges)
    if not sizes:
        return by_edges
    ends = _ends(wishes)
    in_set = _in_set(wishes, ends)
    same = (wishes.target[:, None] == wishes.target[None]) & (wishes.queue[:, None] == wishes.queue[None])
    tied = in_set & (same & in_set[None] & ~jnp.eye(n, dtype=bool)).any(1)

    def settle(carry: tuple[Array, Array]) -> tuple[Array, Array]:
        """Follow the set of the first tied agent's part."""
        tied, found = carry
        end = jnp.where(index == jnp.argmax(tied), ends, -1).max()
        part = ends == end
        return tied & ~part, jnp.where(part, _set_order(wishes, by_edges, part, end, sizes), found)

    return jax.lax.while_loop(lambda carry: carry[0].any(), settle, (tied, by_edges))[1]


def _ends(wishes: Wishes) -> Int[Array, " n"]:
    """The empty cell in which the part of each agent ends; -1 if it ends in a ring or in an agent that stays."""
    heads = (wishes.target != wishes.cell) & ~wishes.follows.any(1)
    start = jnp.where(heads, wishes.target, -1)
    after = lambda _, ends: jnp.maximum(start, jnp.where(wishes.follows, ends[None], -1).max(1))
    return jax.lax.fori_loop(0, wishes.cell.shape[0] - 1, after, start, unroll=wishes.cell.shape[0] <= 8)


def _in_set(wishes: Wishes, ends: Int[Array, " n"]) -> Bool[Array, " n"]:
    """True for agents of parts that end in an empty cell and have fewer than half of all nodes."""
    n = wishes.cell.shape[0]
    heads = (wishes.target != wishes.cell) & ~wishes.follows.any(1)
    rivals = heads[:, None] & heads[None] & (wishes.target[:, None] == wishes.target[None])
    empty = (heads & ~jnp.tril(rivals, -1).any(1)).sum()  # cells that are headed for and empty
    members = (ends[:, None] == ends[None]).sum(1)
    return (ends >= 0) & (2 * (members + 1) < n + empty)


def _set_order(
    wishes: Wishes, by_edges: Int[Array, " n"], part: Bool[Array, " n"], end: Int[Array, ""], sizes: tuple[Table, ...]
) -> Int[Array, " n"]:
    """Place of each agent of a part in the set from which networkx copies it. `end` is its empty cell."""
    n = part.shape[0]
    member = jnp.append(part, True)  # the last node is the empty cell
    cells = jnp.append(wishes.cell, end)
    leads = jnp.zeros((n + 1, n + 1), bool).at[:n, :n].set(wishes.follows).at[:n, n].set(wishes.target == end)
    leads = leads & member[:, None] & member[None]
    count = member.sum()
    source = jnp.argmin(jnp.where(part, by_edges, 2 * n))
    place = _breadth_first(leads, source, count)
    # networkx makes a set in the search, and another one from it.
    return _of_a_set(_of_a_set(place, cells, count, sizes), cells, count, sizes)[:n]


def _breadth_first(leads: Bool[Array, "m m"], source: Int[Array, ""], count: Int[Array, ""]) -> Int[Array, " m"]:
    """Number of each node in a search from `source` that looks ahead, then back to agents by index; M if not found."""
    m = leads.shape[0]
    start = jnp.where(jnp.arange(m) == source, 0, m)

    def visit(carry: tuple[Array, Array]) -> tuple[Array, Array]:
        k, place = carry
        node = place == k
        unseen = place == m
        ahead = (leads & node[:, None]).any(0) & unseen
        back = (leads & node[None]).any(1) & unseen & ~ahead
        rank = jnp.where(ahead, 0, ahead.sum() + jnp.cumsum(back) - 1)
        return k + 1, jnp.where(ahead | back, (place < m).sum() + rank, place)

    return jax.lax.while_loop(lambda carry: carry[0] < count, visit, (jnp.int32(0), start))[1]


def _of_a_set(
    place: Int[Array, " m"], cells: Int[Array, " m"], count: Int[Array, ""], sizes: tuple[Table, ...]
) -> Int[Array, " m"]:
    """Place of each node in a Python set to which the first `count` are added in order. Others keep a place after."""
    least = 0
    for size, full, tries in sizes:
        into = jnp.minimum(count, full)
        slots = _slots(place, jnp.asarray(tries, jnp.int32)[cells], into, size)
        key = jnp.where(place < into, slots, size + place)
        again = (key[:, None] > key[None]).sum(1)
        place = jnp.where(count >= least, again, place)  # entries that are already in go first, slot by slot
        least = full
    return place


def _slots(place: Int[Array, " m"], tries: Int[Array, "m size"], into: Array, size: int) -> Int[Array, " m"]:
    """Slot of each of the first `into` nodes in a table to which they are added in order of their place."""

    def add(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        k, taken, slots = carry
        node = place == k
        own = jnp.where(node[:, None], tries, 0).sum(0)
        slot = jnp.argmin(jnp.where(taken, jnp.iinfo(jnp.int32).max, own))
        return k + 1, taken | (jnp.arange(size) == slot), jnp.where(node, slot, slots)

    start = (jnp.int32(0), jnp.zeros((size,), bool), jnp.zeros_like(place))
    return jax.lax.while_loop(lambda carry: carry[0] < into, add, start)[2]
