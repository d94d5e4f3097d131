"""The formulas of docs/credit_theory.md, by regression over all outcomes and by gradients in the environments."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qllm_envs import make

KEY = jax.random.key(0)


def least_squares(factors: np.ndarray, table_index: np.ndarray, reward: np.ndarray, size: int):
    """The table of values (size,) that all agents share and the mean squared error that is left.

    Rows are equally likely outcomes: factors (M, N) and entries (M, N) of the agents, reward (M,). With a constant.
    """
    features = np.zeros((len(reward), size + 1))
    for column in range(factors.shape[1]):
        np.add.at(features, (np.arange(len(reward)), table_index[:, column]), factors[:, column])
    features[:, -1] = 1.0
    values, *_ = np.linalg.lstsq(features, reward, rcond=None)
    return values[:-1], float(np.mean((features @ values - reward) ** 2))


@pytest.mark.parametrize(("n", "k"), [(2, 3), (3, 2), (4, 2)])
def test_equal_weights_and_right_credit_learn_the_same_values_and_differ_in_the_noise_that_is_left(n: int, k: int):
    outcomes = [
        (duty, symbols, actions)
        for duty in range(n)
        for symbols in itertools.product(range(k), repeat=n)
        for actions in itertools.product(range(k), repeat=n)
    ]
    duty, symbols, actions = (np.array(column) for column in zip(*outcomes, strict=True))
    on_duty = np.eye(n)[duty]
    reward = ((symbols == actions) * on_duty).sum(1)
    p, left = 1 / k, {}
    for name, factors in {"equal": np.ones_like(on_duty), "right": n * on_duty}.items():
        values, left[name] = least_squares(factors, symbols * k + actions, reward, k * k)
        table = values.reshape(k, k)
        for symbol, action in itertools.permutations(range(k), 2):
            assert table[symbol, symbol] - table[symbol, action] == pytest.approx(1 / n)
    # The mean over all answers of p (1 - p), where p is the share that is right.
    assert left == {"equal": pytest.approx(p * (1 - p) * (1 - 1 / n)), "right": pytest.approx(0.0)}


def contrasts(n: int, k: int, active: int, n_samples: int) -> dict[str, np.ndarray]:
    """Rise of a right answer above a wrong one, by credit: minus the gradient of single samples at a table of zeros."""
    env = make("duty", n_agents=n, symbols=k, actions=k, active=active)

    def sample(key: jax.Array) -> dict[str, jax.Array]:
        key_reset, key_act, key_step = jax.random.split(key, 3)
        state = env.reset(key_reset)
        actions = jax.random.randint(key_act, (n,), 0, k)
        reward = env.step(key_step, state, actions).reward
        duty = state.on_duty.astype(jnp.float32)

        def loss(table: jax.Array, factors: jax.Array) -> jax.Array:
            return 0.5 * (factors @ table[state.symbol, actions] - reward) ** 2

        rises = {}
        for name, factors in {"equal": jnp.ones(n), "right": n * duty / active}.items():
            gradient = jax.grad(loss)(jnp.zeros((k, k)), factors)
            rises[name] = gradient[0, 1] - gradient[0, 0]
        return rises

    return jax.device_get(jax.jit(jax.vmap(sample))(jax.random.split(KEY, n_samples)))


def ratio(n: int, k: int, active: int) -> float:
    """How many times more samples equal weights need, for one and for two on duty."""
    p, cell = 1 / k, 1 / k**2
    if active == 1:
        return 1 + 2 * (n - 1) * p
    return 1 + 2 * (n - 2) * p * (1 + p) / (1 + 4 * p + 2 * cell)


@pytest.mark.parametrize(("n", "k", "active"), [(3, 2, 1), (10, 2, 1), (10, 3, 1), (6, 3, 2)])
def test_the_mean_and_the_noise_of_the_gradient_are_those_of_the_formulas(n: int, k: int, active: int):
    found = contrasts(n, k, active, 200_000)
    mean = {"equal": 1 / k**2, "right": n / k**2 / active}
    need = {}
    for name, rise in found.items():
        error = rise.std() / len(rise) ** 0.5
        assert abs(rise.mean() - mean[name]) < 5 * error
        need[name] = np.mean(rise**2) / mean[name] ** 2
    assert need["equal"] / need["right"] == pytest.approx(ratio(n, k, active), rel=0.05)
    if active == 1:
        assert need["right"] == pytest.approx(k * k, rel=0.05)
        assert need["equal"] == pytest.approx(k * (k + 2 * (n - 1)), rel=0.05)
