"""Timing of the training program's loop of iterations, for several programs at once, in one process."""

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
    runs: int
    facts: dict[str, Any]  # figures known before timing


def measure(
    experiments: dict[Any, Experiment], updates: int, repeats: int, of_runs: bool = False
) -> dict[Any, dict[str, Any]]:
    """Return the figures of a row for each experiment: facts of its loop, times of an iteration per run, and the floor.

    The programs take turns. For `updates` and `of_runs` see `times`.
    """
    loops = {}
    for name, exp in experiments.items():
        loops[name] = start(exp)
        print(f"{name}: compiled", flush=True)
    found, rate = times(loops, updates, repeats, of_runs), workload.matmul_rate()
    return {name: figures(loop, found[name], rate) for name, loop in loops.items()}


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
    return Loop(chunk, state, exp.hp, exp.n_runs, facts)


def times(loops: dict[Any, Loop], updates: int, repeats: int, of_runs: bool) -> dict[Any, list[float]]:
    """Return the milliseconds of one iteration of all runs, one per round; the first round is a warm-up.

    `updates` counts those of each loop, or with `of_runs` those of all its runs together, so that loops of many and few
    runs take as long.
    """
    found: dict[Any, list[float]] = {name: [] for name in loops}
    for turn in range(repeats + 1):
        for name, loop in loops.items():
            n = max(updates // loop.runs, 1) if of_runs else updates
            (*state, _), seconds = common.seconds(loop.chunk, *loop.state, loop.hp, jnp.asarray(n))
            loop.state[:] = state
            if turn:
                found[name].append(1e3 * seconds / n)
    return found


def figures(loop: Loop, all_ms: list[float], rate: float) -> dict[str, Any]:
    """Return facts of the loop, its times per run, and their floor at `rate` FLOP/s."""
    own, floor_ms = [ms / loop.runs for ms in all_ms], 1e3 * loop.facts["iteration_flops"] / rate
    return {"update_ms": own, "floor_ms": floor_ms, "times_floor": [ms / floor_ms for ms in own], **loop.facts}


COLUMNS = {
    "floor, ms": lambda row: f"{row['floor_ms']:.2f}",
    "times the floor": lambda row: common.spread(row["times_floor"], ".1f"),
    "compile, s": lambda row: f"{row['compile_s']:.1f}",
    "temporary, MB": lambda row: f"{row['temporary_bytes'] / 1e6:,.0f}",
    "state, MB": lambda row: f"{row['state_bytes'] / 1e6:,.0f}",
}
