"""Controls of credit functions: what each does to the weights, and how they are named, stored and swept."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import TINY_RUN
from samples import ENV, sample

from qllm_jax import config, mixers
from qllm_jax.commands import train
from qllm_jax.errors import UserError
from qllm_jax.mixers import controls, slopes
from qllm_jax.mixers.tfcaf import from_credit
from qllm_jax.program import experiment
from qllm_jax.run import folder
from qllm_jax.tfcaf import from_source

N = ENV.spec.n_agents
STATE = jnp.arange(5.0)


def spoiled(name: str, weights: list[float], key: int = 0, state: jax.Array = STATE) -> np.ndarray:
    control = controls.find(name)
    params = control.init(jax.random.key(key), len(weights))
    return np.asarray(control.apply(params, jnp.asarray(weights), jnp.float32(2.0), state)[0])


def test_constant_credit_is_vdn_whatever_the_scale():
    vdn = mixers.make("vdn", ENV.spec)
    for scale in ("n_agents", 0.5):
        mixer = mixers.make("tfcaf", ENV.spec, function="mpe_spread:constant", scale=scale)
        params = mixer.init(jax.random.key(0), sample())
        for seed in range(3):
            np.testing.assert_allclose(mixer.apply(params, sample(seed)), vdn.apply({}, sample(seed)), rtol=1e-6)


def test_weights_and_bias_are_told_apart():
    weights, bias = jnp.asarray([2.0, 0.0, 1.0]), jnp.float32(0.7)
    outcomes = {name: controls.find(name).apply({}, weights, bias, STATE) for name in ("bias_only", "unbiased")}
    np.testing.assert_array_equal(outcomes["bias_only"][0], jnp.ones(3))
    assert outcomes["bias_only"][1] == bias
    np.testing.assert_array_equal(outcomes["unbiased"][0], weights)
    assert outcomes["unbiased"][1] == 0


@pytest.mark.parametrize("n_agents", [2, 3, 10])
def test_shuffled_credit_is_that_of_another_agent(n_agents: int):
    weights = [float(i) for i in range(n_agents)]
    orders = {tuple(spoiled("shuffled", weights, key)) for key in range(30)}
    assert all(sorted(order) == weights for order in orders)
    assert all(own != given for order in orders for own, given in zip(weights, order, strict=True))
    assert {2: len(orders) == 1, 3: len(orders) == 2, 10: len(orders) > 20}[n_agents]


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ([1.0, 0.0, 0.0], [0.0, 0.5, 0.5]),
        ([3.0, 2.0, 1.0], [1.0, 2.0, 3.0]),
        ([2.0, 2.0], [2.0, 2.0]),
        ([0.0, 0.0], [0.0, 0.0]),
        ([4.0, -2.0], [-2.0, 4.0]),
        ([3.0, -1.0, 0.0], [-2 / 3, 2.0, 4 / 3]),
    ],
)
def test_inverted_credit_is_low_for_high_and_as_large_in_all(weights: list[float], expected: list[float]):
    np.testing.assert_allclose(spoiled("inverted", weights), expected, atol=1e-6)


def test_noise_belongs_to_the_state_and_the_run_and_has_mean_1():
    weights = [1.0, 2.0, 0.0]
    first = spoiled("noisy", weights)
    np.testing.assert_array_equal(first, spoiled("noisy", weights))
    assert first[2] == 0
    others = [spoiled("noisy", weights, key=1), spoiled("noisy", weights, state=STATE.at[4].add(1e-6))]
    assert all((first[:2] != other[:2]).all() for other in others)
    control = controls.find("noisy")
    states = jax.random.normal(jax.random.key(1), (20_000, 4))
    factors = jax.vmap(lambda s: control.apply({"salt": jnp.float32(7)}, jnp.ones(2), jnp.float32(0.0), s)[0])(states)
    np.testing.assert_allclose(factors.mean(0), 1.0, atol=0.05)
    np.testing.assert_allclose(jnp.log(factors).std(0), controls.NOISE, rtol=0.03)
    assert abs(np.corrcoef(factors.T)[0, 1]) < 0.03


def test_states_of_zeros_and_ones_have_noise_of_their_own():
    """States of duty: the agent on duty, and the last action of each."""
    duty, action = jax.random.randint(jax.random.key(0), (2, 2000, 10), 0, 8)
    states = jnp.concatenate([jax.nn.one_hot(duty[:, 0], 10), jax.nn.one_hot(action, 8).reshape(2000, 80)], 1)
    assert len(np.unique(jax.vmap(controls.hash_of)(states))) == len(np.unique(states, axis=0)) > 1900


@pytest.mark.parametrize("name", sorted(set(controls.CONTROLS) - {"constant"}))
def test_a_control_has_the_gradient_of_its_weights_and_none_for_its_parameters(name: str):
    mixer = mixers.make("tfcaf", ENV.spec, function=f"mpe_spread:{name}")
    params = mixer.init(jax.random.key(0), sample())
    plain = slopes(mixers.make("tfcaf", ENV.spec, function="mpe_spread"), {}, sample())
    control = controls.find(name)
    expected, _ = control.apply(params, plain, jnp.float32(0.0), sample().state)
    np.testing.assert_allclose(slopes(mixer, params, sample()), expected, rtol=1e-5)
    gradient = jax.grad(lambda params: mixer.apply(params, sample()))(params)
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(gradient))
    moved = jax.tree.map(lambda x: 0.01 * x + (1 - 0.01) * x, params)  # a target network after an update
    np.testing.assert_array_equal(mixer.apply(moved, sample()), mixer.apply(params, sample()))


def test_a_function_name_and_its_control():
    split = [("duty", ("duty", "")), ("duty:noisy", ("duty", "noisy")), (":noisy", ("", "noisy"))]
    split += [("a/b.py:noisy", ("a/b.py", "noisy")), ("a:b/c.py", ("a:b/c.py", ""))]
    for given, expected in split:
        assert config.split_control(given) == expected
    assert [config.function_name(given) for given, _ in split] == ["duty", "duty:noisy", ":noisy", "b:noisy", "c"]


def test_a_control_that_does_not_exist_is_named():
    with pytest.raises(UserError, match="control 'suffled' of a credit function does not exist: did you mean 'shuffl"):
        mixers.make("tfcaf", ENV.spec, function="mpe_spread:suffled")


@pytest.mark.thorough
def test_a_sweep_of_controls_is_each_control_trained_alone_and_is_read_back(tmp_path: Path):
    tiny = [*TINY_RUN.split(), "total_steps=600", "eval_interval=600"]
    names = ["mpe_spread", "mpe_spread:shuffled", "mpe_spread:noisy"]
    swept, alone = tmp_path / "swept", tmp_path / "alone"
    assert train.train([*tiny, f"sweep.tfcaf=[{','.join(names)}]", f"run_dir={swept}"]) == 0
    assert train.train([*tiny, f"algo.mixer.function={names[1]}", f"run_dir={alone}"]) == 0
    of = lambda path, label: [r for r in folder.records(path) if r.get("configuration", "") == label]
    one, other = of(swept, f"tfcaf={names[1]}"), of(alone, "")
    np.testing.assert_allclose(
        [r["return"] for r in one if "return" in r], [r["return"] for r in other if "return" in r], rtol=1e-3
    )
    files = sorted(str(file.relative_to(swept)) for file in (swept / "tfcaf").rglob("*.py"))
    assert files == ["tfcaf/mpe_spread.py", "tfcaf/noisy/mpe_spread.py", "tfcaf/shuffled/mpe_spread.py"]
    for path, functions in ((swept, names), (alone, names[1:2])):
        read = folder.load(str(path))[1]
        given = read.sweep.tfcaf or [read.algo.mixer["function"]]
        assert [config.split_control(f)[1] for f in given] == [config.split_control(f)[1] for f in functions]
        assert experiment.build(read).mixer is not None


def test_a_control_keeps_the_bias_times_the_scale():
    text = "import jax.numpy as jnp\n\n\ndef credit(state):\n    return jnp.ones(6), 2.0\n"
    mixer = from_credit(from_source(text, "biased", ENV.spec), 3.0, controls.find("bias_only"))
    np.testing.assert_allclose(mixer.apply({}, sample()), sample().chosen_q.sum() + 3.0 * 2.0, rtol=1e-6)
