"""Programs that run once, on many rows, with the compiler's options that are best for that."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

# Compiling it well takes longer than running it badly.
QUICK: dict[str, Any] = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
# The process of a candidate runs without XLA's algebraic simplifier (see sandbox/process.py), and training with it.
SIMPLIFIED: dict[str, Any] = {"xla_disable_hlo_passes": ""}
# Without the simplifier, XLA:CPU (jaxlib 0.10.2) gives programs for some loops with gradients that die now and then of
# SIGSEGV. A search may simplify: its ends are tried.
SEARCH = QUICK | SIMPLIFIED


def run_once(function: Callable[..., Any], *rows: Any, options: dict[str, Any] = QUICK) -> Any:
    """Return the outputs of `function`, mapped over the first axis of `rows`, as arrays of numpy."""
    program = jax.jit(jax.vmap(function)).lower(*rows).compile(options)
    return jax.tree.map(np.asarray, program(*rows))
