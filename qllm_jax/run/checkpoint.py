"""Checkpoint format: `checkpoints/step_<env steps>/` holds the training state; a resumed run continues exactly.

Each is an orbax directory with one pytree, `TrainState`, and the counters of the host, `HostState`, as its metadata:

    clock/{env_steps,episodes,updates}                      counters that all runs share
    runs/key                                                random key of each run (R,)
    runs/learner/{params,target_params,opt_state,...}       see `LearnerState`; leaves (R, ...)
    runs/storage/...                                        replay buffer; none of a dataset, which has its own file
    runs/best_params, runs/best_return                      of each run's best evaluation
    runs/fault/...                                          see `guard.Fault`; all other arrays are finite

R counts spare runs too (see `devices.n_spare`). `SHA256SUMS` in it has the digest of each other file, as `sha256sum -c`
reads them: a checkpoint is whole if they match. The newest two are kept, so that one is left if the disk damages the
other. The orbax v1 API is young, so only this module and stored_tree.py use it.
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
from qllm_jax.run import stored_tree

SUMS = "SHA256SUMS"
KEPT = 2  # newest checkpoints
WRITING = "writing"  # the folder of a checkpoint that is not complete


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
    unread = jax.tree.map(lambda _: stored_tree.UNREAD, like.runs.storage)
    return like._replace(runs=like.runs._replace(storage=unread))


def restore(path: Path, like: TrainState) -> tuple[TrainState, HostState]:
    """Read a checkpoint with the shapes and shardings of `like` (see `compiled.shapes`), but for UNREAD arrays.

    Where `like` has an array of NumPy, so has the result. In a checkpoint without a replay `storage` is that of `like`.
    In one by a version without `RunState.fault` no run has failed. UserError if shapes differ.
    """
    asked = like
    with quiet_orbax():
        metadata = ocp.metadata(str(path))
        names = stored_tree.leaves_by_name(metadata.metadata)
        has = lambda part: any(name.startswith(f"runs/{part}/") for name in names)
        if is_old := not has("fault"):
            asked = with_fault(like, None)
        stored_tree.check_shapes(path, metadata.metadata, asked)
        if not (has_replay := has("storage")):
            asked = asked._replace(runs=asked.runs._replace(storage=None))
        state = stored_tree.as_here(ocp.load(str(path), stored_tree.as_stored(asked, metadata.metadata)), asked)
        if not has_replay:
            state = state._replace(runs=state.runs._replace(storage=like.runs.storage))
    if is_old:
        zeros = jax.tree.map(
            lambda x: jnp.zeros(x.shape, x.dtype, device=getattr(x, "sharding", None)), like.runs.fault
        )
        state = with_fault(state, zeros._replace(env_steps=zeros.env_steps + guard.NONE))
    return state, host_counters(metadata)


def with_fault(state: TrainState, fault: guard.Fault | None) -> TrainState:
    """`state` with another record of what has failed."""
    return state._replace(runs=state.runs._replace(fault=cast(guard.Fault, fault)))


def host_state(path: Path) -> HostState:
    """Read the counters of the host alone."""
    with quiet_orbax():
        return host_counters(ocp.metadata(str(path)))


def host_counters(metadata: Any) -> HostState:
    """The counters of the host in the metadata of a checkpoint."""
    found = cast(dict[str, Any], metadata.custom_metadata)
    return HostState(**{name: found[name] for name in HostState._fields if name in found})


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
