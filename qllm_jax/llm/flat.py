"""What the entries of the flat state mean, found by looking: for the paper's signature, whose function gets that state.

An entry that equals an entry of a named array, or the difference of two, in every state of many random episodes is
taken to be that. So the description comes from the code that makes the state, and not from a text beside it.
"""

import textwrap
from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from qllm_envs import Env
from qllm_envs.core import EnvState, View
from qllm_jax.errors import UserError

MAX_ENTRIES = 600  # a description of more would be most of the prompt
EPISODES, STEPS = 32, 8
WIDTH = 120


class Meaning(NamedTuple):
    """What one entry is. Neighbors with one `group` are described together."""

    group: str
    text: str


UNKNOWN = Meaning("unknown", "is not described; do not use it")


def describe(env: Env, fields: str) -> str:
    """The flat state in the terms of the named arrays that `fields` describes. `UserError` where it is too large."""
    size = env.spec.state_dim
    if size > MAX_ENTRIES:
        raise UserError(
            f"signature=paper describes the flat state entry by entry, and {env.spec.name} has {size} (at most "
            f"{MAX_ENTRIES}): choose signature=credit, or fewer agents"
        )
    head = "global_state is flat. Its entries are those of named arrays, which your function does not get by name:"
    lines = (paragraph(line) for line in _lines(meanings(env)))
    return "\n".join([head, fields, "In a row of global_state, by index:", *lines])


def paragraph(text: str) -> str:
    """`text` as an item of a list, in lines that a person can read."""
    return textwrap.fill(f"- {text}", WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def meanings(env: Env) -> list[Meaning]:
    """What each entry of the flat state is."""
    view = jax.device_get(jax.jit(lambda key: _samples(env, key))(jax.random.key(0)))
    known = dict(reversed(list(_known(view))))  # the first meaning of equal columns counts
    return [known.get(_key(column), UNKNOWN) for column in view.state.T]


def _samples(env: Env, key: jax.Array) -> View:
    """What is seen in random episodes, one row a state."""

    def turn(state: EnvState, key: jax.Array) -> tuple[EnvState, View]:
        key_act, key_step = jax.random.split(key)
        view = env.view(state)
        actions = jax.random.categorical(key_act, jnp.where(view.avail, 0.0, -jnp.inf)).astype(jnp.int32)
        return env.step(key_step, state, actions).state, view

    def episode(key: jax.Array) -> View:
        key_reset, key_turns = jax.random.split(key)
        return jax.lax.scan(turn, env.reset(key_reset), jax.random.split(key_turns, STEPS))[1]

    views = jax.vmap(episode)(jax.random.split(key, EPISODES))
    return jax.tree.map(lambda leaf: leaf.reshape(EPISODES * STEPS, *leaf.shape[2:]), views)


def _known(view: View) -> Iterator[tuple[bytes, Meaning]]:
    """The columns that have a name, the simplest first."""
    n_rows = len(view.state)
    yield _key(np.zeros(n_rows)), Meaning("zero", "always 0")
    columns = [
        (f"{name}{list(index)}" if index else name, name, np.asarray(array, np.float32).reshape(n_rows, -1)[:, i])
        for name, array in view.fields.items()
        for i, index in enumerate(np.ndindex(array.shape[1:]))
    ]
    for text, name, column in columns:
        yield _key(column), Meaning(name, text)
    for text, name, column in columns:
        for other_text, other_name, other in columns:
            yield _key(column - other), Meaning(f"{name} - {other_name}", f"{text} - {other_text}")


def _key(column: np.ndarray) -> bytes:
    return (np.asarray(column, np.float32) + 0.0).tobytes()  # which makes -0 a 0


def _lines(entries: list[Meaning]) -> Iterator[str]:
    for _, run in groupby(enumerate(entries), key=lambda pair: pair[1].group):
        numbered = list(run)
        first, last = numbered[0][0], numbered[-1][0]
        texts = dict.fromkeys(meaning.text for _, meaning in numbered)
        yield f"{first}: {', '.join(texts)}" if first == last else f"{first} to {last}: {', '.join(texts)}"
