"""The memory plan of a program before it is compiled, and how many runs one device can train at once."""

from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp

from qllm_jax import devices, liveness
from qllm_jax.errors import UserError
from qllm_jax.experiment import Experiment

GIB = 2**30
UNITS = ((GIB, "GiB"), (2**20, "MiB"), (2**10, "KiB"))
# Over the values that are alive at once: XLA's temporaries are 1.0 to 1.9 times these on a CPU, packed loosely.
SLACK = 1.5
SHARE = 0.9  # of the device's memory that a plan may fill
CGROUP = Path("/sys/fs/cgroup")


class Plan(NamedTuple):
    """Bytes that training `runs` runs together takes of each of `devices` devices."""

    runs: int
    items: dict[str, int]
    available: int  # on one device
    devices: int = 1

    @property
    def total(self) -> int:
        return sum(self.items.values())

    @property
    def largest(self) -> int:
        """How many runs fit. Every item grows with them."""
        return int(SHARE * self.available * self.runs / self.total)


def make(exp: Experiment) -> Plan:
    """The plan of an experiment's runs. The trace that it takes is the one that compiling uses."""
    clock, state = jax.eval_shape(exp.program.init, exp.root, exp.seeds)
    learner = state.learner
    n_devices = devices.used(exp.n_runs, exp.program.n_devices)
    size = lambda tree: sum(liveness.size_of(leaf) for leaf in jax.tree.leaves(tree)) // n_devices
    kept = {
        "replay": size(state.storage),
        "parameters": size(learner.params),
        "targets": size(learner.target_params),
        "optimizer": size(learner.opt_state),
        "best parameters": size(state.best_params),
    }
    batch = kept["replay"] * exp.config.algo.batch_episodes // exp.config.algo.buffer_episodes
    update = exp.program.chunk.trace(clock, state, exp.hp, jnp.asarray(1))  # pyright: ignore[reportFunctionMemberAccess]
    working = int(SLACK * liveness.peak(liveness.of_one_device(update.jaxpr.jaxpr)))
    items = kept | {"batch": batch, "rest of an update": max(working - batch, 0)}
    # The devices of a CPU share its memory.
    sharing = n_devices if jax.local_devices()[0].platform == "cpu" else 1
    return Plan(exp.n_runs, items, available(exp.config.memory_gib) // sharing, n_devices)


def available(memory_gib: float | None) -> int:
    """Bytes for training: `memory_gib` if given, else what a GPU lets this process have, or what the host has free."""
    if memory_gib is not None:
        return int(memory_gib * GIB)
    device = jax.local_devices()[0]
    if device.platform != "cpu" and (stats := device.memory_stats()):
        return stats["bytes_limit"]
    return min([free_memory(), *limits()])


def free_memory() -> int:
    """Bytes that this host can still give; where it does not say (macOS), all that it has."""
    meminfo = Path("/proc/meminfo")
    if not meminfo.is_file():
        import os

        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    rows = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
    return int(rows["MemAvailable"].split()[0]) * 1024


def limits() -> list[int]:
    """What a container leaves this process, [] outside of one or where there is no limit."""
    limit, used = CGROUP / "memory.max", CGROUP / "memory.current"
    if not (limit.is_file() and used.is_file()) or limit.read_text().strip() == "max":
        return []
    return [int(limit.read_text()) - int(used.read_text())]


def lines(plan: Plan) -> list[str]:
    """The plan as a person reads it."""
    items = ", ".join(f"{name} {written(size)}" for name, size in plan.items.items())
    verdict = "" if plan.largest >= plan.runs else f"; {plan.largest} runs fit"
    head = f"memory for {plan.runs} runs at once" + (f", of each of {plan.devices} devices" if plan.devices > 1 else "")
    return [
        f"{head}: about {written(plan.total)} of {written(plan.available)}{verdict}",
        f"  {items}",
    ]


def written(size: float) -> str:
    """Bytes in the unit that suits them."""
    unit, name = next((found for found in UNITS if size >= found[0]), UNITS[-1])
    return f"{size / unit:.1f} {name}"


def fitting(plan: Plan) -> int:
    """How many of a plan's runs fit at once. UserError when not even one does."""
    if plan.largest < 1:
        raise UserError(
            f"one run takes about {written(plan.total / plan.runs)}, and there are {written(plan.available)}: lower "
            "algo.buffer_episodes or algo.batch_episodes, or set memory_gib if you know better"
        )
    return min(plan.largest, plan.runs)


def split(n_runs: int, size: int) -> list[tuple[int, int]]:
    """Runs [first, behind) of groups no larger than `size`, equal ones where that takes at most twice as many.

    Groups of one size share a compiled program.
    """
    fewest = -(-n_runs // size)
    count = next((n for n in range(fewest, 2 * fewest + 1) if n_runs % n == 0), None)
    width = size if count is None else n_runs // count
    return [(first, min(first + width, n_runs)) for first in range(0, n_runs, width)]
