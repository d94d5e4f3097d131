"""The run folder: its files, and how it is made, found, read and locked. No run overwrites another.

config.yaml          the resolved configuration, written last: a folder with it is a run
meta.json            command, versions, commit, hardware (provenance.py), and the groups if there are several
tfcaf.py             the credit function that all runs use; in a sweep of functions, tfcaf/NAME.py for each, and
                     tfcaf/CONTROL/NAME.py for each with a control
metrics.jsonl        one record per run for each log interval, evaluation and the final evaluation (log.py)
timing.jsonl         wall time of the same records, kept apart because it differs between machines
checkpoints/         the newest checkpoint (checkpoint.py)
result.json          final returns (results.py); marl_eval.json: the same for marl-eval (marl_eval.py)
wandb/               offline data of Weights & Biases (wandb_log.py)
group_000/ ...       with several groups: config.yaml, logs, checkpoints and results of each
"""

import fcntl
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from qllm_jax import config as configs
from qllm_jax import files
from qllm_jax.config import Config, function_name, split_control
from qllm_jax.errors import UserError
from qllm_jax.run import provenance

CONFIG, META, TFCAF = "config.yaml", "meta.json", "tfcaf.py"
TFCAFS = "tfcaf"  # the folder of the functions of a sweep
METRICS, TIMING, RESULT, MARL_EVAL = "metrics.jsonl", "timing.jsonl", "result.json", "marl_eval.json"
CHECKPOINTS, LOCK = "checkpoints", ".lock"


def default_path(config: Config, task: str) -> Path:
    """runs/<task>_<algo>_s<seed>_<time>."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    return Path("runs") / f"{task}_{config.algo.name}_s{config.seed}_{stamp}"


def new_path(config: Config, task: str) -> Path:
    """Path of a new run folder. UserError if something exists there already."""
    path = Path(config.run_dir) if config.run_dir else default_path(config, task)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UserError(
            f"run_dir {str(path)!r} exists already: continue it with resume={path}, or choose another run_dir"
        )
    return path


def create(path: Path, config: Config, sources: Sequence[str], meta: dict[str, Any] | None = None) -> None:
    """Make a run folder and write the files that are known before training. `meta` is added to meta.json.

    `sources` are the texts of the credit functions: those of the sweep, in its order, or the one that all runs use.
    """
    path.mkdir(parents=True, exist_ok=True)
    for name, source in zip(function_files(config), sources, strict=False):
        (path / name).parent.mkdir(exist_ok=True, parents=True)
        (path / name).write_text(source)
    (path / META).write_text(json.dumps(provenance.describe() | (meta or {}), indent=2) + "\n")
    files.write_atomically(path / CONFIG, configs.to_yaml(replace(config, run_dir=str(path))))


def function_files(config: Config) -> list[str]:
    """Files of the credit functions, relative to the run folder."""
    return [swept_function_file(function) for function in config.sweep.tfcaf or ()] or [TFCAF]


def swept_function_file(function: str) -> str:
    """File of one of several credit functions. A control has a folder, so that the file's name is the function's."""
    base, control = split_control(function)
    return "/".join(part for part in (TFCAFS, control, f"{function_name(base)}.py") if part)


def load(path: str) -> tuple[Path, Config]:
    """The run folder and its recorded configuration. UserError if the folder is not a run."""
    folder = Path(path)
    if not (folder / CONFIG).is_file():
        nearby = sorted(str(p.parent) for p in folder.parent.glob(f"*/{CONFIG}")) if folder.parent.is_dir() else []
        choices = f"runs there: {', '.join(nearby)}" if nearby else f"there are no runs in {str(folder.parent)!r}"
        raise UserError(f"{path!r} is not the folder of a run (it has no {CONFIG}); {choices}")
    try:
        recorded = configs.from_dict(OmegaConf.load(folder / CONFIG))  # pyright: ignore[reportArgumentType]
    except UserError as error:
        raise UserError(f"{folder / CONFIG}: {error}") from error
    return folder, replace(with_own_functions(folder, recorded), run_dir=str(folder))


def with_own_functions(folder: Path, config: Config) -> Config:
    """The configuration with the folder's copies of the credit functions: the library may have changed since."""
    copy = lambda name, given: with_control(str(folder / name), given) if (folder / name).is_file() else given
    if given := config.sweep.tfcaf:
        copies = [copy(name, function) for name, function in zip(function_files(config), given, strict=True)]
        return replace(config, sweep=replace(config.sweep, tfcaf=copies))
    if not (folder / TFCAF).is_file():
        return config
    given = config.algo.mixer.get("function", "")
    mixer = {**config.algo.mixer, "function": with_control(str(folder / TFCAF), given)}
    return replace(config, algo=replace(config.algo, mixer=mixer))


def with_control(file: str, function: str) -> str:
    """The credit function of a file, with the control of `function`."""
    control = split_control(function)[1]
    return f"{file}:{control}" if control else file


def group_ranges(path: Path) -> list[tuple[int, int]]:
    """[start, stop) of each group on the run axis, as recorded in meta.json; [] if all runs are one group."""
    meta = path / META
    groups = json.loads(meta.read_text()).get("groups") if meta.is_file() else None
    ranges = [(start, stop) for start, stop in groups["runs"]] if groups else []
    return ranges if len(ranges) > 1 else []


def group_folder(path: Path, index: int) -> Path:
    """The folder of one of several groups."""
    return path / f"group_{index:03d}"


def log_folders(path: Path) -> list[Path]:
    """The folders with logs and checkpoints: the run folder itself, or those of its groups that exist."""
    groups = [group_folder(path, i) for i in range(len(group_ranges(path)))]
    return [group for group in groups if (group / CONFIG).is_file()] if groups else [path]


def records(path: Path) -> list[dict[str, Any]]:
    """All records of metrics.jsonl, group after group."""
    logs = [group / METRICS for group in log_folders(path)]
    return [record for log in logs if log.is_file() for record in files.read_json_lines(log)]


def record_total_steps(path: Path, total_steps: int) -> None:
    """Change `total_steps` in config.yaml, in groups too: a run that is killed again still has its new length."""
    for group in {path, *log_folders(path)}:
        recorded = OmegaConf.load(group / CONFIG)
        OmegaConf.update(recorded, "total_steps", total_steps)  # pyright: ignore[reportArgumentType]
        files.write_atomically(group / CONFIG, OmegaConf.to_yaml(recorded))


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Lock the folder while a process writes in it. UserError if another process has the lock; kill -9 frees it."""
    with open(path / LOCK, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UserError(f"{str(path)!r} is in use: another process uses it") from error
        yield


def in_use(path: Path) -> bool:
    """True if a process has the lock of the folder. This takes the lock for a moment."""
    if not (path / LOCK).is_file():
        return False
    with open(path / LOCK) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False
