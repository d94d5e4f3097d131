"""The run folder: its files, and how it is made, found and read. No run overwrites another.

config.yaml          the resolved configuration, written last: a folder with it is a run
meta.json            command, versions, commit, hardware (provenance.py), also of processes that continued the run
                     (continued.py), the groups if there are several, and what the files that it was begun with must be
tfcaf.py             the credit function that all runs use; in a sweep of functions, tfcaf/NAME.py for each, and
                     tfcaf/CONTROL/NAME.py for each with a control (functions_used.py)
task.py              the task function, of a method that has one
parts/               copies of the environment, mixer or learner if one is a file from outside (parts_used.py)
metrics.jsonl        one record per run for each log interval, evaluation and the final evaluation (log.py)
timing.jsonl         wall time of the same records, kept apart because it differs between machines
checkpoints/         the newest two checkpoints (checkpoint.py)
critic/              transcript, summary and explanations of a critic that is asked in training (critic/opening.py)
result.json          final returns (results.py); marl_eval.json: the same for marl-eval (marl_eval.py)
wandb/               offline data of Weights & Biases (wandb_log.py)
group_000/ ...       with several groups: config.yaml, logs, checkpoints and results of each
"""

import json
import secrets
import time
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from qllm_jax import config as configs
from qllm_jax import files
from qllm_jax.config import Config
from qllm_jax.errors import UserError
from qllm_jax.run import dataset_used, functions_used, parts_used, provenance, stored_logs, zoo
from qllm_jax.run.lock import LOCK, in_use, locked
from qllm_jax.run.stored_logs import METRICS, TIMING

__all__ = ["LOCK", "METRICS", "TIMING", "in_use", "locked"]
CONFIG, META = "config.yaml", "meta.json"
RESULT, MARL_EVAL, CHECKPOINTS = "result.json", "marl_eval.json", "checkpoints"
FILES = "files"  # key of meta.json: keys of config.yaml, its fingerprint, and SHA-256 of the credit functions
ID = "id"  # key of meta.json: of no other folder, also if one is made again at its path


