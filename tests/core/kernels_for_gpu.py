"""Compile the kernels of unrolls for a described GPU and print their custom calls as JSON: `kernels_for_gpu.py h100`.

A process of its own, as XLA must know of GPUs from its start.
"""

import importlib
import json
import re
import sys
from pathlib import Path

import jax
import jax.numpy as jnp

from qllm_jax.core.gru import GruParams
from qllm_jax.core.gru_unroll import unroll

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
gpu_targets = importlib.import_module("gpu_targets")

RUNS, SLOTS, ROWS, INPUTS = 2, 25, 33, 8


def gradient(online: GruParams, target: GruParams, x: jax.Array) -> GruParams:
    def loss(online: GruParams) -> jax.Array:
        first = jnp.zeros((ROWS, online.hidden_kernel.shape[0]))
        q, target_q = unroll((online, target), (first, first), (x, x))
        return jnp.sum(q * target_q)

    return jax.grad(loss)(online)


def calls(target: str, hidden: int) -> list[str]:
    """Names of the kernels of Pallas in the program of one gradient."""
    shape = lambda *axes: jax.ShapeDtypeStruct((RUNS, *axes), jnp.float32)
    gates = 3 * hidden
    params = GruParams._make((shape(INPUTS, gates), shape(hidden, gates), shape(gates), shape(gates)))
    program, _ = gpu_targets.compiled(target, jax.jit(jax.vmap(gradient)), params, params, shape(SLOTS, ROWS, INPUTS))
    lines = [line for line in program.as_text().splitlines() if "__gpu$xla.gpu.triton" in line]
    return sorted(re.findall(r"gru_\w+", line)[0] for line in lines)


if __name__ == "__main__":
    print(json.dumps({hidden: calls(sys.argv[1], hidden) for hidden in (16, 64, 128)}))
