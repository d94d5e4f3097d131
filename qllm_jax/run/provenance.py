"""The origin of a run for meta.json: command, versions, Git commit and hardware."""

import importlib.metadata
import platform
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax

PACKAGES = ("qllm-jax", "jax", "jaxlib", "flax", "optax", "rlax", "distrax", "jaxmarl", "orbax-checkpoint", "numpy")


def describe() -> dict[str, Any]:
    """Command, versions, commit and hardware of this process."""
    return {
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "commit": commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "devices": [device.device_kind for device in jax.devices()],
        "versions": {name: version(name) for name in PACKAGES},
    }


def version(package: str) -> str | None:
    """Installed version of a package; None if it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def commit() -> str | None:
    """Git commit of the code, with "+dirty" if tracked files differ from it; None outside a checkout."""
    root = Path(__file__).resolve().parents[2]
    git = lambda *args: subprocess.run(["git", "-C", str(root), *args], capture_output=True, text=True, check=True)
    try:
        if Path(git("rev-parse", "--show-toplevel").stdout.strip()) != root:
            return None
        head = git("rev-parse", "HEAD").stdout.strip()
        return head + ("+dirty" if git("status", "--porcelain", "-uno").stdout.strip() else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def short_commit(commit: str) -> str:
    """The first letters of a commit, and its "+dirty"."""
    name, plus, dirty = commit.partition("+")
    return name[:7] + plus + dirty
