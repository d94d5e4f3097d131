"""Workload of the speed benchmarks: MPE spread with the sizes of epymarl and JaxMARL, and the floor."""

import math
import resource
import statistics
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import common
import jax
import jax.numpy as jnp

from qllm_jax import config
from qllm_jax.core.jaxprs import inner_jaxprs
from qllm_jax.program import experiment
from qllm_jax.program.experiment import Experiment

EMBED, HYPER = 32, 32  # of QMIX's mixer
HORIZON = 25  # steps of an episode


class Sizes(NamedTuple):
    """Sizes of a training job on MPE spread; the defaults are those of epymarl and JaxMARL."""

    agents: int
    seeds: int = 1
    envs: int = 8
    batch: int = 32  # episodes
    hidden: int = 64
    buffer: int = 1000  # episodes


def build(algo: str, sizes: Sizes) -> Experiment:
    """Build the program of a preset as `qllm_jax.train` does. Nothing is compiled. UserError for an unknown preset."""
    exp = experiment.build(config.load(overrides(algo, sizes)))
    mixer = exp.config.algo.mixer
    if mixer.get("name") == "qmix" and (mixer["embed_dim"], mixer["hypernet_dim"]) != (EMBED, HYPER):
        raise SystemExit(f"error: {algo} has another mixer than the peers get: {mixer}")
    return exp


def overrides(algo: str, sizes: Sizes) -> list[str]:
    """Return the arguments of `qllm_jax.train`."""
    algorithm = [f"algo={algo}", f"algo.n_envs={sizes.envs}", f"algo.batch_episodes={sizes.batch}"]
    algorithm += [f"algo.hidden_dim={sizes.hidden}", f"algo.buffer_episodes={sizes.buffer}"]
    task = ["env=mpe_spread", f"n_agents={sizes.agents}", f"seeds={sizes.seeds}"]
    return [*as_learned(algo, algorithm), *task]


def as_learned(algo: str, arguments: list[str]) -> list[str]:
    """Leave out the sizes of batch and replay if the preset learns on-policy: both are its newest rollout."""
    preset = config.load([f"algo={algo}"]).algo
    if preset.buffer_episodes > preset.n_envs:
        return arguments
    return [each for each in arguments if not each.startswith(("algo.batch_episodes=", "algo.buffer_episodes="))]


def matmul_flops(function: Callable[..., Any], *inputs: Any) -> int:
    """Count the floating point operations of all matrix multiplications of a function, two per product and sum.

    They are counted in its traced program. A loop without a known number of turns counts as one turn (`chunk`: one
    iteration), and all branches of a condition count.
    """
    return _flops(jax.make_jaxpr(function)(*inputs).jaxpr)


def _flops(jaxpr: Any) -> int:
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            (inner, _), _ = equation.params["dimension_numbers"]
            left = equation.invars[0].aval.shape
            total += 2 * math.prod(equation.outvars[0].aval.shape) * math.prod(left[axis] for axis in inner)
        # A scan has a length; a program that is split over devices is traced for one of them.
        times = equation.params.get("length", 1) * getattr(equation.params.get("mesh"), "size", 1)
        total += times * sum(map(_flops, inner_jaxprs(equation)))
    return total


def iteration_flops(exp: Experiment) -> int:
    """Count the FLOP of one rollout and one update of one run."""
    state = jax.eval_shape(exp.program.init, exp.root, exp.seeds, exp.choice)
    return matmul_flops(exp.program.chunk, *state, exp.hp, jnp.asarray(1)) // len(exp.seeds)


def matmul_rate(size: int = 2048, repeats: int = 7, dtype: Any = jnp.float32, precision: str | None = None) -> float:
    """Measure the FLOP/s of a large matmul (by default f32 at JAX's default precision), the divisor of a floor."""
    x = jnp.ones((size, size), dtype)
    multiply, _ = common.compiled(lambda a, b: jnp.matmul(a, b, precision=precision), x, x)
    common.seconds(multiply, x, x)  # warm-up
    return 2 * math.pow(size, 3) / statistics.median(common.seconds(multiply, x, x)[1] for _ in range(repeats))


def write_rate(n_bytes: int = 2**28, repeats: int = 5) -> float:
    """Measure the bytes per second of a program that only writes a new array."""
    fill, _ = common.compiled(lambda x: jnp.full((n_bytes // 4,), x, jnp.float32), jnp.float32(1.0))
    common.seconds(fill, jnp.float32(1.0))  # warm-up
    return n_bytes / statistics.median(common.seconds(fill, jnp.float32(1.0))[1] for _ in range(repeats))


def temporary_bytes(program: Any, state: Any = ()) -> int:
    """Return the bytes of temporary arrays that XLA plans, at their peak, on all devices that hold the state."""
    n_devices = max((len(leaf.devices()) for leaf in jax.tree.leaves(state)), default=1)
    return n_devices * program.memory_analysis().temp_size_in_bytes


def planned_bytes(program: Any) -> int:
    """Return the bytes that XLA plans on one device: arguments, results, and temporary arrays at their peak."""
    plan = program.memory_analysis()
    held = plan.argument_size_in_bytes + plan.output_size_in_bytes - plan.alias_size_in_bytes  # donated: counted once
    return held + plan.temp_size_in_bytes


def peaks() -> dict[str, int]:
    """Return the highest resident memory of this process so far, and of its device where that is known."""
    unit = 1 if sys.platform == "darwin" else 1024
    found = {"peak_bytes": unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}
    device = jax.local_devices()[0].memory_stats() or {}
    return found | ({"device_peak_bytes": device["peak_bytes_in_use"]} if "peak_bytes_in_use" in device else {})


def state_bytes(state: Any) -> int:
    """Return the bytes of all arrays; typed keys are not counted."""
    leaves = [leaf for leaf in jax.tree.leaves(state) if hasattr(leaf, "dtype")]
    return sum(leaf.nbytes for leaf in leaves if not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key))
