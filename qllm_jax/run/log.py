"""Records of metrics.jsonl, one for each run, and the progress bar."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from qllm_jax import stats
from qllm_jax.program.run_axis import Run
from qllm_jax.run.nonfinite import Failure

AXIS = "env_steps"  # x axis of every chart: environment steps per run


def records(
    event: str, env_steps: int, runs: Sequence[Run], metrics: dict[str, Any], failed: Mapping[int, Failure]
) -> list[dict[str, Any]]:
    """One record per run, from arrays with a leading axis R. Those of `failed` runs have no metrics."""
    columns = {name: np.asarray(values).tolist() for name, values in metrics.items()}
    shared = {"event": event, "env_steps": env_steps}
    of = lambda i: {name: values[i] for name, values in columns.items()}
    without = lambda i: {"failed": failed[i].mark, **dict.fromkeys(columns)}
    return [{**shared, **run.record_fields, **(without(i) if i in failed else of(i))} for i, run in enumerate(runs)]


class Sink(NamedTuple):
    """`write(records)` sends records of `records` somewhere; `close()` ends that."""

    write: Callable[[list[dict[str, Any]]], None]
    close: Callable[[], None]


def outlived(sink: Sink, name: str) -> Sink:
    """A sink whose errors do not end a training: the first is a note, and from then on nothing is sent."""
    failed: list[str] = []

    def tried(send: Callable[[], None]) -> None:
        try:
            if not failed:
                send()
        except Exception as error:  # whatever its client raises, a lost connection or a full disk
            failed.append(f"{type(error).__name__}: {error}".partition("\n")[0])
            print(f"note: {name} failed ({failed[0]}); training goes on without it", file=sys.stderr)

    return Sink(lambda records: tried(lambda: sink.write(records)), lambda: tried(sink.close))


def charts(record: dict[str, Any]) -> dict[str, Any]:
    """A record as charts: the axis, and one for each number, like `eval/return`."""
    numbers = {k: v for k, v in record.items() if isinstance(v, int | float) and k not in ("seed", AXIS)}
    return {AXIS: record[AXIS], **{f"{record['event']}/{key}": value for key, value in numbers.items()}}


class Progress:
    """The progress bar: environment steps per run, with rate and time left, return and loss.

    Rate and time left are those of steps after the first chunk, which compiles.
    """

    def __init__(self, total_steps: int, env_steps: int, unit: str) -> None:
        """Start the bar at `env_steps` of `total_steps` per run; `unit` names a run."""
        self._total, self._unit = total_steps, unit
        self._steady: tuple[float, int] | None = None  # time and env steps when the first chunk had ended
        self._bar = tqdm(
            total=total_steps,
            initial=env_steps,
            desc="compiling",
            bar_format="{desc}{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt}{postfix}",
            unit_scale=True,
            dynamic_ncols=True,
            mininterval=0.5,
            disable=None,  # no bar in a file or a pipe, only the lines of `print`
        )

    def update(self, env_steps: int, metrics: dict[str, Any]) -> None:
        """Move to `env_steps` per run; metrics are arrays over the runs that learn."""
        mean = {name: float(np.mean(metrics[name])) for name in ("return", "loss")}
        numbers = f"return={stats.format_number(mean['return'])}, loss={mean['loss']:.3g}"
        self._bar.set_description_str("", refresh=False)
        self._bar.set_postfix_str(f"{self.speed(env_steps, time.monotonic())}, {numbers}", refresh=False)
        # The last iteration may overshoot the total by less than one rollout.
        self._bar.update(min(env_steps, self._total) - self._bar.n)

    def speed(self, env_steps: int, now: float) -> str:
        """Return the rate and the time left as text, at a time of `time.monotonic`; the first call starts the clock."""
        if self._steady is None:
            self._steady = now, env_steps
        started, first = self._steady
        if env_steps == first or now <= started:
            return f"steps per {self._unit}"
        rate = (env_steps - first) / (now - started)
        left = tqdm.format_interval(max(self._total - env_steps, 0) / rate)
        return f"steps per {self._unit}, {tqdm.format_sizeof(rate)}/s, {left} left"

    def skip(self, seconds: float) -> None:
        """Leave out seconds in which another program was compiled."""
        if self._steady is not None:
            self._steady = self._steady[0] + seconds, self._steady[1]

    def print(self, line: str) -> None:
        """Print a line above the bar."""
        self._bar.write(line)

    def close(self) -> None:
        """End the bar."""
        self._bar.close()
