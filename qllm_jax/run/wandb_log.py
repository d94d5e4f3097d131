"""Weights & Biases: one wandb run per run, all charts on the axis `env_steps`, grouped by folder and configuration.

Imported only if wandb is enabled.
"""

import hashlib
import os
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any

from qllm_envs import outside
from qllm_jax import config as configs
from qllm_jax import files
from qllm_jax.config import Config, WandbConfig
from qllm_jax.errors import UserError
from qllm_jax.program import run_axis
from qllm_jax.program.run_axis import Run
from qllm_jax.run import folder as run_folder
from qllm_jax.run.log import AXIS, Sink, charts


def check(settings: WandbConfig) -> None:
    """Log in for wandb.mode=online, by a key or at the terminal, before a folder is made. UserError if refused."""
    if settings.mode != "online":
        return
    import wandb

    try:
        wandb.login(verify=True)
    except wandb.Error as error:
        raise refusal(error) from error


def refusal(error: Exception, mode: str = "online") -> UserError:
    """The sentence for what wandb refuses."""
    reason = str(error).strip().partition("\n")[0].rstrip(".")
    hint = "; wandb.mode=offline needs no account, also with resume=RUN" if mode == "online" else ""
    return UserError(f"wandb: {reason}{hint}")


def check_film(config: Config, folder: Path) -> None:
    """UserError if a film of a run cannot be sent, as it has no wandb runs or wandb refuses."""
    if config.wandb.mode == "disabled":
        raise UserError(f"{folder} has no wandb runs: train with wandb.mode=offline or online, or without upload=true")
    check(config.wandb)
    if not os.access(folder, os.W_OK):
        raise UserError(f"{folder} cannot be written, and wandb keeps its files there: send the film from a copy")


def make(config: Config, folder: Path) -> Sink:
    """The sink of a run folder, which does nothing if wandb is disabled. UserError if wandb refuses."""
    if config.wandb.mode == "disabled":
        return Sink(write=lambda records: None, close=lambda: None)
    import wandb

    os.environ.setdefault("WANDB_SILENT", "true")
    try:
        runs = [start(wandb, config, folder, i, run) for i, run in enumerate(run_axis.runs(config))]
    except wandb.Error as error:
        raise refusal(error, config.wandb.mode) from error

    def write(records: list[dict[str, Any]]) -> None:
        for run, record in zip(runs, records, strict=True):
            # With its own step, a record that is logged again after a crash replaces nothing and is not counted twice:
            # wandb keeps the first.
            run.log(charts(record), step=record[AXIS])

    def close() -> None:
        for run in runs:
            run.finish()

    return Sink(write, close)


def start(wandb: Any, config: Config, folder: Path, i: int, run: Run) -> Any:
    """Start one wandb run. Its id is a hash of the folder's and of the run's index in it: a resumed run continues it.

    A folder that was made again at the same path has another id; wandb takes no id of a run that was deleted.
    """
    made = files.read_json(folder / run_folder.META).get(run_folder.ID, folder.resolve())  # older runs have none
    identity = hashlib.sha256(f"{made}:{i}".encode()).hexdigest()[:16]
    group = config.wandb.group or (folder.parent if run_folder.is_group(folder) else folder).name
    recorded = configs.read(folder / run_folder.CONFIG)  # a function by its name, where `config` has the folder's copy
    name = f"{config.algo.name}-{outside.label(recorded.env['name'])}"
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
        config={**asdict(run_axis.config_of(run_axis.runs(recorded)[i], recorded)), "run": run.seed},
    )
    started.define_metric(AXIS)
    started.define_metric("*", step_metric=AXIS)
    return started


def sync_line(config: Config, folder: Path) -> str:
    """The line that says how to send what an offline run has kept; "" for another mode."""
    if config.wandb.mode != "offline":
        return ""
    groups = "group_*/" if run_folder.group_ranges(folder) else ""
    return f"send to wandb: wandb sync {shlex.quote(str(folder))}/{groups}wandb/offline-run-*"


def send_film(config: Config, folder: Path, index: int, film: Path, env_steps: int, newest: int) -> None:
    """Send a film to the wandb run at `index` on the run axis. UserError if there is none.

    `env_steps` are those of the parameters that played, `newest` those of the newest checkpoint.
    """
    check_film(config, folder)
    import wandb

    os.environ.setdefault("WANDB_SILENT", "true")
    ranges = run_folder.group_ranges(folder)
    group = next((i for i, (start, stop) in enumerate(ranges) if start <= index < stop), None)
    own, first = (folder, 0) if group is None else (run_folder.group_folder(folder, group), ranges[group][0])
    try:
        started = start(wandb, config, own, index - first, run_axis.runs(config)[index])
        # An offline run does not know the step at which the run stands; online, wandb goes on after its last one.
        step = newest if config.wandb.mode == "offline" else None
        started.log({AXIS: env_steps, "episode": wandb.Video(str(film), format="gif")}, step=step)
        started.finish()
    except wandb.Error as error:
        raise refusal(error, config.wandb.mode) from error
