"""Checkpoint format: `checkpoints/step_<env steps>/` holds the training state; a resumed run continues exactly.

Each is an orbax directory with one pytree, `TrainState`, and the counters of the host, `HostState`, as its metadata:

    clock/{env_steps,episodes,updates}                      counters that all runs share
    runs/key                                                random key of each run (R,)
    runs/learner/{params,target_params,opt_state,...}       see `LearnerState`; leaves (R, ...)
    runs/storage/...                                        replay buffer
    runs/best_params, runs/best_return                      of each run's best evaluation
    runs/fault/...                                          see `guard.Fault`; all other arrays are finite

R counts spare runs too (see `devices.n_spare`). `SHA256SUMS` in it has the digest of each other file, as `sha256sum -c`
reads them: a checkpoint is whole if they match. The newest two are kept, so that one is left if the disk damages the
other. The orbax v1 API is young, so this module is the only one that calls it.
"""

import contextlib
import gc
import logging
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
from orbax.checkpoint import v1 as ocp

from qllm_jax import files
from qllm_jax.core.types import Clock
from qllm_jax.errors import UserError
from qllm_jax.program import guard
from qllm_jax.program.one_run import RunState

SUMS = "SHA256SUMS"
KEPT = 2  # newest checkpoints
WRITING = "writing"  # the folder of a checkpoint that is not complete
UNREAD: Any = ocp.PLACEHOLDER  # in place of an array that is not read


class TrainState(NamedTuple):
    """The state of the compiled program, as a checkpoint holds it."""

    clock: Clock
    runs: RunState  # leaves (R, ...)


class HostState(NamedTuple):
    """The counters of the host: the size of each log that the checkpoint covers, and the wall time so far."""

    metrics_bytes: int
    timing_bytes: int
    elapsed_s: float
    spare: int = 0  # runs at the end of the axis that are copies of the last one (see devices.n_spare)
    metrics_sha256: str = ""  # of the log up to that size; "": by a version that wrote neither these nor SHA256SUMS
    timing_sha256: str = ""


def save(folder: Path, state: TrainState, host: HostState) -> None:
    """Write `folder/step_<env steps>`, then remove older checkpoints. UserError if the disk refuses.

    A checkpoint gets its name when it is complete, and older ones are removed after that. A damaged one is replaced.
    """
    step = int(state.clock.env_steps)
    target = (folder / f"step_{step:012d}").resolve()
    if target.exists() and not damage(target):
        return
    try:
        written = target.parent / WRITING / target.name
        shutil.rmtree(written.parent, ignore_errors=True)
        with quiet_orbax():
            ocp.save(str(written), state, custom_metadata=host._asdict())
        files.write_atomically(written / SUMS, "".join(f"{sha}  {name}\n" for name, sha in sums(written).items()))
        shutil.rmtree(target, ignore_errors=True)
        written.rename(target)
    # Orbax and tensorstore report a failed write as OSError, ValueError or a bare Exception.
    except Exception as error:
        before = latest(folder)
        remove_incomplete(folder)
        kept = f"the checkpoint of step {step_of(before):,} is intact" if before else "there is no earlier checkpoint"
        message = f"could not write the checkpoint of step {step:,} ({failure_reason(error)}); {kept}; "
        raise UserError(f"{message}when there is room: python -m qllm_jax.train resume={folder.parent}") from error
    remove_incomplete(folder)
    # One of a later step is damaged: training went on from before it.
    older = [path for path in newest_first(folder) if step_of(path) <= step]
    for path in {*newest_first(folder)} - {*older[:KEPT]}:
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def quiet_orbax() -> Iterator[None]:
    """Suppress the tracebacks that orbax logs or prints from its threads: the caller reports the failure."""
    absl, hook, before = logging.getLogger("absl"), threading.excepthook, set(threading.enumerate())
    level, unraisable = absl.level, sys.unraisablehook
    try:
        absl.setLevel(logging.CRITICAL)
        threading.excepthook = sys.unraisablehook = lambda args: None
        yield
    except Exception:
        # Each device's arrays have a thread of their own; the last ones fail after the first one's error is here.
        for thread in set(threading.enumerate()) - before:
            thread.join(2.0)
        gc.collect()  # coroutines that its event loop left behind
        raise
    finally:
        absl.setLevel(level)
        threading.excepthook, sys.unraisablehook = hook, unraisable


def failure_reason(error: Exception) -> str:
    """The message of the operating system if there is one, else the first line of the error."""
    text = str(error).strip() or type(error).__name__
    known = (os.strerror(code) for code in files.DISK_ERRORS)
    return next((words for words in known if words in text), text.splitlines()[0][:200])


def remove_incomplete(folder: Path) -> None:
    """Remove what a kill or a full disk left of a checkpoint."""
    for path in (folder / WRITING, *(p for p in folder.glob("step_*") if not is_named(p))):
        shutil.rmtree(path, ignore_errors=True)


def without_replay(like: TrainState) -> TrainState:
    """`like` for a `restore` that does not read the replay, most of a checkpoint: `UNREAD` in place of its arrays."""
    unread = jax.tree.map(lambda _: UNREAD, like.runs.storage)
    return like._replace(runs=like.runs._replace(storage=unread))


def restore(path: Path, like: TrainState) -> tuple[TrainState, HostState]:
    """Read a checkpoint with the shapes and shardings of `like` (see `compiled.shapes`), but for UNREAD arrays.

    UserError if shapes differ.
    """
    with quiet_orbax():
        metadata = ocp.metadata(str(path))
        if not any(name.startswith("runs/fault/") for name in leaves_by_name(metadata.metadata)):
            return restore_without_fault(path, metadata, like)
        check_shapes(path, metadata.metadata, like)
        state = as_here(ocp.load(str(path), as_stored(like, metadata.metadata)), like)
    return state, host_counters(metadata)


