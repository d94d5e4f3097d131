"""Records of a run on the host: append-only JSON lines that a resumed run can rewind, and a progress bar."""

import errno
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from qllm_jax import stats


class JsonLines:
    """An append-only file of JSON lines, one record each."""

    def __init__(self, path: Path, size: int) -> None:
        """Open `path` and cut it to `size` bytes: what a checkpoint did not cover is computed and written again."""
        self._file = open(path, "ab", buffering=0)  # noqa: SIM115 - open as long as the run
        self._file.truncate(size)

    def write(self, records: list[dict[str, Any]]) -> None:
        """Append records and hand them to the operating system, so that kill -9 loses none of them."""
        text = "".join(json.dumps(record) + "\n" for record in records).encode()
        if self._file.write(text) != len(text):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._file.name)

    def size(self) -> int:
        """Bytes on disk, for the checkpoint."""
        os.fsync(self._file.fileno())
        return os.fstat(self._file.fileno()).st_size

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read(path: Path) -> list[dict[str, Any]]:
    """All records of a file. A last line cut short by a kill is left out."""
    lines = path.read_text().split("\n")
    return [json.loads(line) for line in lines[:-1] if line]


def per_run(
    event: str, env_steps: int, runs: Sequence[dict[str, Any]], metrics: dict[str, Any]
) -> list[dict[str, Any]]:
    """One record a run from arrays with a leading axis R; `runs` says which run each is."""
    columns = {name: np.asarray(values).tolist() for name, values in metrics.items()}
    head = {"event": event, "env_steps": env_steps}
    return [{**head, **run, **{name: values[i] for name, values in columns.items()}} for i, run in enumerate(runs)]


class Progress:
    """The progress bar: environment steps of all runs, with rate, return, loss and time left."""

    def __init__(self, total_steps: int, n_runs: int, done: int) -> None:
        self._runs, self._total = n_runs, total_steps * n_runs
        self._bar = tqdm(
            total=self._total,
            initial=done * n_runs,
            unit=" env-steps",
            unit_scale=True,
            dynamic_ncols=True,
            mininterval=0.5,
            disable=None,  # no bar in a file or a pipe: the lines of `say` remain
        )

    def update(self, env_steps: int, metrics: dict[str, Any]) -> None:
        """Move to `env_steps` per run; metrics are arrays over runs."""
        mean = {name: float(np.mean(metrics[name])) for name in ("return", "loss")}
        self._bar.set_postfix({"return": stats.number(mean["return"]), "loss": f"{mean['loss']:.3g}"}, refresh=False)
        # The last iteration may overshoot the total by less than one rollout.
        self._bar.update(min(env_steps * self._runs, self._total) - self._bar.n)

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        self._bar.write(line)

    def close(self) -> None:
        """End the bar."""
        self._bar.close()
