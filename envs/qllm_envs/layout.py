"""The flat state from the named arrays, as `Spec.state_layout` declares it. NumPy alone: for checks and prompts."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from qllm_envs.core import Entries, StateBlock

_ALLOWED = {"__builtins__": {"range": range}}


def size(layout: Iterable[StateBlock]) -> int:
    """Number of entries of a layout."""
    return sum(block.width * block.repeats for block in layout)


def flat_state(layout: Iterable[StateBlock], fields: Mapping[str, Any]) -> Float[np.ndarray, " state"]:
    """Evaluate a layout on the named arrays of one state. ValueError names a formula that fails or has another size."""
    parts = [
        _evaluate(part, {**fields, block.letter: i})
        for block in layout
        for i in range(block.repeats)
        for part in block.entries
    ]
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def _evaluate(part: Entries, names: dict[str, Any]) -> Float[np.ndarray, " size"]:
    try:
        # As globals: the body of a comprehension does not see the locals of `eval`.
        value = np.asarray(eval(part.formula, _ALLOWED | names), np.float32)
    except Exception as error:
        raise ValueError(f"the formula {part.formula!r} fails with {type(error).__name__}: {error}") from error
    if value.ndim and value.size != part.size:
        raise ValueError(f"the formula {part.formula!r} gives {value.size} numbers, not {part.size}")
    return np.broadcast_to(value.ravel(), (part.size,))
