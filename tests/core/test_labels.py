"""Labels are found by the number of an episode: credit never lands on another one, whatever was stored since."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from qllm_jax.core import buffer, labels
from qllm_jax.core.labels import NOTHING, Credits
from qllm_jax.core.types import Episode

CAPACITY, T, N, N_NEW, ASKED = 6, 2, 3, 4, 3


def episodes_of(numbers: np.ndarray) -> Episode:
    """Episodes whose reward is their number, with the equal split."""
    n = len(numbers)
    reward = jnp.broadcast_to(jnp.asarray(numbers, jnp.float32)[:, None], (n, T))
    zeros = jnp.zeros((n, T, N), jnp.int32)
    plain = Episode((), zeros, reward, jnp.zeros((n, T), bool), jnp.ones((n, T)))
    return labels.equal_split(plain, N)


@jax.jit
def write(storage, state, stored):
    storage = buffer.write(storage, episodes_of(stored + jnp.arange(N_NEW)), stored)
    return storage, labels.write(state, N_NEW, stored)


relabel = jax.jit(labels.relabel)


def credit_of(number: int) -> np.ndarray:
    return (1000 + number + np.arange(N, dtype=np.float32) / 10)[None].repeat(T, 0)


rounds = st.lists(
    st.tuples(
        st.booleans(), st.lists(st.tuples(st.integers(0, 25), st.booleans()), max_size=ASKED, unique_by=lambda x: x[0])
    ),
    max_size=8,
)


@settings(max_examples=60, deadline=None)
@given(rounds)
def test_credit_lands_on_its_own_episode_or_nowhere(steps):
    """A model in Python of the replay: a row holds an episode, and the credit of that episode alone."""
    shape = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), episodes_of(np.arange(1)))
    storage, state = buffer.empty(shape, CAPACITY), labels.empty(CAPACITY, only=False)
    stored, held, given_credit, asked = 0, {}, {}, set()
    for writes, questions in steps:
        if writes:
            storage, state = write(storage, state, jnp.asarray(stored))
            for number in range(stored, stored + N_NEW):
                held[number % CAPACITY] = number
            stored += N_NEW
        number = np.full(ASKED, NOTHING, np.int32)
        credit, usable = np.full((ASKED, T, N), np.nan, np.float32), np.zeros(ASKED, bool)
        for i, (each, is_usable) in enumerate(questions):
            number[i], usable[i] = each, is_usable
            credit[i] = credit_of(each) if is_usable else np.nan
        storage, state, landed = relabel(storage, state, Credits(*map(jnp.asarray, (number, credit, usable))))
        for i, (each, is_usable) in enumerate(questions):
            here = each in held.values()
            assert bool(landed[i]) == (here and is_usable)
            asked |= {each} if here else set()
            given_credit |= {each: credit_of(each)} if here and is_usable else {}
        for row, each in held.items():
            split = np.full((T, N), each / N, np.float32)
            np.testing.assert_allclose(storage.credit_t[row], given_credit.get(each, split), rtol=1e-6)
            assert int(state.number[row]) == each
            assert bool(state.labelled[row]) == (each in given_credit)
            assert bool(state.asked[row]) == (each in asked)
    assert np.isfinite(np.asarray(storage.credit_t)).all()
    assert set(np.asarray(state.number).tolist()) == set(held.values()) | ({NOTHING} if len(held) < CAPACITY else set())


def test_preferred_rows_are_drawn_alone_and_repeated_where_they_are_few():
    storage = episodes_of(np.arange(8))
    rows_of = jax.jit(lambda key, preferred: buffer.sample_rows(storage, key, jnp.asarray(6), 4, preferred))
    for wanted in ([], [2], [0, 5], [0, 1, 2, 3, 4]):
        preferred = jnp.zeros(8, bool).at[jnp.asarray(wanted, jnp.int32)].set(True)
        drawn = [rows_of(jax.random.key(i), preferred).tolist() for i in range(20)]
        allowed = set(wanted) or set(range(6))
        assert {row for rows in drawn for row in rows} == allowed
        assert all(len(set(rows)) == min(len(allowed), 4) for rows in drawn)
