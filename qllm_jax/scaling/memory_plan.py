"""The memory plan of a program before it is compiled, and the number of runs that one device can train at once."""

import itertools
import os
from pathlib import Path
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp

from qllm_jax import stats
from qllm_jax.core.types import Clock
from qllm_jax.errors import UserError
from qllm_jax.program import devices
from qllm_jax.program.experiment import Experiment
from qllm_jax.program.one_run import RunState
from qllm_jax.scaling import jaxpr_memory

GIB = 2**30
UNITS = ((GIB, "GiB"), (2**20, "MiB"), (2**10, "KiB"))
# Working memory over the values of an update that are alive at once: XLA:CPU needs 1.0 to 1.9 times as much.
PACKING_FACTOR = 1.5
USABLE_SHARE = 0.9  # of the device's memory
MEMINFO, OWN_CGROUP, CGROUPS = Path("/proc/meminfo"), Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


class Plan(NamedTuple):
    """Bytes on each of `devices` devices if `runs` runs are trained at once."""

    runs: int
    items: dict[str, int]
    available: int  # on one device
    devices: int = 1
    is_shared: bool = False  # the devices share one memory, each with a part of it that another can have
    data: int = 0  # of a dataset, among `items`: as much for any number of runs

    @property
    def total(self) -> int:
        """Bytes of all items."""
        return sum(self.items.values())

    @property
    def per_run(self) -> float:
        """Bytes of one run. All items but a dataset are proportional to the runs of a device, spare ones included."""
        return (self.total - self.data) / -(-self.runs // self.devices)

    @property
    def max_runs(self) -> int:
        """Number of runs that fit: a device holds whole runs."""
        usable = USABLE_SHARE * self.available - self.data
        if self.is_shared:
            return int(self.devices * usable / self.per_run)
        return self.devices * int(usable / self.per_run)


def make(exp: Experiment) -> Plan:
    """Plan all runs of an experiment. Tracing costs nothing extra: compilation uses the same traces."""
    clock, state = jax.eval_shape(exp.program.init, exp.root, exp.seeds, exp.choice)
    learner = state.learner
    n_devices = devices.n_used(exp.n_runs, exp.program.pool)
    size = lambda tree: sum(jaxpr_memory.n_bytes(leaf) for leaf in jax.tree.leaves(tree)) // n_devices
    data = size(state.storage) * n_devices if exp.program.has_data else 0
    kept = {
        **({"dataset": data} if data else {"replay": size(state.storage)}),
        "parameters": size(learner.params),
        "targets": size(learner.target_params),
        "optimizer": size(learner.opt_state),
        "best parameters": size(state.best_params),
    }
    working = working_memory(exp, data or kept["replay"], (clock, state))
    # The devices of a CPU share its memory.
    is_shared = jax.local_devices()[0].platform == "cpu"
    on_each = available(exp.config.memory_gib) // (n_devices if is_shared else 1)
    return Plan(exp.n_runs, kept | working, on_each, n_devices, is_shared, data)


def working_memory(exp: Experiment, replay: int, shapes: tuple[Clock, RunState]) -> dict[str, int]:
    """Bytes of temporary arrays on a device: in an update, or in an evaluation if those are more.

    `replay` are the bytes of its replay, or of the dataset that it reads.
    """
    config, play, chunk = exp.config, cast(Any, exp.program.play), cast(Any, exp.program.chunk)
    peak = lambda traced: jaxpr_memory.peak_bytes(jaxpr_memory.per_device(traced.jaxpr.jaxpr))
    keys, epsilon = shapes[1].key, jnp.asarray(config.algo.eval_epsilon)
    episodes = max(config.final_episodes, config.eval_episodes)
    evaluation = peak(play.trace(shapes[1].best_params, keys, episodes, epsilon))
    update = int(PACKING_FACTOR * peak(chunk.trace(*shapes, exp.hp, jnp.asarray(1))))
    if evaluation > update:
        return {"an evaluation": evaluation}
    storage = jax.tree.leaves(shapes[1].storage)[0]
    if exp.program.has_data:
        rows = devices.runs_per_device(exp.n_runs, exp.program.pool)
        batch = rows * replay * config.algo.batch_episodes // len(storage)
    else:
        batch = replay * config.algo.batch_episodes // storage.shape[1]
    return {"batch": batch, "rest of an update": max(update - batch, 0)}


def available(memory_gib: float | None) -> int:
    """Bytes for training: `memory_gib` if given, else the limit of the accelerator, or the free memory of the host."""
    if memory_gib is not None:
        return int(memory_gib * GIB)
    device = jax.local_devices()[0]
    if device.platform != "cpu" and (found := device.memory_stats()):
        return found["bytes_limit"]
    return min([free_memory(), *cgroup_limits()])


def free_memory() -> int:
    """Free memory of this host in bytes; on a system without /proc/meminfo (macOS), all of its memory."""
    if not MEMINFO.is_file():
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    rows = dict(line.split(":", 1) for line in MEMINFO.read_text().splitlines())
    return int(rows["MemAvailable"].split()[0]) * 1024


def cgroup_limits(own: Path = OWN_CGROUP, root: Path = CGROUPS) -> list[int]:
    """Bytes that each control group (v2: containers, SLURM jobs) leaves this process; [] without limits.

    The file `own` names the group of the process, relative to `root`. The groups that contain it count too.
    """
    names = own.read_text().splitlines() if own.is_file() else []
    group = root / next((name.removeprefix("0::/") for name in names if name.startswith("0::/")), "")
    found = []
    for folder in (group, *group.parents):
        limit, stat = folder / "memory.max", folder / "memory.stat"
        if limit.is_file() and stat.is_file() and (allowed := limit.read_text().strip()) != "max":
            rows = dict(line.split() for line in stat.read_text().splitlines())
            # Cached files are dropped when memory is needed: they do not count as used.
            found.append(int(allowed) - int((folder / "memory.current").read_text()) + int(rows["inactive_file"]))
    return found


def describe(plan: Plan) -> str:
    """The plan in one line."""
    verdict = "" if plan.max_runs >= plan.runs else f"; {plan.max_runs} runs fit"
    where = f" on each of {plan.devices} devices" if plan.devices > 1 else ""
    needed = f"about {format_bytes(plan.total)} of {format_bytes(plan.available)}{where}"
    return f"memory: {needed} for {stats.count(plan.runs, 'run')}{verdict}"


def details(plan: Plan) -> list[str]:
    """One line for each item of the plan."""
    width = max(map(len, plan.items))
    return [f"  {name:<{width}}  {format_bytes(size):>10}" for name, size in plan.items.items()]


def format_bytes(size: float) -> str:
    """Bytes as text, like `1.5 GiB`."""
    unit, name = next((found for found in UNITS if size >= found[0]), UNITS[-1])
    return f"{size / unit:.1f} {name}"


def runs_that_fit(plan: Plan) -> int:
    """Number of the plan's runs that fit at once. UserError if not even one fits."""
    if plan.max_runs < 1:
        needed = format_bytes(plan.per_run + plan.data)
        available = format_bytes(plan.available * (plan.devices if plan.is_shared else 1))
        raise UserError(
            f"one run takes about {needed}, and there are {available}: lower algo.buffer_episodes or "
            "algo.batch_episodes, or set memory_gib if you know better"
        )
    return min(plan.max_runs, plan.runs)


def split_runs(n_runs: int, max_size: int, n_processes: int = 1) -> list[tuple[int, int]]:
    """[start, stop) of groups of at most `max_size` runs; of equal size if that takes at most twice as many groups.

    Groups of equal size share one compiled program. Several processes get equally many groups, whose sizes differ by at
    most one run: a second group would keep one process busy while the others wait.
    """
    fewest = -(-n_runs // max_size)
    if n_processes > 1:
        n_groups = min(-(-fewest // n_processes) * n_processes, n_runs)
        bounds = [n_runs * i // n_groups for i in range(n_groups + 1)]
        return list(itertools.pairwise(bounds))
    n_groups = next((n for n in range(fewest, 2 * fewest + 1) if n_runs % n == 0), None)
    size = max_size if n_groups is None else n_runs // n_groups
    return [(start, min(start + size, n_runs)) for start in range(0, n_runs, size)]
