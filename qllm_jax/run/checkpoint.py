"""Checkpoints (orbax) of parameters, targets, optimiser, buffer, keys and counters: a resumed run is the same run.

The orbax v1 API is young; this module is the only one that calls it.
"""

import contextlib
import logging
import os
import shutil
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
from qllm_jax.program.compiled import RunState


class Saved(NamedTuple):
    """What a checkpoint holds."""

    clock: Clock
    runs: RunState


class HostState(NamedTuple):
    """The host's side of a checkpoint: how much of each log it covers, and the wall time spent so far."""

    metrics_bytes: int
    timing_bytes: int
    elapsed_s: float
    spare: int = 0  # rows behind the runs that are copies of the last one (see devices.spare)


def save(folder: Path, saved: Saved, host: HostState) -> None:
    """Write `folder/step_<env steps>` and then remove the older ones. UserError when the disk refuses.

    A checkpoint appears under its name only when it is complete; the one before it is removed only then.
    """
    step = int(saved.clock.env_steps)
    target = (folder / f"step_{step:012d}").resolve()
    if target.exists():
        return
    try:
        with quiet():
            ocp.save(str(target), saved, custom_metadata=host._asdict())
    # Orbax and tensorstore report a failed write as OSError, ValueError or a bare Exception.
    except Exception as error:
        before = latest(folder)
        remove_all_but(before, folder)
        kept = f"the checkpoint of step {step_of(before):,} is intact" if before else "there is no earlier checkpoint"
        sentence = f"could not write the checkpoint of step {step:,} ({reason(error)}); {kept}; "
        raise UserError(f"{sentence}when there is room: python -m qllm_jax.train resume={folder.parent}") from error
    remove_all_but(target, folder)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No tracebacks, logged or of orbax's threads, of a failure that the caller tells in a sentence."""
    absl, hook, before = logging.getLogger("absl"), threading.excepthook, set(threading.enumerate())
    level = absl.level
    try:
        absl.setLevel(logging.CRITICAL)
        threading.excepthook = lambda args: None
        yield
    except Exception:
        # Each device's arrays have a thread of their own; the last ones fail after the first one's error is here.
        for thread in set(threading.enumerate()) - before:
            thread.join(2.0)
        raise
    finally:
        absl.setLevel(level)
        threading.excepthook = hook


def reason(error: Exception) -> str:
    """What the operating system said, or the first line of a longer story."""
    text = str(error).strip() or type(error).__name__
    known = (os.strerror(code) for code in files.DISK_ERRORS)
    return next((words for words in known if words in text), text.splitlines()[0][:200])


def remove_all_but(kept: Path | None, folder: Path) -> None:
    """Remove older checkpoints, and halves of one that a kill or a full disk left."""
    for path in folder.glob("step_*"):
        if kept is None or path.name != kept.name:
            shutil.rmtree(path, ignore_errors=True)


def restore(path: Path, like: Saved) -> tuple[Saved, HostState]:
    """Read a checkpoint shaped and placed as `like` (see `runs.shapes`). UserError when its shapes differ."""
    metadata = ocp.metadata(str(path))
    check_shapes(path, metadata.metadata, like)
    saved = ocp.load(str(path), like)
    return saved, HostState(**cast(dict[str, Any], metadata.custom_metadata))


def host_state(path: Path) -> HostState:
    """The host's side of a checkpoint alone."""
    return HostState(**cast(dict[str, Any], ocp.metadata(str(path)).custom_metadata))


def check_shapes(path: Path, stored: Any, like: Saved) -> None:
    """UserError that names the first array whose stored shape is not the expected one."""
    found = {name: tuple(leaf.shape) for name, leaf in by_name(stored).items()}
    wanted = {name: raw_shape(leaf) for name, leaf in by_name(like).items()}
    for name in sorted(found.keys() | wanted.keys()):
        have, want = found.get(name), wanted.get(name)
        if have != want:
            raise UserError(
                f"checkpoint {path} does not fit its run: {name} is {describe(have)} there and must be "
                f"{describe(want)}; config.yaml, the environment or the code changed since it was written"
            )


def describe(shape: tuple[int, ...] | None) -> str:
    """A shape in an error sentence."""
    return "absent" if shape is None else f"of shape {shape}"


def raw_shape(x: Any) -> tuple[int, ...]:
    """The stored shape: a typed PRNG key is stored as its raw words."""
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        return tuple(jax.eval_shape(jax.random.key_data, x).shape)
    return tuple(x.shape)


def by_name(tree: Any) -> dict[str, Any]:
    """Leaves by slash-separated path; NamedTuple fields, dict keys and indices all read the same."""
    leaves = jax.tree_util.tree_flatten_with_path(tree, is_leaf=lambda x: hasattr(x, "shape"))[0]
    part = lambda k: str(getattr(k, "name", getattr(k, "key", getattr(k, "idx", k))))
    return {"/".join(part(k) for k in path): leaf for path, leaf in leaves}


def latest(folder: Path) -> Path | None:
    """The newest complete checkpoint, None when there is none."""
    found = steps(folder)
    return found[-1] if found else None


def steps(folder: Path) -> list[Path]:
    """Complete checkpoints, oldest first."""
    if not folder.is_dir():
        return []
    found = (p.resolve() for p in folder.glob("step_*") if p.name.removeprefix("step_").isdigit())
    return sorted(p for p in found if ocp.is_orbax_checkpoint(str(p)))


def step_of(path: Path) -> int:
    """Environment steps per run at a checkpoint."""
    return int(path.name.removeprefix("step_"))
