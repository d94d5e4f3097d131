"""TensorBoard: a folder of events in RUN/tensorboard for each run, with the charts that wandb gets, on the same axis.

tensorboardX, of the extra `tensorboard`, is imported only if `tensorboard=true`.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from qllm_jax.config import Config
from qllm_jax.errors import UserError
from qllm_jax.program import run_axis
from qllm_jax.run.log import AXIS, Sink, charts

FOLDER = "tensorboard"


def check(is_on: bool) -> None:
    """UserError if TensorBoard is asked for and the extra is not installed."""
    if is_on and find_spec("tensorboardX") is None:
        raise UserError("tensorboard=true needs an extra: pip install 'qllm-jax[tensorboard]' (tensorboardX)")


def make(config: Config, folder: Path, env_steps: int) -> Sink:
    """The sink of a run folder, which does nothing unless `tensorboard=true`.

    Events after `env_steps`, from before a kill, are void: they are computed and written again.
    """
    if not config.tensorboard:
        return Sink(write=lambda records: None, close=lambda: None)
    check(True)
    from tensorboardX import SummaryWriter  # pyright: ignore[reportMissingImports] - optional

    runs = run_axis.runs(config)
    names = ["_".join([*([run.label.replace("/", "_")] if run.label else []), f"seed_{run.seed}"]) for run in runs]
    purged: dict[str, Any] = {"purge_step": env_steps + 1} if env_steps else {}
    writers = [SummaryWriter(str(folder / FOLDER / name), **purged) for name in names]

    def write(records: list[dict[str, Any]]) -> None:
        for writer, record in zip(writers, records, strict=True):
            for name, value in charts(record).items():
                if name != AXIS:
                    writer.add_scalar(name, value, global_step=record[AXIS])

    def close() -> None:
        for writer in writers:
            writer.close()

    return Sink(write, close)