def restore_without_fault(path: Path, metadata: Any, like: TrainState) -> tuple[TrainState, HostState]:
    """`restore` of a checkpoint by a version without `RunState.fault`: no run has failed."""
    without = like._replace(runs=like.runs._replace(fault=cast(guard.Fault, None)))
    check_shapes(path, metadata.metadata, without)
    state = as_here(ocp.load(str(path), as_stored(without, metadata.metadata)), without)
    nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype, device=x.sharding), like.runs.fault)
    fault = nothing._replace(env_steps=nothing.env_steps + guard.NONE)
    return state._replace(runs=state.runs._replace(fault=fault)), host_counters(metadata)


def as_stored(like: Any, stored: Any) -> Any:
    """Return `like` in the dicts of a checkpoint, without fields that are None here and that it does not have.

    A version without `Episode.credit_t`, for example, wrote no None for it.
    """
    if not (hasattr(like, "_asdict") and isinstance(stored, dict)):
        return like
    fields = like._asdict().items()
    return {name: as_stored(value, stored.get(name)) for name, value in fields if name in stored or value is not None}


def as_here(loaded: Any, like: Any) -> Any:
    """Return what `as_stored` gave, loaded, in the records of `like`."""
    if not (hasattr(like, "_asdict") and isinstance(loaded, dict)):
        return loaded
    fields = like._asdict().items()
    return type(like)(**{name: as_here(loaded[name], value) if name in loaded else None for name, value in fields})


def host_state(path: Path) -> HostState:
    """Read the counters of the host alone."""
    with quiet_orbax():
        return host_counters(ocp.metadata(str(path)))


def host_counters(metadata: Any) -> HostState:
    """The counters of the host in the metadata of a checkpoint."""
    found = cast(dict[str, Any], metadata.custom_metadata)
    return HostState(**{name: found[name] for name in HostState._fields if name in found})


def check_shapes(path: Path, stored: Any, like: TrainState) -> None:
    """UserError that names the first array whose stored shape differs from the expected one."""
    expected = {name: None if leaf is UNREAD else stored_shape(leaf) for name, leaf in leaves_by_name(like).items()}
    unread = {name for name, shape in expected.items() if shape is None}
    found = {name: tuple(leaf.shape) for name, leaf in leaves_by_name(stored).items()}
    for name in sorted((found.keys() | expected.keys()) - unread):
        have, want = found.get(name), expected.get(name)
        if have != want:
            raise UserError(
                f"checkpoint {path} does not fit its run: {name} is {describe_shape(have)} there and must be "
                f"{describe_shape(want)}; config.yaml, the environment or the code changed since it was written"
            )


def describe_shape(shape: tuple[int, ...] | None) -> str:
    """A shape as text; None: the leaf does not exist."""
    return "absent" if shape is None else f"of shape {shape}"


def stored_shape(x: Any) -> tuple[int, ...]:
    """The shape in a checkpoint: a typed PRNG key is stored as its raw words."""
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        return tuple(jax.eval_shape(jax.random.key_data, x).shape)
    return tuple(x.shape)


def leaves_by_name(tree: Any) -> dict[str, Any]:
    """Leaves by name, like `runs/learner/params`: NamedTuple fields, dict keys or indices, separated by slashes."""
    leaves = jax.tree_util.tree_flatten_with_path(tree, is_leaf=lambda x: hasattr(x, "shape"))[0]
    part = lambda k: str(getattr(k, "name", getattr(k, "key", getattr(k, "idx", k))))
    return {"/".join(part(k) for k in path): leaf for path, leaf in leaves}


def latest(folder: Path) -> Path | None:
    """Path of the newest whole checkpoint; None if there is none."""
    return next((path for path in newest_first(folder) if not damage(path)), None)


def newest_first(folder: Path) -> list[Path]:
    """Paths of the checkpoints, whole or damaged, newest first."""
    return sorted((path.resolve() for path in folder.glob("step_*") if is_named(path)), reverse=True)


def is_named(path: Path) -> bool:
    """True for the name of a checkpoint, which one that is being written does not have."""
    return path.name.removeprefix("step_").isdigit()


def damage(path: Path) -> str:
    """Return the damage of a checkpoint's files in words; "" for a whole one. All of them are read."""
    try:
        if not (path / SUMS).is_file():
            return "" if not host_state(path).metrics_sha256 else f"{SUMS} is missing"
        recorded = [line.split("  ", 1) for line in files.read_text(path / SUMS).splitlines()]
        expected = {name: sha for sha, name in recorded}
        found = sums(path)
    # Orbax raises what its parsers raise.
    except Exception as error:
        return failure_reason(error)
    differ = [name for name in sorted(expected) if found.get(name) != expected[name]]
    what = "differs from its checksum" if differ and differ[0] in found else "is missing"
    return f"{differ[0]} {what}" if differ else "" if expected else f"{SUMS} is empty"


def sums(path: Path) -> dict[str, str]:
    """SHA-256 of each file of a checkpoint but SUMS, by its path in it."""
    found = (p for p in sorted(path.rglob("*")) if p.is_file() and p != path / SUMS)
    return {p.relative_to(path).as_posix(): files.digest(p).hexdigest() for p in found}


def step_of(path: Path) -> int:
    """Environment steps per run at a checkpoint, from its name."""
    return int(path.name.removeprefix("step_"))
