"""The run axis over the devices of this process: each trains its share of the runs, and none waits for another.

A run needs nothing of another run, so the programs are `jax.shard_map`s without a collective in them. On a CPU each
core is a device (`use_cores`): two cores that train runs of their own are up to twice as fast as two that share each
small operation of one program, which is what XLA does otherwise.
"""

import contextlib
import os
from collections.abc import Callable, Sequence
from functools import partial, update_wrapper
from typing import Any, cast

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding

from qllm_jax.errors import UserError

AXIS = "runs"
EACH, SAME = PartitionSpec(AXIS), PartitionSpec()  # of an argument: split by runs; whole on every device
STATIC = None  # of an argument that is no array


def use_cores() -> None:
    """Make each CPU core of this process a device, unless the user has said how many there are.

    Works before the first device is used; after that it changes nothing. Accelerators are not touched.
    """
    if cast(Any, jax.config).jax_num_cpu_devices > 0 or "host_platform_device_count" in os.environ.get("XLA_FLAGS", ""):
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(RuntimeError):  # there are devices already
        jax.config.update("jax_num_cpu_devices", cores)


def count(wanted: int | str) -> int:
    """How many devices may share the runs: all of this process for "auto". UserError for more than there are."""
    available = jax.local_device_count()
    if wanted == "auto":
        return available
    if isinstance(wanted, str) or not 1 <= wanted <= available:
        raise UserError(f"devices must be auto or a number from 1 to {available}, as many as there are; got {wanted!r}")
    return wanted


def share(n_runs: int, limit: int) -> int:
    """Runs on each device when up to `limit` train."""
    return -(-n_runs // min(n_runs, limit))


def used(n_runs: int, limit: int) -> int:
    """The devices that train: the fewest of `limit` on which none has more runs than with all of them."""
    return -(-n_runs // share(n_runs, limit))


def spare(n_runs: int, limit: int) -> int:
    """Runs to add so that each device has equally many: they take no time that the others do not take."""
    return used(n_runs, limit) * share(n_runs, limit) - n_runs


def sentence(n_runs: int, limit: int) -> str:
    """Which devices train, in words; "" where there is no choice."""
    if limit == 1 or n_runs == 1:
        return ""
    text = f"{n_runs} runs on {used(n_runs, limit)} of {limit} devices, {share(n_runs, limit)} on each"
    n_spare = spare(n_runs, limit)
    return text if not n_spare else f"{text}, {n_spare} of them spare: {n_runs + n_spare} runs take no longer"


def split(function: Callable[..., Any], limit: int, ins: Sequence[Any], outs: Any) -> Callable[..., Any]:
    """`function`, with its runs shared out over at most `limit` devices. How many is decided by the runs of a call.

    `ins` and `outs` say of each argument and result whether it is EACH, SAME or STATIC.
    """
    if limit == 1:
        return function
    return update_wrapper(partial(_on_devices, function, limit, ins, outs), function)


def _on_devices(function: Callable[..., Any], limit: int, ins: Sequence[Any], outs: Any, *args: Any) -> Any:
    mesh = mesh_of(runs_of(next(arg for arg, kind in zip(args, ins, strict=True) if kind is EACH)), limit)
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


def mesh_of(n_runs: int, limit: int) -> Mesh | None:
    """The devices that train so many runs, of this process alone; None for a single one. See `spare`."""
    n = used(n_runs, limit)
    return Mesh(np.asarray(jax.local_devices()[:n]), (AXIS,)) if n > 1 else None


def placed(tree: Any, kind: PartitionSpec, n_runs: int, limit: int) -> Any:
    """Shapes of a tree with the places of its arrays, for reading it from a checkpoint of any number of devices."""
    mesh = mesh_of(n_runs, limit)
    first = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    place: Sharding = first if mesh is None else NamedSharding(mesh, kind)
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), tree)


def resized(tree: Any, n_runs: int) -> Any:
    """Shapes with another number of runs, all on the first device."""
    first = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct((n_runs, *x.shape[1:]), x.dtype, sharding=first), tree)
