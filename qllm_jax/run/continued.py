"""Records of a run that is continued: its new length and logs, and the processes that continued it."""

import json
from contextlib import ExitStack
from operator import attrgetter
from pathlib import Path

from omegaconf import OmegaConf

from qllm_jax import files
from qllm_jax.config import Config
from qllm_jax.errors import UserError
from qllm_jax.run import checkpoint, folder, provenance
from qllm_jax.run.lock import locked

RECORDED_ON_RESUME = ("total_steps", "wandb.mode", "tensorboard")  # keys of config.yaml that `resume=` may change
RESUMED = "resumed"  # key of meta.json: origins of the processes that have continued the run


def check_total_steps(path: Path, total_steps: int) -> None:
    """UserError if a run has more steps than `total_steps` already and so would lose some."""
    if total_steps >= folder.load(str(path))[1].total_steps:
        return  # the last rollout may go beyond the steps that were asked for
    groups = dict.fromkeys((path, *folder.log_folders(path)))
    steps = [record["env_steps"] for record in folder.records(path)]
    steps += [checkpoint.step_of(p) for group in groups for p in checkpoint.newest_first(group / folder.CHECKPOINTS)]
    if total_steps < (reached := max(steps, default=0)):
        raise UserError(f"total_steps={total_steps} is less than the {reached:,} env steps that {path} has reached")


def record_resumed(path: Path) -> None:
    """Add command, commit and hardware of the process that continues a run to its meta.json."""
    with locked(path):
        meta = files.read_json(path / folder.META)
        meta[RESUMED] = [*meta.get(RESUMED, []), provenance.describe()]
        files.write_atomically(path / folder.META, json.dumps(meta, indent=2) + "\n")


def change(path: Path, config: Config) -> None:
    """Record `total_steps`, `wandb.mode` and `tensorboard` of a run that is resumed with others, in groups too.

    A run that is killed again still has its new length. UserError, and nothing is written, if a process trains the run
    or if it has more steps already.
    """
    values = lambda config: {key: attrgetter(key)(config) for key in RECORDED_ON_RESUME}
    if values(config) == values(folder.load(str(path))[1]):
        return
    with ExitStack() as held:
        groups = list(dict.fromkeys((path, *folder.log_folders(path))))
        for group in groups:
            held.enter_context(locked(group))
        check_total_steps(path, config.total_steps)
        for group in groups:
            recorded = OmegaConf.load(group / folder.CONFIG)
            for key, value in values(config).items():
                OmegaConf.update(recorded, key, value)  # pyright: ignore[reportArgumentType]
            files.write_atomically(group / folder.CONFIG, OmegaConf.to_yaml(recorded))
