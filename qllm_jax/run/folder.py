"""The folder of a run: what is in it, how it is made, found and read. No run overwrites another."""

import fcntl
import importlib.metadata
import json
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from qllm_jax import config as configs
from qllm_jax import files
from qllm_jax.config import Config
from qllm_jax.errors import UserError
from qllm_jax.values import function_name

CONFIG, META, TFCAF = "config.yaml", "meta.json", "tfcaf.py"
TFCAFS = "tfcaf"  # the folder of the functions of a sweep
GROUP = "group_{:03d}"  # the folder of one of several groups of runs
METRICS, TIMING, RESULT, MARL_EVAL = "metrics.jsonl", "timing.jsonl", "result.json", "marl_eval.json"
CHECKPOINTS, LOCK = "checkpoints", ".lock"
PACKAGES = ("qllm-jax", "jax", "jaxlib", "flax", "optax", "rlax", "distrax", "jaxmarl", "orbax-checkpoint", "numpy")


def default_path(config: Config, task: str) -> Path:
    """runs/<task>_<algo>_s<seed>_<time>."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    return Path("runs") / f"{task}_{config.algo.name}_s{config.seed}_{stamp}"


def chosen_path(config: Config, task: str) -> Path:
    """Where a run of `task` (see `Spec`) goes. UserError when there is something already."""
    path = Path(config.run_dir) if config.run_dir else default_path(config, task)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UserError(
            f"run_dir {str(path)!r} exists already: continue it with resume={path}, or choose another run_dir"
        )
    return path


def create(path: Path, config: Config, sources: Sequence[str], more: dict[str, Any] | None = None) -> None:
    """Make the folder of a run and write what is known before training: `more` into meta.json.

    `sources` are the texts of the credit functions: those of the sweep, in its order, or the one that all runs use.
    """
    path.mkdir(parents=True, exist_ok=True)
    for name, source in zip(function_files(config), sources, strict=False):
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_text(source)
    (path / META).write_text(json.dumps(describe() | (more or {}), indent=2) + "\n")
    # Written last: a folder with a config.yaml is a run.
    files.write_atomically(path / CONFIG, configs.to_yaml(replace(config, run_dir=str(path))))


def function_files(config: Config) -> list[str]:
    """Where in a run's folder its credit functions lie."""
    functions = config.sweep.tfcaf
    return [f"{TFCAFS}/{function_name(function)}.py" for function in functions] if functions else [TFCAF]


def load(path: str) -> tuple[Path, Config]:
    """The folder and its recorded configuration. UserError when it is no run."""
    folder = Path(path)
    if not (folder / CONFIG).is_file():
        near = sorted(str(p.parent) for p in folder.parent.glob(f"*/{CONFIG}")) if folder.parent.is_dir() else []
        choices = f"runs there: {', '.join(near)}" if near else f"there are no runs in {str(folder.parent)!r}"
        raise UserError(f"{path!r} is not the folder of a run (it has no {CONFIG}); {choices}")
    try:
        recorded = configs.from_dict(OmegaConf.load(folder / CONFIG))  # pyright: ignore[reportArgumentType]
    except UserError as error:
        raise UserError(f"{folder / CONFIG}: {error}") from error
    return folder, replace(with_copies(folder, recorded), run_dir=str(folder))


def with_copies(folder: Path, config: Config) -> Config:
    """The configuration with the folder's own credit functions: a changed library file cannot change an old run."""
    copy = lambda name, given: str(folder / name) if (folder / name).is_file() else given
    if given := config.sweep.tfcaf:
        copies = [copy(name, one) for name, one in zip(function_files(config), given, strict=True)]
        return replace(config, sweep=replace(config.sweep, tfcaf=copies))
    if not (folder / TFCAF).is_file():
        return config
    mixer = {**config.algo.mixer, "function": str(folder / TFCAF)}
    return replace(config, algo=replace(config.algo, mixer=mixer))


def groups(path: Path) -> list[tuple[int, int]]:
    """The runs [first, behind) of each group in a run's folder; [] where all runs are one."""
    meta = path / META
    found = json.loads(meta.read_text()).get("groups") if meta.is_file() else None
    bounds = [(first, behind) for first, behind in found["runs"]] if found else []
    return bounds if len(bounds) > 1 else []


def parts(path: Path) -> list[Path]:
    """The folders that hold the logs and checkpoints of a run: itself, or those of its groups that exist."""
    of_groups = [path / GROUP.format(i) for i in range(len(groups(path)))]
    return [group for group in of_groups if (group / CONFIG).is_file()] if of_groups else [path]


def records(path: Path) -> list[dict[str, Any]]:
    """All records of a run, group after group."""
    files = [part / METRICS for part in parts(path)]
    return [record for file in files if file.is_file() for record in files.read_json_lines(file)]


def extend(path: Path, total_steps: int) -> None:
    """Record a new `total_steps`, in groups too: a resumed run that is killed again still knows how far to go."""
    for part in {path, *parts(path)}:
        recorded = OmegaConf.load(part / CONFIG)
        OmegaConf.update(recorded, "total_steps", total_steps)  # pyright: ignore[reportArgumentType]
        files.write_atomically(part / CONFIG, OmegaConf.to_yaml(recorded))


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the folder while a process trains in it. UserError when another one does; kill -9 frees it."""
    with open(path / LOCK, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UserError(f"{str(path)!r} is in use: another process uses it") from error
        yield


def describe() -> dict[str, Any]:
    """Command, versions, commit and hardware of this process."""
    import jax

    return {
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "commit": commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "devices": [device.device_kind for device in jax.devices()],
        "versions": {name: version(name) for name in PACKAGES},
    }


def version(package: str) -> str | None:
    """Installed version of a package, None when it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def commit() -> str | None:
    """Git commit of the code, with "+dirty" where files differ from it; None outside a checkout."""
    root = Path(__file__).resolve().parents[2]
    git = lambda *args: subprocess.run(["git", "-C", str(root), *args], capture_output=True, text=True, check=True)
    try:
        if Path(git("rev-parse", "--show-toplevel").stdout.strip()) != root:
            return None
        head = git("rev-parse", "HEAD").stdout.strip()
        return head + ("+dirty" if git("status", "--porcelain", "-uno").stdout.strip() else "")
    except (OSError, subprocess.CalledProcessError):
        return None
