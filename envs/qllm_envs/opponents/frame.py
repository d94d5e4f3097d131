"""One view for the eight that are the same but for a turn or a mirror, and for any order of like things.

The plane of the particle world looks the same turned by 90 degrees and mirrored, and obstacles, landmarks and team
mates have no names. A network that had to learn this by itself caught up with none of the scripted rules in the time
that suffices with it: every observation is brought into one position before, and the actions back after.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

NEAR = 0.15  # length that the second half of the features resolves


class Layout(NamedTuple):
    """Of what an observation consists, counted in vectors (x, y). Ranges are (first, behind the last)."""

    size: int
    alike: tuple[tuple[int, int], ...]  # ranges of relative positions that may be put in any order
    anchor: int  # the vector that is brought to x >= y >= 0, once the ranges are in order


class Framed(NamedTuple):
    features: Float[Array, " 4*size"]
    actions: Int[Array, " 5"]  # for each action of the world, the same action in the frame


def layout(player: str, n_agents: int) -> Layout:
    """Of the observation of a prey, predator, adversary or good agent, in mpe2's order, with `n_agents` in the team."""
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
    """Nearest first in each range, then turned and mirrored until the anchor lies between right and upper right."""
    vectors = obs.reshape(-1, 2)
    for first, end in layout.alike:
        part = vectors[first:end]
        nearest = part[jnp.argsort((part * part).sum(-1))]
        # Not `.at[first:end].set`: XLA:CPU (jaxlib 0.10.2) writes the rows in place while it still reads them.
        vectors = jnp.concatenate([vectors[:first], nearest, vectors[end:]])
    mirror = vectors[layout.anchor] < 0  # (2,) whether left is for right, and down for up
    vectors = vectors * jnp.where(mirror, -1.0, 1.0)[None]
    swap = vectors[layout.anchor, 1] > vectors[layout.anchor, 0]  # whether x is for y
    vectors = jnp.where(swap, vectors[:, ::-1], vectors)
    # What matters here happens within a tenth of the arena, and the few ramps of a small network do not resolve that:
    # the same vectors again, with lengths that rise from 0 to 1 mostly within `NEAR`.
    near = vectors / (NEAR + jnp.sqrt((vectors * vectors).sum(-1, keepdims=True)))
    x, y = 1 + 2 * swap, 3 - 2 * swap  # left and down, in the frame
    left, down = mirror.astype(jnp.int32)
    actions = jnp.stack([jnp.int32(0), x + left, x + 1 - left, y + down, y + 1 - down])
    return Framed(jnp.concatenate([vectors, near]).reshape(-1), actions)
