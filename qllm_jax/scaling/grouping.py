"""Groups: the runs that are trained at once. All runs that fit, unless smaller groups are measured to be faster."""

import time
from contextlib import closing
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from qllm_jax.errors import UserError
from qllm_jax.program import experiment
from qllm_jax.program.experiment import Experiment
from qllm_jax.run.interrupt import Interrupt
from qllm_jax.scaling import memory_plan

SIZE_FACTOR, N_SIZES = 4, 3  # sizes that are timed: all runs that fit, a quarter of them, a sixteenth
MIN_GAIN = 0.05  # smaller groups must be faster by this share: each costs a folder and an evaluation
MIN_TRAINING_TIME = 20  # sizes are timed if training takes this many times as long as timing one of them
TIMED_ITERATIONS = 2  # of the largest group; as many iterations of runs for smaller groups


class Grouping(NamedTuple):
    """The groups of a run, and what was measured."""

    ranges: list[tuple[int, int]]  # [start, stop) of each group on the run axis
    seconds: dict[int, float]  # of an iteration of one run, by the size of the group; {} if nothing was measured

    @property
    def meta(self) -> dict[str, Any]:
        """The entry in meta.json; {} for a single group without a measurement."""
        if len(self.ranges) == 1 and not self.seconds:
            return {}
        milliseconds = {size: round(1e3 * s, 3) for size, s in self.seconds.items()}
        return {"groups": {"runs": self.ranges, "ms_per_update_and_run": milliseconds}}


def choose(exp: Experiment, n_processes: int = 1) -> Grouping:
    """Choose the groups for the runs of an experiment, at least one per process, and print the memory plan.

    UserError if not even one run fits, or if there are fewer runs than processes.
    """
    config, n_runs = exp.config, exp.n_runs
    if n_runs < n_processes:
        raise UserError(f"{n_runs} runs cannot be shared out over {n_processes} processes: start fewer, or more seeds")
    runs_per_process = -(-n_runs // n_processes)
    plan = memory_plan.make(exp)
    print(memory_plan.describe(plan))
    if config.group != "auto":
        return Grouping(memory_plan.split_runs(n_runs, min(config.group, runs_per_process), n_processes), {})
    largest = group_size(n_runs, min(memory_plan.runs_that_fit(plan), runs_per_process))
    # A few seeds of one configuration were never slower at once, and their folder has no groups.
    seconds = measure(exp, largest) if config.sweep.lists and largest > 1 else {}
    if not seconds:
        return Grouping(memory_plan.split_runs(n_runs, largest, n_processes), {})
    fastest = min(seconds, key=lambda size: seconds[size])
    size = fastest if seconds[fastest] < (1 - MIN_GAIN) * seconds[largest] else largest
    timings = ", ".join(f"{n} at once {1e3 * s:.2f} ms" for n, s in seconds.items())
    print(f"an update of one run: {timings}; {size} at once")
    return Grouping(memory_plan.split_runs(n_runs, size, n_processes), seconds)


def measure(exp: Experiment, largest: int) -> dict[int, float]:
    """Measure seconds of an iteration of one run, in groups of `largest` runs and smaller ones.

    {} if training is so short that measuring does not pay. Ctrl-C is answered at once, as in training, and raises
    KeyboardInterrupt once the program that is compiled or timed has ended.
    """
    with closing(Interrupt()) as interrupt:
        return _measure(exp, largest, interrupt)


def _measure(exp: Experiment, largest: int, interrupt: Interrupt) -> dict[int, float]:
    def timed(size: int, iterations: int) -> float:
        found = seconds_per_run(exp, size, iterations)
        if interrupt.requested:
            raise KeyboardInterrupt
        return found

    n_runs = exp.n_runs
    started = time.monotonic()
    seconds = {largest: timed(largest, TIMED_ITERATIONS)}
    spent = time.monotonic() - started
    iterations = exp.config.total_steps / exp.steps_per_iteration
    if iterations * n_runs * seconds[largest] < MIN_TRAINING_TIME * spent:
        return {}
    sizes = {group_size(n_runs, max(largest // SIZE_FACTOR**i, 1)) for i in range(1, N_SIZES)} - {largest}
    # Small groups need more iterations: a short timing is a cold one.
    return seconds | {size: timed(size, TIMED_ITERATIONS * largest // size) for size in sorted(sizes, reverse=True)}


def group_size(n_runs: int, max_size: int) -> int:
    """Number of runs of the first group if none may have more than `max_size`."""
    start, stop = memory_plan.split_runs(n_runs, max_size)[0]
    return stop - start


def seconds_per_run(exp: Experiment, size: int, iterations: int) -> float:
    """Measure seconds of an iteration of one run, if the first `size` runs are trained at once. Without compiling."""
    group = experiment.slice_runs(exp, 0, size)
    state = group.program.warmup(*experiment.init(group), group.hp)
    *state, _ = jax.block_until_ready(group.program.chunk(*state, group.hp, jnp.asarray(1)))
    started = time.monotonic()
    jax.block_until_ready(group.program.chunk(*state, group.hp, jnp.asarray(iterations)))
    return (time.monotonic() - started) / iterations / size
