"""VDN (Sunehag et al. 2018, arxiv.org/abs/1706.05296): the team value is the sum of the agents' values."""

import jax.numpy as jnp

from qllm_envs import Spec
from qllm_jax.mixers.base import Mixer


def make(spec: Spec) -> Mixer:
    """No parameters, no options."""
    del spec
    return Mixer(init=lambda key, inputs: {}, apply=lambda params, inputs: jnp.sum(inputs.chosen_q))
