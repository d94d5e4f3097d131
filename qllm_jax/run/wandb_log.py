"""Weights & Biases: one run a seed, grouped (in a sweep by configuration), on an axis of environment steps.

Imported only when it is asked for.
"""

import hashlib
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from qllm_jax.config import Config
from qllm_jax.errors import UserError
from qllm_jax.program import run_axis
from qllm_jax.program.run_axis import Run


class WandbSink(NamedTuple):
    """`write(records)` sends records of `log.per_run`; `close()` ends the runs."""

    write: Callable[[list[dict[str, Any]]], None]
    close: Callable[[], None]


def make(config: Config, folder: Path) -> WandbSink:
    """The sink of a run; one that does nothing when wandb is disabled. UserError when wandb refuses."""
    if config.wandb.mode == "disabled":
        return WandbSink(write=lambda records: None, close=lambda: None)
    import wandb

    os.environ.setdefault("WANDB_SILENT", "true")
    try:
        runs = [start(wandb, config, folder, i, run) for i, run in enumerate(run_axis.runs(config))]
    except wandb.Error as error:
        raise UserError(f"wandb: {error}; wandb.mode=offline needs no account") from error

    def write(records: list[dict[str, Any]]) -> None:
        for run, record in zip(runs, records, strict=True):
            values = {k: v for k, v in record.items() if isinstance(v, int | float) and k not in ("seed", "env_steps")}
            named = {f"{record['event']}/{key}": value for key, value in values.items()}
            run.log({"env_steps": record["env_steps"], **named})

    def close() -> None:
        for run in runs:
            run.finish()

    return WandbSink(write, close)


def start(wandb: Any, config: Config, folder: Path, i: int, run: Run) -> Any:
    """One wandb run. Its id comes from the folder and its place in it, so a resumed run continues it."""
    identity = hashlib.sha256(f"{folder.resolve()}:{i}".encode()).hexdigest()[:16]
    group = config.wandb.group or (folder.parent if config.part else folder).name
    name = f"{config.algo.name}-{config.env['name']}"
    started = wandb.init(
        project=config.wandb.project,
        entity=config.wandb.entity,
        group=f"{group} {run.label}".rstrip(),
        name="-".join([name, *([run.label] if run.label else []), f"seed{run.seed}"]),
        id=identity,
        resume="allow",
        reinit="create_new",
        mode=config.wandb.mode,
        dir=str(folder),
        config={**asdict(run_axis.alone(config, run)), "run": run.seed},
    )
    started.define_metric("env_steps")
    started.define_metric("*", step_metric="env_steps")
    return started
