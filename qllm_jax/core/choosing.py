"""One part of K that learn nothing, such as credit functions: each run uses the one that its `choice` marks.

The choice, a one-hot (K,), is a parameter without a gradient, so it never changes. Under a vmap over runs all K parts
are evaluated for all runs.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from qllm_jax.core.types import Params

CHOICE = "choice"  # name of the parameter; checkpoints hold it


def params_of(own: Sequence[Params], choice: Float[Array, " parts"]) -> Params:
    """Parameters of all parts, of which some have none, and the choice."""
    # Copied: an argument that a compiled function returned as it came would be donated with the state.
    return {CHOICE: jnp.array(choice, jnp.float32)} | {str(i): fixed for i, fixed in enumerate(own) if fixed}


def call(each: Sequence[Callable[[Params, Any], Array]], params: Params, x: Any) -> Array:
    """Call the part that was chosen with its own parameters."""
    branches = [partial(one, params.get(str(i), {})) for i, one in enumerate(each)]
    return jax.lax.switch(jnp.argmax(params[CHOICE]), branches, x)


def joined(each: Sequence[Any], field: str) -> tuple[Any, ...]:
    """The entries of a field, a tuple, of all parts."""
    return tuple(entry for one in each for entry in getattr(one, field))
