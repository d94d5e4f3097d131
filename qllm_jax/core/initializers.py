"""Torch's default initialization, which the paper's networks use: U(-k, k) with k = 1/sqrt(fan_in).

Never orthogonal: its batched QR inside a vmapped jit deadlocks XLA:CPU on machines with few cores.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp


def uniform(key: jax.Array, shape: tuple[int, ...], fan_in: int) -> jax.Array:
    """Uniform in +-1/sqrt(fan_in). The key is consumed."""
    bound = 1.0 / max(fan_in, 1) ** 0.5
    return jax.random.uniform(key, shape, jnp.float32, -bound, bound)


class Dense(nn.Module):
    """A linear layer with torch's initialization of kernel and bias, for one sample or for rows of them."""

    features: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        fan_in = x.shape[-1]
        kernel = self.param("kernel", uniform, (fan_in, self.features), fan_in)
        bias = self.param("bias", uniform, (self.features,), fan_in)
        return x @ kernel + bias.reshape((1,) * (x.ndim - 1) + (-1,))


def dense(features: int, name: str) -> Dense:
    """A named `Dense` for one sample (rank-1 input); callers add axes with vmap."""
    return Dense(features, name=name)
