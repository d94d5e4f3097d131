"""Records of metrics.jsonl, one for each run, and the progress bar."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from tqdm import tqdm

from qllm_jax import stats
from qllm_jax.program.run_axis import Run
from qllm_jax.run.nonfinite import Failure

NONE: Mapping[int, Failure] = MappingProxyType({})


def records(
    event: str, env_steps: int, runs: Sequence[Run], metrics: dict[str, Any], failed: Mapping[int, Failure] = NONE
) -> list[dict[str, Any]]:
    """One record per run, from arrays with a leading axis R. Those of `failed` runs have no metrics."""
    columns = {name: np.asarray(values).tolist() for name, values in metrics.items()}
    shared = {"event": event, "env_steps": env_steps}
    of = lambda i: {name: values[i] for name, values in columns.items()}
    without = lambda i: {"failed": failed[i].mark, **dict.fromkeys(columns)}
    return [{**shared, **run.record_fields, **(without(i) if i in failed else of(i))} for i, run in enumerate(runs)]


class Progress:
    """The progress bar: environment steps of all runs, with rate, return, loss and time left."""

    def __init__(self, total_steps: int, n_runs: int, env_steps: int) -> None:
        """Start the bar at `env_steps` of `total_steps` per run."""
        self._runs, self._total = n_runs, total_steps * n_runs
        self._bar = tqdm(
            total=self._total,
            initial=env_steps * n_runs,
            unit=" env-steps",
            unit_scale=True,
            dynamic_ncols=True,
            mininterval=0.5,
            disable=None,  # no bar in a file or a pipe, only the lines of `print`
        )

    def update(self, env_steps: int, metrics: dict[str, Any]) -> None:
        """Move to `env_steps` per run; metrics are arrays over the runs that learn."""
        mean = {name: float(np.mean(metrics[name])) for name in ("return", "loss")}
        text = {"return": stats.format_number(mean["return"]), "loss": f"{mean['loss']:.3g}"}
        self._bar.set_postfix(text, refresh=False)
        # The last iteration may overshoot the total by less than one rollout.
        self._bar.update(min(env_steps * self._runs, self._total) - self._bar.n)

    def print(self, line: str) -> None:
        """Print a line above the bar."""
        self._bar.write(line)

    def close(self) -> None:
        """End the bar."""
        self._bar.close()
