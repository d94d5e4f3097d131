"""Initial weights of all networks follow `algo.init`, layer by layer, and only there."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qllm_jax import config
from qllm_jax.core import initializers
from qllm_jax.program import experiment

TINY = ["env=matrix_climbing", "algo.hidden_dim=16"]


def leaves(*overrides: str) -> dict[str, np.ndarray]:
    """Initial parameters of one run, by path."""
    learner = experiment.build(config.load([*TINY, *overrides])).learner
    found = jax.tree_util.tree_leaves_with_path(learner.init(jax.random.key(3)).params)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf) for path, leaf in found}


def test_scaled_weights_are_those_of_flax():
    key, expected = jax.random.key(0), jax.nn.initializers.lecun_normal()
    np.testing.assert_allclose(initializers.scaled_normal(key, (30, 20), 30), expected(key, (30, 20)), rtol=1e-6)


@pytest.mark.thorough
@pytest.mark.parametrize("preset", ["matched_qmix", "matched_qplex", "matched_maddpg", "matched_lica", "matched_vmix"])
def test_every_network_of_a_method_is_drawn_as_asked(preset: str):
    torch, scaled = leaves(f"algo={preset}"), leaves(f"algo={preset}", "algo.init=scaled")
    assert torch.keys() == scaled.keys()
    for path, leaf in scaled.items():
        assert leaf.shape == torch[path].shape
        assert leaf.dtype == np.float32
        is_bias = path.rpartition("/")[2].endswith("bias")
        assert np.all(leaf == 0) == is_bias, path
        assert np.any(torch[path] != 0), path
        if leaf.size >= 256 and not is_bias:  # torch's uniform has a third of the variance, whatever the layer's inputs
            assert scaled[path].std() / torch[path].std() == pytest.approx(3**0.5, rel=0.15), path


def test_the_choice_ends_with_init():
    draw = lambda: initializers.biases(jax.random.key(0), (2,), 4)
    assert not jnp.any(initializers.drawn_as("scaled", draw)())
    with pytest.raises(ZeroDivisionError):
        initializers.drawn_as("scaled", lambda: 1 / 0)()
    assert jnp.all(draw() != 0)


def test_presets_have_torch_s():
    assert {config.load([f"algo={name}"]).algo.init for name in config.group_names("algo")} == {"torch"}
