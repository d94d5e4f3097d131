"""The run axis sharded over the devices of this process: each device trains its own runs, without communication.

Runs are independent, so the programs are `jax.shard_map`s without collectives. On a CPU, the cores are offered as
several devices (`use_cores`): two cores that train runs of their own are up to twice as fast as two cores that share
each small operation of one program, which is XLA's default. There are more devices than cores, so that 5 runs on 2
cores can be 5 devices, among which the operating system divides the time.
"""

import contextlib
import os
from collections.abc import Callable, Sequence
from functools import partial, update_wrapper
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding

from qllm_jax.core.gru import MAX_KERNEL_HIDDEN
from qllm_jax.errors import UserError

AXIS = "runs"
# Kinds of arguments and results of a program: split along the run axis, whole on every device, or no array.
SHARDED, REPLICATED, STATIC_ARG = PartitionSpec(AXIS), PartitionSpec(), None
AMPERE = 8.0  # compute capability, the lowest for which Pallas compiles
DEVICES_PER_CORE, MAX_CPU_DEVICES = 4, 32  # with more cores than that: one device per core


class Pool(NamedTuple):
    """The devices that may share the runs, and the number of them that can work at the same time."""

    devices: int = 1
    workers: int = 1


ONE_DEVICE = Pool()


def cores() -> int:
    """Number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def use_cores() -> None:
    """Offer the CPU cores of this process as devices, unless the user set the number of devices.

    Call it before the first device is used: later calls change nothing. Accelerators are not touched.
    """
    if cast(Any, jax.config).jax_num_cpu_devices > 0 or "host_platform_device_count" in os.environ.get("XLA_FLAGS", ""):
        return
    with contextlib.suppress(RuntimeError):  # the devices exist already
        jax.config.update("jax_num_cpu_devices", max(cores(), min(DEVICES_PER_CORE * cores(), MAX_CPU_DEVICES)))


def make_pool(requested: int | str) -> Pool:
    """The devices that may share the runs; "auto": all of this process. UserError if there are fewer than requested."""
    available = jax.local_device_count()
    if requested != "auto" and (isinstance(requested, str) or not 1 <= requested <= available):
        raise UserError(
            f"devices must be auto or a number from 1 to {available}, as many as there are; got {requested!r}"
        )
    if requested != "auto":
        return Pool(int(requested), int(requested))
    is_cpu = jax.local_devices()[0].platform == "cpu"
    return Pool(available, min(available, cores()) if is_cpu else available)


def unroll_by(requested: str, hidden_dim: int, device: Any = None) -> str:
    """Return the implementation of unrolls, see `Agent.unroll_by`, on `device`; None: the first of this process.

    "auto" is "pallas" on NVIDIA GPUs from Ampere on for networks that are not too wide, else "scan". UserError for
    "pallas" with a wider network, or on an older GPU or another accelerator; a CPU interprets it.
    """
    device = device or jax.local_devices()[0]
    is_cuda = "cuda" in str(device.client.platform_version).lower()
    narrow = hidden_dim <= MAX_KERNEL_HIDDEN
    if requested == "pallas" and not narrow:
        raise UserError(f"unroll=pallas takes algo.hidden_dim up to {MAX_KERNEL_HIDDEN}, not {hidden_dim}")
    if requested == "pallas" and not (is_cuda or device.platform == "cpu"):
        raise UserError(f"unroll=pallas needs an NVIDIA GPU, not {device.device_kind}: set unroll=auto or unroll=scan")
    is_new = is_cuda and float(device.compute_capability) >= AMPERE
    if requested == "pallas" and is_cuda and not is_new:
        needs = f"unroll=pallas needs an NVIDIA GPU of compute capability {AMPERE:g} or more"
        raise UserError(f"{needs}, not {device.compute_capability}: set unroll=auto or unroll=scan")
    if requested != "auto":
        return requested
    return "pallas" if narrow and is_new else "scan"


def n_used(n_runs: int, pool: Pool) -> int:
    """Number of devices that train: the fewest that keep all workers busy with the fewest rows, spare ones included."""
    counts = range(min(n_runs, pool.workers), min(n_runs, pool.devices) + 1)
    rows = lambda n: n * -(-n_runs // n)
    n = min(counts, key=lambda n: (rows(n), n))
    return -(-n_runs // -(-n_runs // n))


def runs_per_device(n_runs: int, pool: Pool) -> int:
    """Number of runs on each device that trains."""
    return -(-n_runs // n_used(n_runs, pool))


def n_spare(n_runs: int, pool: Pool) -> int:
    """Number of spare runs to append, so that all devices have equally many."""
    return n_used(n_runs, pool) * runs_per_device(n_runs, pool) - n_runs


def describe(n_runs: int, pool: Pool) -> str:
    """The distribution of the runs over devices as text; "" for one run or one device."""
    if pool.devices == 1 or n_runs == 1:
        return ""
    text = f"{n_runs} runs on {n_used(n_runs, pool)} devices, {runs_per_device(n_runs, pool)} on each"
    spare = n_spare(n_runs, pool)
    return text if not spare else f"{text}, {spare} of them spare: {n_runs + spare} runs take no longer"


def shard_runs(function: Callable[..., Any], pool: Pool, ins: Sequence[Any], outs: Any) -> Callable[..., Any]:
    """Shard `function` along the run axis over the devices of a pool; each call uses as many as its runs need.

    `ins` and `outs` give the kind of each argument and result: SHARDED, REPLICATED or STATIC_ARG, or for a record one
    of the first two for each field.
    """
    if pool.devices == 1:
        return function
    return update_wrapper(partial(_call_sharded, function, pool, ins, outs), function)


def _call_sharded(function: Callable[..., Any], pool: Pool, ins: Sequence[Any], outs: Any, *args: Any) -> Any:
    of_runs = next(
        arg for arg, kind in zip(args, ins, strict=True) if kind is not REPLICATED and kind is not STATIC_ARG
    )
    mesh = mesh_for(jax.tree.leaves(of_runs)[0].shape[0], pool)
    if mesh is None:
        return function(*args)
    indices = [i for i, kind in enumerate(ins) if kind is not STATIC_ARG]

    def on_one_device(*arrays: Any) -> Any:
        array_of = dict(zip(indices, arrays, strict=True))
        return function(*(array_of.get(i, arg) for i, arg in enumerate(args)))

    # Without check_vma, which would have every scan's initial carry marked as varying over runs.
    specs = tuple(ins[i] for i in indices)
    mapped = jax.shard_map(on_one_device, mesh=mesh, in_specs=specs, out_specs=outs, check_vma=False)
    return mapped(*(args[i] for i in indices))


def mesh_for(n_runs: int, pool: Pool) -> Mesh | None:
    """The mesh of the devices that train `n_runs` runs; None for a single device."""
    n = n_used(n_runs, pool)
    return Mesh(np.asarray(jax.local_devices()[:n]), (AXIS,)) if n > 1 else None


def with_sharding(tree: Any, kind: PartitionSpec, n_runs: int, pool: Pool) -> Any:
    """Shapes of a tree with the sharding of its arrays, to restore a checkpoint that any number of devices wrote."""
    mesh = mesh_for(n_runs, pool)
    first = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    sharding: Sharding = first if mesh is None else NamedSharding(mesh, kind)
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), tree)


def on_host(tree: Any, n_runs: int) -> Any:
    """Arrays of NumPy in the shapes of a tree, but with `n_runs` runs, to restore what no single device may hold.

    They take no memory until they are written. Random keys, which NumPy does not have, are on the first device.
    """
    first = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])

    def one(x: jax.ShapeDtypeStruct) -> Any:
        shape = (n_runs, *x.shape[1:])
        is_key = jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
        return jax.ShapeDtypeStruct(shape, x.dtype, sharding=first) if is_key else np.empty(shape, x.dtype)

    return jax.tree.map(one, tree)
