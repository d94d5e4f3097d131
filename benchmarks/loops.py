"""The training program's loop of iterations, compiled and ready, as several benchmarks time it."""

from typing import Any, NamedTuple

import common
import jax.numpy as jnp
import workload

from qllm_jax.program import experiment
from qllm_jax.program.experiment import Experiment


class Loop(NamedTuple):
    """Compiled loop of iterations and its state."""

    chunk: Any  # (clock, runs, hp, n) -> clock, runs, metrics
    state: list[Any]  # [clock, runs]: replaced by each call, since its buffers are donated
    hp: Any
    facts: dict[str, Any]  # figures known before timing


def start(exp: Experiment) -> Loop:
    """Compile the loop and play up to the first update."""
    state = list(exp.program.warmup(*experiment.init(exp), exp.hp))
    chunk, compile_s = common.compiled(exp.program.chunk, *state, exp.hp, jnp.asarray(1))
    facts = {
        "compile_s": compile_s,
        "temporary_bytes": workload.temporary_bytes(chunk, state),
        "state_bytes": workload.state_bytes(state),
        "iteration_flops": workload.iteration_flops(exp),
    }
    return Loop(chunk, state, exp.hp, facts)


def times(loops: dict[Any, Loop], updates: int, repeats: int, of_runs: bool = False) -> dict[Any, list[float]]:
    """Return the milliseconds of one iteration of all runs, one per round; the first round is a warm-up.

    `updates` counts those of each loop, or with `of_runs` those of all its runs together, so that loops of many and few
    runs take as long.
    """
    found: dict[Any, list[float]] = {name: [] for name in loops}
    for turn in range(repeats + 1):
        for name, loop in loops.items():
            n = max(updates // len(loop.hp.lr), 1) if of_runs else updates
            (*state, _), seconds = common.seconds(loop.chunk, *loop.state, loop.hp, jnp.asarray(n))
            loop.state[:] = state
            if turn:
                found[name].append(1e3 * seconds / n)
    return found


def figures(loop: Loop, all_ms: list[float], runs: int, rate: float) -> dict[str, Any]:
    """Return the figures of a row: facts of the loop, its times per run, and their floor at `rate` FLOP/s."""
    own, floor_ms = [ms / runs for ms in all_ms], 1e3 * loop.facts["iteration_flops"] / rate
    return {"update_ms": own, "floor_ms": floor_ms, "times_floor": [ms / floor_ms for ms in own], **loop.facts}
