"""Feed-forward networks that mixers, critics and hypernetworks are made of."""

from typing import Any

import flax.linen as nn
import jax

from qllm_jax.core.initializers import Dense


class Mlp(nn.Module):
    """Linear layers with a ReLU after all but the last: (..., inputs) to (..., out). No `hidden` makes it linear."""

    hidden: tuple[int, ...]  # widths of the hidden layers
    out: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for i, width in enumerate(self.hidden):
            x = nn.relu(Dense(width, name=f"hidden_{i}")(x))
        return Dense(self.out, name="out")(x)


def mlp_heads(n: int, hidden: tuple[int, ...], out: int, name: str) -> Any:
    """`n` independent `Mlp`s of the same input: (..., inputs) to (n, ..., out); parameters have a leading axis n."""
    # One batched matmul a layer instead of n small ones.
    stacked = {"variable_axes": {"params": 0}, "split_rngs": {"params": True}}
    heads = nn.vmap(Mlp, in_axes=None, axis_size=n, **stacked)  # pyright: ignore[reportArgumentType]
    return heads(hidden, out, name=name)
