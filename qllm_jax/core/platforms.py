"""CPU or GPU: where the forms of a computation differ, and how one of two is chosen.

XLA:CPU runs small operations at little cost and is bound by memory. On a GPU the networks of a team are so small that
an iteration takes about as long as the launches of its kernels (`benchmarks/gpu_program.py` counts them). To compute
something twice costs nothing there, and fewer, larger operations are worth any reordering. Both forms agree up to
rounding, which tests check on a CPU:

    of                           CPU                              GPU
    rollouts                     rollout.py                       rollout_gpu.py
    the agents' step in them     agents.py, agent_network.py      agent_step.py
    unrolls over episodes        agents.py, gru.py                gru_unroll.py
    lambda returns               a loop over steps (rlax)         shifts by 1, 2, 4 ... steps (learners/targets.py)
    a draw among the actions     argmax                           comparisons one after the other (rollout.py)

Rollouts and unrolls are chosen where the parts of a program are built, `experiment.build`: tracing both forms would
take twice as long. The rest is chosen by `choose` when a program is lowered.
"""

from collections.abc import Callable
from typing import Any, Literal

import jax

Platform = Literal["cpu", "gpu"]


def of_backend() -> Platform:
    """Return the platform of the default device. Starts the backend."""
    return "gpu" if jax.default_backend() in ("gpu", "cuda", "rocm") else "cpu"


def choose(*args: Any, cpu: Callable[..., Any], gpu: Callable[..., Any]) -> Any:
    """`gpu(*args)` in programs that are lowered for a GPU, else `cpu(*args)`. Results have the same shapes."""
    return jax.lax.platform_dependent(*args, cuda=gpu, rocm=gpu, default=cpu)
