"""The ring of episodes: what is overwritten, and that a sample is a uniform subset of what was stored."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qllm_jax.core import buffer
from qllm_jax.core.types import Episode


def episodes(first: int, n: int, steps: int = 3) -> Episode:
    """Episodes numbered from `first`; the number is in every array."""
    number = jnp.arange(first, first + n)
    spread = lambda *shape: jnp.broadcast_to(number.reshape(n, *(1 for _ in shape)), (n, *shape))
    return Episode(spread(steps + 1, 2), spread(steps, 2), spread(steps) * 1.0, spread(steps) > 0, spread(steps) * 1.0)


def stored_after(writes: int, n: int, capacity: int):
    one = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), episodes(0, 1))
    storage = buffer.empty(one, capacity)
    for i in range(writes):
        storage = buffer.write(storage, episodes(i * n, n), jnp.asarray(i * n))
    return storage


@pytest.mark.parametrize(("n", "capacity"), [(2, 6), (4, 6), (1, 3)])
def test_the_oldest_are_overwritten_also_where_a_write_wraps(n: int, capacity: int):
    storage = stored_after(5, n, capacity)
    kept = sorted(np.asarray(storage.reward_t[:, 0]).tolist())
    assert kept == list(range(5 * n - capacity, 5 * n))
    assert storage.env_state.shape == (capacity, 4, 2)


def test_a_sample_has_different_episodes_of_the_stored_ones_and_time_first():
    storage = stored_after(2, 3, 100)
    for seed in range(20):
        batch = buffer.sample(storage, jax.random.key(seed), jnp.asarray(6), 4)
        assert batch.reward_t.shape == (3, 4)
        assert batch.env_state.shape == (4, 4, 2)
        numbers = np.asarray(batch.reward_t[0]).tolist()
        assert len(set(numbers)) == 4
        assert set(numbers) <= set(range(6))
        np.testing.assert_array_equal(batch.env_state[0, :, 0], batch.reward_t[0])


def test_a_full_batch_is_everything_and_samples_are_uniform():
    storage = stored_after(2, 3, 6)
    batch = buffer.sample(storage, jax.random.key(0), jnp.asarray(6), 6)
    assert sorted(np.asarray(batch.reward_t[0]).tolist()) == list(range(6))
    draw = jax.jit(jax.vmap(lambda key: buffer.sample(storage, key, jnp.asarray(99), 2).reward_t[0]))
    counts = np.bincount(np.asarray(draw(jax.random.split(jax.random.key(1), 3000)), int).ravel(), minlength=6)
    np.testing.assert_allclose(counts / 3000, 1 / 3, atol=0.05)


def test_the_newest_are_those_written_last_oldest_first():
    newest = buffer.latest(stored_after(5, 2, 6), jnp.asarray(10), 5)  # around the edge of the ring
    np.testing.assert_array_equal(newest.reward_t, np.tile(np.arange(5.0, 10.0), (3, 1)))
