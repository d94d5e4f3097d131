"""Labels of stored episodes: whose credit a critic has given, by the number of the episode and never by its row.

An episode's number counts the episodes that a run has stored, from 0. Rows of the replay are used again, so an answer
that names a number which its row no longer holds is not written.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from qllm_jax.core.buffer import Storage
from qllm_jax.core.types import Episode

NOTHING = -1  # the number of an empty row, and of a question that is not asked


class Labels(NamedTuple):
    """State of the C rows of a replay."""

    number: Int[Array, " capacity"]  # of the episode that a row holds
    asked: Bool[Array, " capacity"]  # a critic was asked for its credit
    labelled: Bool[Array, " capacity"]  # its credit is a critic's; False: the equal split
    only: Bool[Array, ""]  # batches hold labelled episodes alone, once there is one


class Credits(NamedTuple):
    """Answers to Q questions about episodes."""

    number: Int[Array, " questions"]  # NOTHING: no question
    credit: Float[Array, "questions time agents"]
    usable: Bool[Array, " questions"]  # False: asked in vain


def empty(capacity: int, only: bool) -> Labels:
    """Labels of an empty replay."""
    no = jnp.zeros(capacity, bool)
    return Labels(jnp.full(capacity, NOTHING, jnp.int32), no, no, jnp.asarray(only))


def write(labels: Labels, n_new: int, stored: Int[Array, ""]) -> Labels:
    """Mark the rows of `n_new` episodes that are appended to the `stored` ones written so far."""
    number = stored + jnp.arange(n_new, dtype=jnp.int32)
    rows = number % len(labels.number)
    asked, labelled = labels.asked.at[rows].set(False), labels.labelled.at[rows].set(False)
    return labels._replace(number=labels.number.at[rows].set(number), asked=asked, labelled=labelled)


def rows_of(labels: Labels, number: Int[Array, " questions"]) -> tuple[Array, Bool[Array, " questions"]]:
    """Return the rows of episodes, and True where a row still holds its episode."""
    rows = number % len(labels.number)
    return rows, (number >= 0) & (labels.number[rows] == number)


def relabel(storage: Storage, labels: Labels, given: Credits) -> tuple[Storage, Labels, Bool[Array, " questions"]]:
    """Write credit into the replay. Return True for each question whose episode was still there and got credit."""
    rows, here = rows_of(labels, given.number)
    lands = here & given.usable
    nowhere = len(labels.number)  # an index out of bounds, which `drop` leaves out
    at = jnp.where(lands, rows, nowhere)
    credit = storage.credit_t.at[at].set(given.credit, mode="drop")
    asked = labels.asked.at[jnp.where(here, rows, nowhere)].set(True, mode="drop")
    labelled = labels.labelled.at[at].set(True, mode="drop")
    return storage._replace(credit_t=credit), labels._replace(asked=asked, labelled=labelled), lands


def equal_split(episode: Episode, n_agents: int) -> Episode:
    """Return the episode with the credit of an episode without a label: each agent's is the same share of the reward.

    Leading axes are kept.
    """
    share = episode.reward_t[..., None] / n_agents
    return episode._replace(credit_t=jnp.broadcast_to(share, (*episode.reward_t.shape, n_agents)))
