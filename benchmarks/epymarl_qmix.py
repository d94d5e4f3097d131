"""epymarl's QMIX (github.com/uoe-agents/epymarl) from a clone, in its own Python environment: see epymarl_driver.py.

It trains one seed in one process, with eight worker processes and one torch thread, as it sets itself. The time of more
seeds is taken from this one: the gain from starting several at once on spare cores is not counted.
"""

import json
import os
import statistics
import subprocess
from pathlib import Path
from typing import Any

import workload
from workload import Sizes

from qllm_jax.errors import UserError

NAME = "epymarl_qmix"
DRIVER = Path(__file__).with_name("epymarl_driver.py")


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """Return figures like those of `systems.measure`, without compile time and floor."""
    done = start([job["epymarl_python"], str(DRIVER), json.dumps(driver_job(job))])
    if done.returncode:
        raise SystemExit(f"{done.stderr[-3000:]}\nerror: the process of {job} ended with code {done.returncode}")
    found = json.loads(done.stdout.splitlines()[-1])
    found |= {"update_ms": statistics.median(found["samples_ms"]), "compile_s": None}
    return found if job["evaluation"] else {k: v for k, v in found.items() if not k.startswith("evaluation")}


def driver_job(job: dict[str, Any]) -> dict[str, Any]:
    """Return the job of the driver: the sizes of one seed and of the mixer."""
    sizes = Sizes(**job["sizes"])._asdict() | {"embed": workload.EMBED, "hyper": workload.HYPER}
    return {"epymarl": job["epymarl"], "sizes": sizes, "updates": job["updates"]}


def start(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Start a process that sees no package of this repository and leaves no compiled files in the clone."""
    env = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return subprocess.run(
        command, env=env | {"PYTHONDONTWRITEBYTECODE": "1"}, capture_output=True, text=True, check=False
    )


def check(clone: Path, python: Path) -> None:
    """Raise UserError if this clone cannot be run with this Python."""
    if not (clone / "src" / "run.py").is_file():
        raise UserError(f"{clone} is no clone of github.com/uoe-agents/epymarl: it has no src/run.py")
    if not os.access(python, os.X_OK) or python.is_dir():
        raise UserError(f"{python} is no Python to start: --epymarl-python names the one that has epymarl's packages")
    imports = "import torch, yaml, cloudpickle, gymnasium; from pettingzoo.mpe import simple_spread_v3"
    if (done := start([str(python), "-c", imports])).returncode:
        reason = done.stderr.strip().splitlines()[-1]
        raise UserError(f"{python} lacks what epymarl needs (see epymarl_driver.py): {reason}")
