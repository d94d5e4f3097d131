"""The logs of a run folder as they are read back, and checks that they are whole before a run is continued."""

import math
from pathlib import Path
from typing import Any

from qllm_jax import files
from qllm_jax.errors import UserError
from qllm_jax.run.checkpoint import HostState

METRICS, TIMING = "metrics.jsonl", "timing.jsonl"


def metrics(path: Path) -> list[dict[str, Any]]:
    """Records of metrics.jsonl in a folder. UserError if the file is missing or damaged."""
    found = files.read_json_lines(path / METRICS, ("event", "env_steps", "seed"))
    for i, record in enumerate(found, start=1):
        if not (isinstance(record["env_steps"], int) and isinstance(record["seed"], int)):
            raise UserError(f"{path / METRICS} is damaged in line {i}: env_steps and seed must be whole numbers")
    return found


def timing(path: Path) -> list[dict[str, Any]]:
    """Records of timing.jsonl in a folder. UserError if the file is missing or damaged."""
    return files.read_json_lines(path / TIMING, ("event", "env_steps", "elapsed_s"))


def check_covered(path: Path, host: HostState) -> None:
    """UserError unless both logs begin with the bytes that a checkpoint covers."""
    covered = (METRICS, host.metrics_bytes, host.metrics_sha256), (TIMING, host.timing_bytes, host.timing_sha256)
    for name, size, sha256 in covered:
        file = path / name
        have = file.stat().st_size if file.is_file() else 0
        if have < size:
            problem = f"has {have:,} bytes, and the checkpoint follows {size:,}" if file.is_file() else "is missing"
        elif sha256 and files.digest(file, size).hexdigest() != sha256:
            problem = "is not what this run had written when the checkpoint was made"
        else:
            continue
        raise UserError(f"{file} {problem}: restore it from a copy, or train anew")


def check_without_checkpoint(path: Path, has_result: bool) -> None:
    """UserError if the logs of a folder without a checkpoint go on after one must have been written.

    A run that was killed before its first checkpoint begins again at 0 and writes the same records.
    """
    logs = [read(path) for name, read in ((METRICS, metrics), (TIMING, timing)) if (path / name).is_file()]
    last = max((log[-1]["env_steps"] for log in logs if log), default=0)
    ended = any(record["event"] == "final" for log in logs for record in log)
    if has_result or ended or last > min(map(second_evaluation, logs), default=math.inf):
        raise UserError(
            f"{path} has no checkpoint, and its logs go up to step {last:,}: training would begin at 0 and replace "
            "them; restore the folder checkpoints from a copy, or train anew"
        )


def second_evaluation(log: list[dict[str, Any]]) -> float:
    """Environment steps at the second evaluation, which a checkpoint follows; infinite without one."""
    steps = sorted({record["env_steps"] for record in log if record["event"] == "eval"})
    return steps[1] if len(steps) > 1 else math.inf