def default_path(config: Config, task: str) -> Path:
    """runs/<task>_<algo>_s<seed>_<time>."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    return Path("runs") / f"{task}_{config.algo.name}_s{config.seed}_{stamp}"


def new_path(config: Config, task: str) -> Path:
    """Path of a new run folder. UserError if something exists there already."""
    path = files.expanded(config.run_dir) if config.run_dir else default_path(config, task)
    check_empty(path)
    return path


def check_empty(path: Path) -> None:
    """UserError if the path is taken."""
    if (path / CONFIG).exists():
        raise UserError(
            f"run_dir {str(path)!r} exists already: continue it with resume={path}, or choose another run_dir"
        )
    if is_taken(path):
        raise UserError(f"run_dir {str(path)!r} exists already, and is no run: choose another run_dir")


def is_taken(path: Path) -> bool:
    """True if there is anything but an empty folder, which may have a lock."""
    return path.exists() and (not path.is_dir() or any(each.name != LOCK for each in path.iterdir()))


def claim(path: Path, is_default: bool) -> Path:
    """Make the folder of a new run. A default name that another process has taken in the same second gets a number."""
    claimed, number = path, 1
    while True:
        try:
            files.make_folder(claimed)
        except FileExistsError:
            if not is_default:
                return path  # an empty folder; `create` sees whether another process has begun to fill it
            number += 1
            claimed = path.with_name(f"{path.name}-{number}")
        else:
            return claimed


def create(
    path: Path, config: Config, sources: Sequence[str], meta: dict[str, Any] | None = None, *, empty: bool = False
) -> None:
    """Make a run folder and write the files that are known before training. `meta` is added to meta.json.

    `sources` are the texts of the credit functions: those of the sweep, in its order, or the one that all runs use.
    UserError if there is a run, or with `empty` anything else, or if another process is making one.
    """
    files.make_folder(path, exist_ok=True)
    with locked(path):
        if empty or (path / CONFIG).exists():
            check_empty(path)
        functions = dict(zip(functions_used.names(config), sources, strict=False))
        for name, source in functions.items():
            (path / name).parent.mkdir(exist_ok=True, parents=True)
            files.write_atomically(path / name, source)
        used = parts_used.describe(config)
        for name, source in used.copies.items():
            (path / name).parent.mkdir(exist_ok=True)
            files.write_atomically(path / name, source)
        text = configs.to_yaml(replace(config, run_dir=str(path)))
        known = {"config_keys": [field.name for field in fields(Config)], "config_sha256": configs.fingerprint(text)}
        known |= {"sha256": {name: functions_used.sha256(source) for name, source in functions.items()}}
        of_parts = {parts_used.KEY: used.meta} if used.meta else {}
        of_data = {dataset_used.KEY: data} if (data := dataset_used.describe(config)) else {}
        described = provenance.describe() | of_parts | of_data | (meta or {}) | {ID: secrets.token_hex(8), FILES: known}
        files.write_atomically(path / META, json.dumps(described, indent=2) + "\n")
        files.write_atomically(path / CONFIG, text)


def load(path: str) -> tuple[Path, Config]:
    """The run folder and its recorded configuration. UserError if the folder is not a run, or is damaged.

    `path` may also be the name of a policy of the zoo, as zoo:TASK/METHOD.
    """
    folder = zoo.path_of(path) if zoo.is_name(path) else files.expanded(path)
    if not (folder / CONFIG).is_file():
        inside, beside = (sorted(str(p.parent) for p in each.glob(f"*/{META}")) for each in (folder, folder.parent))
        nearby = inside or beside
        place = folder if inside else folder.parent
        choices = f"runs in {place}: {', '.join(nearby)}" if nearby else f"there are no runs in {str(folder.parent)!r}"
        raise UserError(f"{path!r} is not the folder of a run (it has no {CONFIG}); {choices}")
    recorded = configs.read(folder / CONFIG)
    check_files(folder, recorded)
    own = parts_used.with_own(folder, functions_used.with_own(folder, recorded))
    own = dataset_used.with_own(own, files.read_json(folder / META))
    parts_used.require_trusted(folder, own)
    return folder, replace(own, run_dir=str(folder))


def new_file(out: str, suffixes: tuple[str, ...], overwrite: bool = False) -> Path:
    """See `files.new_file`. The files that a run is read from are refused with `overwrite`, too."""
    path = files.new_file(out, suffixes, overwrite)
    if path.name in (META, RESULT, MARL_EVAL) and (path.parent / CONFIG).is_file():
        raise UserError(f"out={out} is a file of the run {str(path.parent)!r}: choose another name")
    return path


def default_out(run: str, name: str) -> Path:
    """The path of a file or folder that a command writes into a run folder, unless it is told where.

    For a policy of the zoo, which nobody changes, it is in runs/zoo/TASK/METHOD, which is made.
    """
    if not zoo.is_name(run):
        return files.expanded(run) / name
    folder = Path("runs") / "zoo" / run.removeprefix(zoo.PREFIX)
    files.make_folder(folder, exist_ok=True)
    return folder / name


def check_parts(path: Path, config: Config, resumes: bool = False) -> None:
    """UserError if a part from outside is missing, or has changed where a run is to be resumed, and so for a dataset.

    See parts_used.py and dataset_used.py. `config` is that of `load`.
    """
    stored = files.read_json(path / META)
    parts_used.check(path, stored, resumes)
    dataset_used.check(path, config, stored, resumes)


def check_files(folder: Path, recorded: Config) -> None:
    """UserError if config.yaml was cut off or edited, or a credit function edited. Older versions do not tell."""
    known = files.read_json(folder / META).get(FILES, {})
    shapes = {"config_keys": list, "config_sha256": str, "sha256": dict}
    if not isinstance(known, dict) or any(not isinstance(known.get(key, kind()), kind) for key, kind in shapes.items()):
        raise UserError(f"{folder / META} is damaged: {FILES!r} does not describe the files of a run")
    present = configs.keys(folder / CONFIG)
    if missing := [key for key in known.get("config_keys", ()) if key not in present]:
        raise UserError(f"{folder / CONFIG} is damaged: it has no {', '.join(map(repr, missing))}")
    functions = functions_used.names(recorded)
    for name, expected in known.get("sha256", {}).items():
        file = folder / name
        if name not in functions:
            raise UserError(f"{folder / CONFIG} is damaged: the run was begun with {name}, which it does not use")
        if not file.is_file():
            raise UserError(f"{file} is missing: the run was begun with this credit function")
        if files.digest(file).hexdigest() != expected:
            raise UserError(
                f"{file} is not the credit function that the run was begun with: restore it, or train the new one "
                f"with algo.{configs.function_part(recorded.algo) or 'mixer'}.function={file} and another run_dir"
            )
    if known.get("config_sha256", "") not in ("", configs.fingerprint(files.read_text(folder / CONFIG))):
        raise UserError(
            f"{folder / CONFIG} is not the configuration that the run was begun with: restore it, or train the new one "
            "with another run_dir; only total_steps can change, with resume=RUN total_steps=N"
        )


def group_ranges(path: Path) -> list[tuple[int, int]]:
    """[start, stop) of each group on the run axis, as recorded in meta.json; [] if all runs are one group."""
    groups = files.read_json(path / META).get("groups")
    try:
        ranges = [(int(start), int(stop)) for start, stop in groups["runs"]] if groups else []
    except (TypeError, ValueError, KeyError) as error:
        raise UserError(f"{path / META} is damaged: groups are not pairs of numbers") from error
    return ranges if len(ranges) > 1 else []


def group_folder(path: Path, index: int) -> Path:
    """The folder of one of several groups."""
    return path / f"group_{index:03d}"


def is_group(path: Path) -> bool:
    """True for the folder of one of several groups."""
    return path.name.startswith("group_") and (path.parent / META).is_file()


def log_folders(path: Path) -> list[Path]:
    """The folders with logs and checkpoints: the run folder itself, or those of its groups that exist."""
    groups = [group_folder(path, i) for i in range(len(group_ranges(path)))]
    return [group for group in groups if (group / CONFIG).is_file()] if groups else [path]


def records(path: Path) -> list[dict[str, Any]]:
    """All records of metrics.jsonl, group after group."""
    groups = [group for group in log_folders(path) if (group / METRICS).is_file()]
    return [record for group in groups for record in stored_logs.metrics(group)]
