"""Initial weights, by `algo.init`: torch's, which the paper's networks have, or variance-scaled ones, flax's default.

Never orthogonal: its batched QR inside a vmapped jit deadlocks XLA:CPU on machines with few cores.
"""

from collections.abc import Callable
from contextvars import ContextVar
from functools import wraps
from typing import ParamSpec, TypeVar

import flax.linen as nn
import jax
import jax.numpy as jnp

P = ParamSpec("P")
T = TypeVar("T")
# Read while a learner's `init` is traced, and nowhere else; so networks and mixers need no option for it.
_kind: ContextVar[str] = ContextVar("kind of initial weights", default="torch")


def drawn_as(kind: str, init: Callable[P, T]) -> Callable[P, T]:
    """`init` with initial weights of this kind, a key of KINDS, in all networks that it makes."""

    @wraps(init)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> T:
        token = _kind.set(kind)
        try:
            return init(*args, **kwargs)
        finally:
            _kind.reset(token)

    return drawn


def weights(key: jax.Array, shape: tuple[int, ...], fan_in: int) -> jax.Array:
    """Initial weights of a layer with `fan_in` inputs, of which `shape` may hold a part. The key is consumed."""
    return KINDS[_kind.get()][0](key, shape, fan_in)


def biases(key: jax.Array, shape: tuple[int, ...], fan_in: int) -> jax.Array:
    """Initial biases of a layer with `fan_in` inputs. The key is consumed."""
    return KINDS[_kind.get()][1](key, shape, fan_in)


def uniform(key: jax.Array, shape: tuple[int, ...], fan_in: int) -> jax.Array:
    """Uniform in +-1/sqrt(fan_in): torch's default for weights and biases of linear layers. The key is consumed."""
    bound = 1.0 / max(fan_in, 1) ** 0.5
    return jax.random.uniform(key, shape, jnp.float32, -bound, bound)


def scaled_normal(key: jax.Array, shape: tuple[int, ...], fan_in: int) -> jax.Array:
    """Normal with variance 1/fan_in, cut at two standard deviations (LeCun et al. 1998). The key is consumed."""
    cut = 0.87962566103423978  # standard deviation of a standard normal that is cut at +-2
    return jax.random.truncated_normal(key, -2.0, 2.0, shape, jnp.float32) / (cut * max(fan_in, 1) ** 0.5)


def zeros(key: jax.Array, shape: tuple[int, ...], fan_in: int) -> jax.Array:
    """Zeros."""
    del key, fan_in
    return jnp.zeros(shape, jnp.float32)


KINDS = {"torch": (uniform, uniform), "scaled": (scaled_normal, zeros)}  # of weights, of biases


class Dense(nn.Module):
    """A linear layer for one sample or for rows of them."""

    features: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        fan_in = x.shape[-1]
        kernel = self.param("kernel", weights, (fan_in, self.features), fan_in)
        bias = self.param("bias", biases, (self.features,), fan_in)
        return x @ kernel + bias.reshape((1,) * (x.ndim - 1) + (-1,))
