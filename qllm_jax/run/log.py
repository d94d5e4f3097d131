"""Records of a run on the host, one for each run, and a progress bar."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from qllm_jax import stats


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
