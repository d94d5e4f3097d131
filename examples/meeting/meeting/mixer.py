"""A weighted sum: each agent's value times a positive weight that is learned and depends on nothing."""

import jax
import jax.numpy as jnp

from qllm_envs import Spec
from qllm_jax.mixers import Mixer, MixerInputs


def make(spec: Spec, *, initial: float = 1.0) -> Mixer:
    """Return the mixer for the agents of `spec`, whose weights begin at `initial`."""

    def init(key: jax.Array, inputs: MixerInputs) -> dict[str, jax.Array]:
        del key, inputs
        return {"log_weights": jnp.full((spec.n_agents,), jnp.log(initial))}

    def apply(params: dict[str, jax.Array], inputs: MixerInputs) -> jax.Array:
        return jnp.exp(params["log_weights"]) @ inputs.chosen_q

    return Mixer(init, apply)
