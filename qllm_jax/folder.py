"""The folder of a run: what is in it, how it is made, found and read. No run overwrites another."""

import fcntl
import importlib.metadata
import json
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from qllm_jax import config as configs
from qllm_jax.config import Config
from qllm_jax.errors import UserError

CONFIG, META, TFCAF = "config.yaml", "meta.json", "tfcaf.py"
METRICS, TIMING, RESULT, MARL_EVAL = "metrics.jsonl", "timing.jsonl", "result.json", "marl_eval.json"
CHECKPOINTS, LOCK = "checkpoints", ".lock"
PACKAGES = ("qllm-jax", "jax", "jaxlib", "flax", "optax", "rlax", "distrax", "jaxmarl", "orbax-checkpoint", "numpy")


def default_path(config: Config, task: str) -> Path:
    """runs/<task>_<algo>_s<seed>_<time>."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    return Path("runs") / f"{task}_{config.algo.name}_s{config.seed}_{stamp}"


def create(config: Config, task: str, tfcaf_source: str | None) -> Path:
    """Make the folder of a run of `task` (see `Spec`) and write what is known before training.

    UserError when it exists already.
    """
    path = Path(config.run_dir) if config.run_dir else default_path(config, task)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UserError(
            f"run_dir {str(path)!r} exists already: continue it with resume={path}, or choose another run_dir"
        )
    path.mkdir(parents=True, exist_ok=True)
    if tfcaf_source is not None:
        (path / TFCAF).write_text(tfcaf_source)
    (path / META).write_text(json.dumps(describe(), indent=2) + "\n")
    # Written last: a folder with a config.yaml is a run.
    write_atomically(path / CONFIG, configs.to_yaml(replace(config, run_dir=str(path))))
    return path


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
    if (folder / TFCAF).is_file():
        # The run's own copy, so that a changed library file cannot change an old run.
        mixer = {**recorded.algo.mixer, "function": str(folder / TFCAF)}
        recorded = replace(recorded, algo=replace(recorded.algo, mixer=mixer))
    return folder, replace(recorded, run_dir=str(folder))


def extend(path: Path, total_steps: int) -> None:
    """Record a new `total_steps`, so that a resumed run that is killed again still knows how far to go."""
    recorded = OmegaConf.load(path / CONFIG)
    OmegaConf.update(recorded, "total_steps", total_steps)  # pyright: ignore[reportArgumentType]
    write_atomically(path / CONFIG, OmegaConf.to_yaml(recorded))


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
    root = Path(__file__).resolve().parent.parent
    git = lambda *args: subprocess.run(["git", "-C", str(root), *args], capture_output=True, text=True, check=True)
    try:
        if Path(git("rev-parse", "--show-toplevel").stdout.strip()) != root:
            return None
        head = git("rev-parse", "HEAD").stdout.strip()
        return head + ("+dirty" if git("status", "--porcelain", "-uno").stdout.strip() else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def write_atomically(path: Path, text: str) -> None:
    """Write a whole file or nothing: a reader never sees half of it."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text)
    temporary.replace(path)
