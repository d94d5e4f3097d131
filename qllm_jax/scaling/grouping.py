"""Which runs of a sweep are trained at once: all that fit, unless fewer at a time are measured to be faster."""

import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from qllm_jax import config
from qllm_jax.errors import UserError
from qllm_jax.program import experiment
from qllm_jax.program.experiment import Experiment
from qllm_jax.scaling import memory_plan

FACTOR, CANDIDATES = 4, 3  # widths that are timed: all that fit, a quarter of them, a sixteenth
GAIN = 0.05  # narrower groups must be faster by this share: they cost a folder and an evaluation each
WORTH = 20  # timing another width pays when training takes this many times as long as it does
TIMED = 2  # iterations with all that fit; as many updates of runs with fewer, as a short timing is a cold one


class Grouping(NamedTuple):
    """The groups of a sweep, and what was measured: seconds of an iteration per run, by width."""

    runs: list[tuple[int, int]]  # [first, behind) of each group
    seconds: dict[int, float]

    @property
    def record(self) -> dict[str, Any]:
        """What meta.json keeps; {} where all runs are one group of which nothing was measured."""
        if len(self.runs) == 1 and not self.seconds:
            return {}
        milliseconds = {width: round(1e3 * s, 3) for width, s in self.seconds.items()}
        return {"groups": {"runs": self.runs, "ms_per_update_and_run": milliseconds}}


def choose(exp: Experiment, n_processes: int = 1) -> Grouping:
    """The groups for an experiment of all runs, none with more than a process's share; prints the memory plan.

    UserError when not one run fits, and when there are fewer runs than processes.
    """
    settings, n_runs = exp.config, exp.n_runs
    if n_runs < n_processes:
        raise UserError(f"{n_runs} runs cannot be shared out over {n_processes} processes: start fewer, or more seeds")
    share = -(-n_runs // n_processes)
    planned = memory_plan.make(exp)
    print("\n".join(memory_plan.lines(planned)))
    if settings.group != "auto":
        return Grouping(memory_plan.split(n_runs, min(settings.group, share)), {})
    widest = width_of(n_runs, min(memory_plan.fitting(planned), share))
    # A few seeds of one configuration were never slower together, and their folder has no groups.
    seconds = measured(exp, widest) if config.swept(settings.sweep) and widest > 1 else {}
    if not seconds:
        return Grouping(memory_plan.split(n_runs, widest), {})
    fastest = min(seconds, key=lambda width: seconds[width])
    width = fastest if seconds[fastest] < (1 - GAIN) * seconds[widest] else widest
    timings = ", ".join(f"{w} at once {1e3 * s:.2f} ms" for w, s in seconds.items())
    print(f"an update of one run: {timings}; {width} at once")
    return Grouping(memory_plan.split(n_runs, width), seconds)


def measured(exp: Experiment, widest: int) -> dict[int, float]:
    """Seconds of an iteration per run with `widest` runs at once and with fewer; {} where it would not pay."""
    n_runs = exp.n_runs
    started = time.monotonic()
    seconds = {widest: seconds_per_run(exp, widest, TIMED)}
    spent = time.monotonic() - started
    iterations = exp.config.total_steps / exp.steps_per_iteration
    if iterations * n_runs * seconds[widest] < WORTH * spent:
        return {}
    widths = {width_of(n_runs, max(widest // FACTOR**i, 1)) for i in range(1, CANDIDATES)} - {widest}
    timed = lambda width: seconds_per_run(exp, width, TIMED * widest // width)
    return seconds | {width: timed(width) for width in sorted(widths, reverse=True)}


def width_of(n_runs: int, size: int) -> int:
    """Runs of a group when none may have more than `size`."""
    first, behind = memory_plan.split(n_runs, size)[0]
    return behind - first


def seconds_per_run(exp: Experiment, width: int, iterations: int) -> float:
    """Time of an iteration of the first `width` runs, for each of them, without that of compiling."""
    part = experiment.at(exp, 0, width)
    state = part.program.warmup(*experiment.start(part), part.hp)
    *state, _ = jax.block_until_ready(part.program.chunk(*state, part.hp, jnp.asarray(1)))
    started = time.monotonic()
    jax.block_until_ready(part.program.chunk(*state, part.hp, jnp.asarray(iterations)))
    return (time.monotonic() - started) / iterations / width
