"""Canonical frame of an observation: one for its eight rotations and reflections and for any order of like things.

The plane of the particle world looks the same rotated by 90 degrees and mirrored, and obstacles, landmarks and team
mates have no names. A network without this frame did not catch up with any of the scripted rules in the training time
that suffices with it. Observations are brought into the frame before the network, and actions back after it.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

NEAR = 0.15  # length that the second half of the features resolves


class Layout(NamedTuple):
    """Contents of an observation, counted in vectors (x, y). Ranges are half-open, (start, stop)."""

    size: int
    alike: tuple[tuple[int, int], ...]  # ranges of relative positions that may be put in any order
    anchor: int  # the vector that is brought to x >= y >= 0, once the ranges are in order


class Framed(NamedTuple):
    features: Float[Array, " 4*size"]
    actions: Int[Array, " 5"]  # for each action of the world, the same action in the frame


def layout(player: str, n_agents: int) -> Layout:
    """Layout of what a prey, predator, adversary or good agent observes, in mpe2's order, with a team of `n_agents`."""
    n = n_agents
    return {
        "prey": Layout(4 + n, ((2, 4), (4, 4 + n)), anchor=4),  # velocity, position, obstacles, predators
        "predator": Layout(5 + n, ((2, 4), (4, 3 + n)), anchor=3 + n),  # the same, other predators, prey, its velocity
        "adversary": Layout(2 * n, ((0, n), (n, 2 * n)), anchor=0),  # landmarks, agents
        "good agent": Layout(
            1 + 2 * n, ((1, 1 + n), (2 + n, 1 + 2 * n)), anchor=0
        ),  # goal, landmarks, adversary, others
    }[player]


def frame(layout: Layout, obs: Float[Array, " obs"]) -> Framed:
    """Sort each range nearest first, then rotate and mirror until the anchor lies between right and upper right."""
    vectors = obs.reshape(-1, 2)
    for start, stop in layout.alike:
        part = vectors[start:stop]
        nearest = part[jnp.argsort((part * part).sum(-1))]
        # Not `.at[start:stop].set`: XLA:CPU (jaxlib 0.10.2) writes the rows in place while it still reads them.
        vectors = jnp.concatenate([vectors[:start], nearest, vectors[stop:]])
    mirror = vectors[layout.anchor] < 0  # (2,) True if left and right, down and up change places
    vectors = vectors * jnp.where(mirror, -1.0, 1.0)[None]
    swap = vectors[layout.anchor, 1] > vectors[layout.anchor, 0]  # True if x and y change places
    vectors = jnp.where(swap, vectors[:, ::-1], vectors)
    # Catches happen within a tenth of the arena, which the few ramps of a small network do not resolve:
    # the same vectors again, with lengths that rise from 0 to 1 mostly within `NEAR`.
    near = vectors / (NEAR + jnp.sqrt((vectors * vectors).sum(-1, keepdims=True)))
    x, y = 1 + 2 * swap, 3 - 2 * swap  # left and down, in the frame
    left, down = mirror.astype(jnp.int32)
    actions = jnp.stack([jnp.int32(0), x + left, x + 1 - left, y + down, y + 1 - down])
    return Framed(jnp.concatenate([vectors, near]).reshape(-1), actions)
