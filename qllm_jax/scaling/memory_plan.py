"""The memory plan of a program before it is compiled, and how many runs one device can train at once."""

import os
from pathlib import Path
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp

from qllm_jax.core.types import Clock
from qllm_jax.errors import UserError
from qllm_jax.program import devices
from qllm_jax.program.compiled import RunState
from qllm_jax.program.experiment import Experiment
from qllm_jax.scaling import jaxpr_memory

GIB = 2**30
UNITS = ((GIB, "GiB"), (2**20, "MiB"), (2**10, "KiB"))
# Over the values of an update that are alive at once: XLA packs them loosely, into 1.0 to 1.9 times as much on a CPU.
SLACK = 1.5
SHARE = 0.9  # of the device's memory that a plan may fill
MEMINFO, OWN_CGROUP, CGROUPS = Path("/proc/meminfo"), Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


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
    """The plan of an experiment's runs. The traces that it takes are those that compiling uses."""
    clock, state = jax.eval_shape(exp.program.init, exp.root, exp.seeds)
    learner = state.learner
    n_devices = devices.used(exp.n_runs, exp.program.pool)
    size = lambda tree: sum(jaxpr_memory.size_of(leaf) for leaf in jax.tree.leaves(tree)) // n_devices
    kept = {
        "replay": size(state.storage),
        "parameters": size(learner.params),
        "targets": size(learner.target_params),
        "optimizer": size(learner.opt_state),
        "best parameters": size(state.best_params),
    }
    working = working_memory(exp, kept["replay"], (clock, state))
    # The devices of a CPU share its memory.
    sharing = n_devices if jax.local_devices()[0].platform == "cpu" else 1
    return Plan(exp.n_runs, kept | working, available(exp.config.memory_gib) // sharing, n_devices)


def working_memory(exp: Experiment, replay: int, shapes: tuple[Clock, RunState]) -> dict[str, int]:
    """Bytes of a device's temporary arrays in an update, or in the evaluation at the end where those are more."""
    settings, play, chunk = exp.config, cast(Any, exp.program.play), cast(Any, exp.program.chunk)
    peak = lambda traced: jaxpr_memory.peak(jaxpr_memory.of_one_device(traced.jaxpr.jaxpr))
    keys, epsilon = shapes[1].key, jnp.asarray(settings.algo.eval_epsilon)
    episodes = max(settings.final_episodes, settings.eval_episodes)
    evaluation = peak(play.trace(shapes[1].best_params, keys, episodes, epsilon))
    update = int(SLACK * peak(chunk.trace(*shapes, exp.hp, jnp.asarray(1))))
    if evaluation > update:
        return {"an evaluation": evaluation}
    batch = replay * settings.algo.batch_episodes // settings.algo.buffer_episodes
    return {"batch": batch, "rest of an update": max(update - batch, 0)}


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
    if not MEMINFO.is_file():
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    rows = dict(line.split(":", 1) for line in MEMINFO.read_text().splitlines())
    return int(rows["MemAvailable"].split()[0]) * 1024


def limits(own: Path = OWN_CGROUP, root: Path = CGROUPS) -> list[int]:
    """Bytes that control groups (v2: containers, SLURM jobs) leave this process; [] where none has a limit.

    `own` names the process's group, below `root`; the groups around it count, too.
    """
    names = own.read_text().splitlines() if own.is_file() else []
    group = root / next((name.removeprefix("0::/") for name in names if name.startswith("0::/")), "")
    found = []
    for place in (group, *group.parents):
        limit, used = place / "memory.max", place / "memory.stat"
        if limit.is_file() and used.is_file() and (most := limit.read_text().strip()) != "max":
            rows = dict(line.split() for line in used.read_text().splitlines())
            # Files that were read are kept in memory until it is needed: they take nothing away.
            found.append(int(most) - int((place / "memory.current").read_text()) + int(rows["inactive_file"]))
    return found


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
