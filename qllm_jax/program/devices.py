"""The run axis over the devices of this process: each trains its share of the runs, and none waits for another.

A run needs nothing of another run, so the programs are `jax.shard_map`s without a collective in them. On a CPU the
cores are offered as several devices (`use_cores`): two cores that train runs of their own are up to twice as fast
as two that share each small operation of one program, which is what XLA does otherwise. There are more devices than
cores, so that 5 runs on 2 cores can be 5 devices between which the operating system divides the time.
"""

import contextlib
import os
from collections.abc import Callable, Sequence
from functools import partial, update_wrapper
from typing import Any, NamedTuple, cast

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding

from qllm_jax.errors import UserError

AXIS = "runs"
EACH, SAME = PartitionSpec(AXIS), PartitionSpec()  # of an argument: split by runs; whole on every device
STATIC = None  # of an argument that is no array


CROWD, MOST = 4, 32  # devices a core, and no more than so many beyond one a core


class Pool(NamedTuple):
    """The devices that may share the runs, and how many of them can work at the same time."""

    devices: int = 1
    workers: int = 1


ALONE = Pool()


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def use_cores() -> None:
    """Offer the CPU cores of this process as devices, unless the user has said how many there are.

    Works before the first device is used; after that it changes nothing. Accelerators are not touched.
    """
    if cast(Any, jax.config).jax_num_cpu_devices > 0 or "host_platform_device_count" in os.environ.get("XLA_FLAGS", ""):
        return
    with contextlib.suppress(RuntimeError):  # there are devices already
        jax.config.update("jax_num_cpu_devices", max(cores(), min(CROWD * cores(), MOST)))


def pool(wanted: int | str) -> Pool:
    """The devices that may share the runs: all of this process for "auto". UserError for more than there are."""
    available = jax.local_device_count()
    if wanted != "auto" and (isinstance(wanted, str) or not 1 <= wanted <= available):
        raise UserError(f"devices must be auto or a number from 1 to {available}, as many as there are; got {wanted!r}")
    if wanted != "auto":
        return Pool(int(wanted), int(wanted))
    is_cpu = jax.local_devices()[0].platform == "cpu"
    return Pool(available, min(available, cores()) if is_cpu else available)


def used(n_runs: int, pool: Pool) -> int:
    """The devices that train: the fewest that keep all workers busy with the fewest runs, spare ones counted."""
    counts = range(min(n_runs, pool.workers), min(n_runs, pool.devices) + 1)
    rows = lambda n: n * -(-n_runs // n)
    n = min(counts, key=lambda n: (rows(n), n))
    return -(-n_runs // -(-n_runs // n))


def share(n_runs: int, pool: Pool) -> int:
    """Runs on each device that trains."""
    return -(-n_runs // used(n_runs, pool))


def spare(n_runs: int, pool: Pool) -> int:
    """Runs to add so that each device has equally many."""
    return used(n_runs, pool) * share(n_runs, pool) - n_runs


def sentence(n_runs: int, pool: Pool) -> str:
    """Which devices train, in words; "" where there is no choice."""
    if pool.devices == 1 or n_runs == 1:
        return ""
    text = f"{n_runs} runs on {used(n_runs, pool)} devices, {share(n_runs, pool)} on each"
    n_spare = spare(n_runs, pool)
    return text if not n_spare else f"{text}, {n_spare} of them spare: {n_runs + n_spare} runs take no longer"


def split(function: Callable[..., Any], pool: Pool, ins: Sequence[Any], outs: Any) -> Callable[..., Any]:
    """`function`, with its runs shared out over the devices of a pool. How many is decided by the runs of a call.

    `ins` and `outs` say of each argument and result whether it is EACH, SAME or STATIC.
    """
    if pool.devices == 1:
        return function
    return update_wrapper(partial(_on_devices, function, pool, ins, outs), function)


def _on_devices(function: Callable[..., Any], pool: Pool, ins: Sequence[Any], outs: Any, *args: Any) -> Any:
    mesh = mesh_of(runs_of(next(arg for arg, kind in zip(args, ins, strict=True) if kind is EACH)), pool)
    if mesh is None:
        return function(*args)
    places = [i for i, kind in enumerate(ins) if kind is not STATIC]

    def on_one(*arrays: Any) -> Any:
        given = dict(zip(places, arrays, strict=True))
        return function(*(given.get(i, arg) for i, arg in enumerate(args)))

    # Without check_vma, which would have every scan's initial carry marked as varying over runs.
    mapped = jax.shard_map(on_one, mesh=mesh, in_specs=tuple(ins[i] for i in places), out_specs=outs, check_vma=False)
    return mapped(*(args[i] for i in places))


def runs_of(tree: Any) -> int:
    """The length of the leading axis."""
    return jax.tree.leaves(tree)[0].shape[0]


def mesh_of(n_runs: int, pool: Pool) -> Mesh | None:
    """The devices that train so many runs, of this process alone; None for a single one. See `spare`."""
    n = used(n_runs, pool)
    return Mesh(np.asarray(jax.local_devices()[:n]), (AXIS,)) if n > 1 else None


def placed(tree: Any, kind: PartitionSpec, n_runs: int, pool: Pool) -> Any:
    """Shapes of a tree with the places of its arrays, for reading it from a checkpoint of any number of devices."""
    mesh = mesh_of(n_runs, pool)
    first = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    place: Sharding = first if mesh is None else NamedSharding(mesh, kind)
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), tree)


def resized(tree: Any, n_runs: int) -> Any:
    """Shapes with another number of runs, all on the first device."""
    first = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct((n_runs, *x.shape[1:]), x.dtype, sharding=first), tree)
