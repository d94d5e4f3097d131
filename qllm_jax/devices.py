"""The run axis over the devices of this process: each trains its share of the runs, and none waits for another.

A run needs nothing of another run, so the programs are `jax.shard_map`s without a collective in them.
"""

from collections.abc import Callable, Sequence
from functools import partial, update_wrapper
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding

from qllm_jax.errors import UserError

AXIS = "runs"
EACH, SAME = PartitionSpec(AXIS), PartitionSpec()  # of an argument: split by runs; whole on every device
STATIC = None  # of an argument that is no array


def count(wanted: int | str) -> int:
    """How many devices may share the runs: all of this process for "auto". UserError for more than there are."""
    available = jax.local_device_count()
    if wanted == "auto":
        return available
    if isinstance(wanted, str) or not 1 <= wanted <= available:
        raise UserError(f"devices must be auto or a number from 1 to {available}, as many as there are; got {wanted!r}")
    return wanted


def used(n_runs: int, limit: int) -> int:
    """The devices that train: the most, up to `limit`, that give each equally many runs."""
    return max(n for n in range(1, min(n_runs, limit) + 1) if n_runs % n == 0)


def sentence(n_runs: int, limit: int) -> str:
    """Which devices train, in words; "" where there is no choice."""
    n = used(n_runs, limit)
    if limit == 1:
        return ""
    if n == min(limit, n_runs):
        return f"{n} devices, {n_runs // n} of {n_runs} runs on each"
    more = -(-n_runs // limit) * limit
    return f"{n} of {limit} devices: {n_runs} runs cannot be shared out evenly over more; {more} could, over all"


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
    """The devices that train so many runs, of this process alone; None for a single one."""
    n = used(n_runs, limit)
    return Mesh(np.asarray(jax.local_devices()[:n]), (AXIS,)) if n > 1 else None


def placed(tree: Any, kind: PartitionSpec, n_runs: int, limit: int) -> Any:
    """Shapes of a tree with the places of its arrays, for reading it from a checkpoint of any number of devices."""
    mesh = mesh_of(n_runs, limit)
    first = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    place: Sharding = first if mesh is None else NamedSharding(mesh, kind)
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), tree)
