"""Weights & Biases: one wandb run per run, all charts on the axis `env_steps`, grouped by folder and configuration.

Imported only if wandb is enabled.
"""

import hashlib
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from qllm_envs import outside
from qllm_jax import files
from qllm_jax.config import Config, WandbConfig
from qllm_jax.errors import UserError
from qllm_jax.program import run_axis
from qllm_jax.program.run_axis import Run
from qllm_jax.run import folder as run_folder

AXIS = "env_steps"  # x axis of every chart: environment steps per run


class WandbSink(NamedTuple):
    """`write(records)` sends records of `log.records`; `close()` ends the wandb runs."""

    write: Callable[[list[dict[str, Any]]], None]
    close: Callable[[], None]


def check(settings: WandbConfig) -> None:
    """Log in for wandb.mode=online, by a key or at the terminal, before a folder is made. UserError if refused."""
    if settings.mode != "online":
        return
    import wandb

    try:
        wandb.login(verify=True)
    except wandb.Error as error:
        raise refusal(error) from error


def refusal(error: Exception) -> UserError:
    """The sentence for what wandb refuses."""
    reason = str(error).strip().partition("\n")[0].rstrip(".")
    return UserError(f"wandb: {reason}; wandb.mode=offline needs no account, also with resume=RUN")


def make(config: Config, folder: Path) -> WandbSink:
    """The sink of a run folder, which does nothing if wandb is disabled. UserError if wandb refuses."""
    if config.wandb.mode == "disabled":
        return WandbSink(write=lambda records: None, close=lambda: None)
    import wandb

    os.environ.setdefault("WANDB_SILENT", "true")
    try:
        runs = [start(wandb, config, folder, i, run) for i, run in enumerate(run_axis.runs(config))]
    except wandb.Error as error:
        raise refusal(error) from error

    def write(records: list[dict[str, Any]]) -> None:
        for run, record in zip(runs, records, strict=True):
            # With its own step, a record that is logged again after a crash replaces nothing and is not counted twice:
            # wandb keeps the first.
            run.log(charts(record), step=record[AXIS])

    def close() -> None:
        for run in runs:
            run.finish()

    return WandbSink(write, close)


def charts(record: dict[str, Any]) -> dict[str, Any]:
    """A record as wandb gets it: the axis, and one chart for each number, like `eval/return`."""
    numbers = {k: v for k, v in record.items() if isinstance(v, int | float) and k not in ("seed", AXIS)}
    return {AXIS: record[AXIS], **{f"{record['event']}/{key}": value for key, value in numbers.items()}}


def start(wandb: Any, config: Config, folder: Path, i: int, run: Run) -> Any:
    """Start one wandb run. Its id is a hash of the folder's and of the run's index in it: a resumed run continues it.

    A folder that was made again at the same path has another id; wandb takes no id of a run that was deleted.
    """
    made = files.read_json(folder / run_folder.META).get(run_folder.ID, folder.resolve())  # older runs have none
    identity = hashlib.sha256(f"{made}:{i}".encode()).hexdigest()[:16]
    group = config.wandb.group or (folder.parent if config.part else folder).name
    name = f"{config.algo.name}-{outside.label(config.env['name'])}"
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
        config={**asdict(run_axis.config_of(run, config)), "run": run.seed},
    )
    started.define_metric(AXIS)
    started.define_metric("*", step_metric=AXIS)
    return started
