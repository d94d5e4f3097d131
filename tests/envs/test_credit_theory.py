"""The formulas of docs/credit_theory.md, by regression over all outcomes and by gradients in the environments."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qllm_envs import make, modes
from qllm_jax import mixers
from qllm_jax.mixers import tfcaf
from qllm_jax.mixers.base import MixerInputs
from qllm_jax.tfcaf import from_source

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


def contrasts(n: int, k: int, active: int, sees: bool, n_samples: int = 100_000) -> dict[str, np.ndarray]:
    """Rise of a right answer above a wrong one, by credit: minus the gradient of single samples at a table of zeros.

    With `sees` there is a table for agents on duty and one for the others, and the rise is in the former.
    """
    env = make("duty", n_agents=n, symbols=k, actions=k, active=active, sees=sees)

    def sample(key: jax.Array) -> dict[str, jax.Array]:
        key_reset, key_act, key_step = jax.random.split(key, 3)
        state = env.reset(key_reset)
        actions = jax.random.randint(key_act, (n,), 0, k)
        reward = env.step(key_step, state, actions).reward
        duty = state.on_duty.astype(jnp.float32)

        def loss(table: jax.Array, factors: jax.Array) -> jax.Array:
            which = state.on_duty.astype(jnp.int32) if sees else jnp.ones(n, jnp.int32)
            return 0.5 * (factors @ table[which, state.symbol, actions] - reward) ** 2

        rises = {}
        for name, factors in {"equal": jnp.ones(n), "right": n * duty / active}.items():
            gradient = jax.grad(loss)(jnp.zeros((2, k, k)), factors)
            rises[name] = gradient[1, 0, 1] - gradient[1, 0, 0]
        return rises

    return jax.device_get(jax.jit(jax.vmap(sample))(jax.random.split(KEY, n_samples)))


def ratio(n: int, k: int, active: int) -> float:
    """Ratio of the samples that equal weights and right credit need, for one and for two on duty."""
    p, cell = 1 / k, 1 / k**2
    if active == 1:
        return 1 + 2 * (n - 1) * p
    return 1 + 2 * (n - 2) * p * (1 + p) / (1 + 4 * p + 2 * cell)


@pytest.mark.parametrize(("n", "k", "active"), [(3, 2, 1), (10, 3, 1), (6, 3, 2)])
def test_the_mean_and_the_noise_of_the_gradient_are_those_of_the_formulas(n: int, k: int, active: int):
    found = contrasts(n, k, active, sees=False)
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


def test_agents_that_see_whether_they_are_on_duty_need_no_credit():
    found, mean = contrasts(10, 3, 1, sees=True), {"equal": 1 / 9, "right": 10 / 9}
    for name, rise in found.items():
        assert np.mean(rise**2) / mean[name] ** 2 == pytest.approx(9, rel=0.05)


def test_equal_weights_are_vdn():
    env = make("duty", n_agents=7)
    text = (
        "import jax.numpy as jnp\nIGM = True\n\ndef credit(state):\n"
        '    n = state["on_duty"].shape[0]\n    return jnp.ones(n) / n, 0.0\n'
    )
    equal = tfcaf.from_credit(from_source(text, "equal.py", env.spec), scale=7.0)
    vdn = mixers.make("vdn", env.spec)
    view, q = jax.jit(lambda key: env.view(env.reset(key)))(KEY), jax.random.normal(KEY, (7,))
    inputs = MixerInputs(q, q, jnp.zeros(7, jnp.int32), view.state, view.fields)
    both = [jax.value_and_grad(lambda q, m=m: m.apply({}, inputs._replace(chosen_q=q)))(q) for m in (vdn, equal)]
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-6), *both)


def round_of_relay(n: int, k: int, factors: list[str]) -> list[float]:
    """Worth of a right answer to an agent in each step of a round, last step first, with undiscounted one-step targets.

    `factors` are those of the steps, last step first: "right" or "equal".
    """
    outcomes = list(itertools.product(range(n), itertools.product(range(k * k), repeat=n)))
    on_duty = np.eye(n)[[duty for duty, _ in outcomes]]
    entry = np.array([cells for _, cells in outcomes])  # symbol k + answer of each agent
    is_right = entry // k == entry % k
    target, worth = (is_right * on_duty).sum(1), []
    for name in factors:
        factor = n * on_duty if name == "right" else np.ones_like(on_duty)
        values, _ = least_squares(factor, entry, target, k * k)
        worth.append(values[0] - values[1])
        target = (factor * values[entry]).sum(1)
    return worth


@pytest.mark.parametrize(
    ("factors", "worth"),
    [
        (["right", "right", "right"], [1 / 3, 1 / 3, 1 / 3]),
        (["equal", "equal", "equal"], [1 / 3, 1 / 3, 1 / 3]),
        (["equal", "equal", "right"], [1 / 3, 1 / 3, 1 / 9]),
    ],
)
def test_credit_that_does_not_follow_an_answer_until_it_is_paid_makes_it_worth_n_times_less(
    factors: list[str], worth: list[float]
):
    assert round_of_relay(3, 2, factors) == pytest.approx(worth)


def learned_advantage(n: int, weight_of_rare: float, normalized: bool, **options: float) -> float:
    """Advantage of a right answer that agents of `modes` learn in the dark, by regression on all outcomes."""
    env = make("modes", n_agents=n, symbols=1, **options)
    bits = np.array(list(itertools.product([0, 1], repeat=2 * n)))
    rare, actions = bits[:, :n], bits[:, n:]
    zeros = jnp.zeros_like(rare)  # the only symbol, whose right answer is 0
    states = modes.State(zeros, jnp.array(rare, bool), zeros, jnp.zeros(len(rare), int))
    reward = np.asarray(jax.vmap(env.step, (None, 0, 0))(KEY, states, jnp.array(actions)).reward)
    weights = np.where(rare, weight_of_rare, 1.0) / n
    if normalized:
        weights = weights / weights.sum(1, keepdims=True)
    p = options["rare"]
    root = np.sqrt(np.prod(np.where(rare, p, 1 - p), 1))[:, None]  # least squares weighted by probability
    # The value of an agent is a constant and an advantage of the right answer; the team's value has a bias.
    centered = np.where(actions == 0, 0.5, -0.5)
    features = np.stack([(n * weights * centered).sum(1), n * weights.sum(1), np.ones(len(rare))], 1)
    return float(np.linalg.lstsq(root * features, root[:, 0] * reward, rcond=None)[0][0])


@pytest.mark.parametrize(("rare", "pay"), [(0.25, 2.0), (0.4, 1.0), (0.1, 3.0)])
def test_weights_beyond_the_threshold_reverse_what_is_learned_in_modes(rare: float, pay: float):
    n, threshold = 3, modes.threshold(make("modes", rare=rare, pay=pay).spec)
    learned = lambda ratio, normalized=False: learned_advantage(n, ratio, normalized, rare=rare, pay=pay)
    assert learned(1.0) == pytest.approx((1 - rare - rare * pay) / n)
    for ratio in (0.5, 2.0, 5.0):
        mean_square = 1 - rare + rare * ratio**2
        assert learned(ratio) == pytest.approx((1 - rare - rare * pay * ratio) / mean_square / n, abs=1e-5)
    assert learned(0.95 * threshold) > 1e-4 > -1e-4 > learned(1.05 * threshold)
    assert learned(threshold) == pytest.approx(0.0, abs=1e-5)
    assert learned(threshold, normalized=True) > 1e-4  # passed later


@pytest.mark.parametrize("normalized", [False, True])
def test_weights_in_proportion_to_what_is_at_stake_reverse_what_is_learned_in_modes(normalized: bool):
    rare, pay = modes.RARE, modes.PAY
    assert learned_advantage(3, 1.0, normalized, rare=rare, pay=pay) > 0.05
    assert learned_advantage(3, pay, normalized, rare=rare, pay=pay) < -1e-3
