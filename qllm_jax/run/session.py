"""A training session: the state on the devices, the logs on the host, and the steps between them."""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qllm_jax import files, stats
from qllm_jax.errors import UserError
from qllm_jax.program import guard, run_axis
from qllm_jax.program.experiment import Experiment
from qllm_jax.run import checkpoint, finish, folder, log, nonfinite, results, stored_logs, tensorboard_log, wandb_log
from qllm_jax.run.between import Between
from qllm_jax.run.checkpoint import HostState, TrainState
from qllm_jax.run.final_evaluation import final_scores, without_spare_runs
from qllm_jax.run.results import Final

SAVING_SHARE = 0.1  # of the wall time, at most: on a GPU a replay can take longer to write than to train with


class Session:
    """The runs of one folder in this process: train, evaluate, save and finish them."""

    def __init__(
        self,
        exp: Experiment,
        path: Path,
        state: TrainState,
        host: HostState,
        started: float,
        between: Between | None = None,
    ) -> None:
        """Open the logs and cut them to what the checkpoint covers. `started`: of wall time, by `time.monotonic`."""
        self.exp, self.path, self.between = exp, path, between
        self.clock, self.state = state
        self.runs = run_axis.runs(exp.config)
        self.metrics = files.JsonLines(path / folder.METRICS, host.metrics_bytes)
        self.timing = files.JsonLines(path / folder.TIMING, host.timing_bytes)
        wandb, tensorboard = wandb_log.make(exp.config, path), tensorboard_log.make(exp.config, path, self.env_steps)
        self.sinks = log.outlived(wandb, "wandb"), log.outlived(tensorboard, "TensorBoard")
        self.progress = log.Progress(exp.config.total_steps, self.env_steps, self.unit)
        self.is_fresh = host.metrics_bytes == 0  # no records from an earlier process
        self.failures = nonfinite.find(exp, self.state.fault, self.state.storage.reward_t)
        self._elapsed, self._started = host.elapsed_s, started
        self._saved_at, self._saving_s = -math.inf, 0.0  # end and duration of the last checkpoint
        self._has_evaluated = False

    @property
    def unit(self) -> str:
        """The word for one of the runs: a seed, unless there are several configurations."""
        return "run" if self.exp.config.sweep.lists else "seed"

    @property
    def env_steps(self) -> int:
        """Environment steps per run so far."""
        return int(self.clock.env_steps)

    @property
    def elapsed_s(self) -> float:
        """Wall time so far, of all processes that trained this run: with compilation, and not the start of Python."""
        return self._elapsed + time.monotonic() - self._started

    def record(self, event: str, metrics: dict[str, Any]) -> None:
        """Log one record per run. Wall time has its own file: metrics.jsonl must not depend on the machine's speed."""
        records = log.records(event, self.env_steps, self.runs, metrics, self.failures)
        self.metrics.write(records)
        self.timing.write([{"event": event, "env_steps": self.env_steps, "elapsed_s": round(self.elapsed_s, 3)}])
        for sink in self.sinks:
            sink.write(records)

    def train(self, goal: int) -> None:
        """Train one chunk: iterations until each run has at least `goal` environment steps."""
        n = -(-(goal - self.env_steps) // self.exp.steps_per_iteration)
        self.clock, self.state, means = self.exp.program.chunk(self.clock, self.state, self.exp.hp, jnp.asarray(n))
        metrics = {name: value[: self.exp.n_runs] for name, value in jax.device_get(means).items()}  # in one transfer
        self._find_failures()
        self.record("train", {"updates": np.full(self.exp.n_runs, int(self.clock.updates)), **metrics})
        if learning := self.learning:
            self.progress.update(self.env_steps, {name: values[learning] for name, values in metrics.items()})

    def work_between(self, stopped: Callable[[], bool]) -> bool:
        """Do the work between chunks if it is due: before the first update, and then at its interval.

        False if it was broken off, as `stopped` said so.
        """
        between, step = self.between, self.env_steps
        is_first = step == self.exp.warmup_steps
        if between is None or not (is_first or between.is_due(step, step - self.exp.steps_per_iteration)):
            return True
        after = between.work(TrainState(self.clock, self.state), self.progress.print, stopped)
        if after is not None:
            self.clock, self.state = after
        return after is not None

    @property
    def learning(self) -> list[int]:
        """Indices of the runs that learn: all but those whose update was not finite."""
        return [i for i in range(self.exp.n_runs) if i not in self.failures]

    def _find_failures(self) -> None:
        """Report the runs that have failed since the last call, and store what they saw."""
        if int((np.asarray(self.state.fault.env_steps)[: self.exp.n_runs] != guard.NONE).sum()) == len(self.failures):
            return
        before, self.failures = self.failures, nonfinite.find(self.exp, self.state.fault, self.state.storage.reward_t)
        file = nonfinite.write(self.path, self.exp, self.failures)
        if self.learning:
            found = nonfinite.describe(self.exp, self.failures, [i for i in self.failures if i not in before])
            self.progress.print(f"failed, and learns no more: {found}; the state is in {file}; other runs go on")

    def check_learning(self) -> None:
        """Raise `NonFiniteError` if no run learns any more."""
        if self.learning:
            return
        found = nonfinite.describe(self.exp, self.failures, list(self.failures))
        raise nonfinite.NonFiniteError(
            f"training of {self.path} has stopped, as {found}; states are in {self.path / nonfinite.FILE}, and the "
            f"parameters in {self.path / folder.CHECKPOINTS} are those before; it cannot go on: change what failed "
            "and train in another run_dir"
        )

    def evaluate(self) -> None:
        """Play greedy episodes with every run; the program keeps each run's best parameters."""
        episodes, started = self.exp.config.eval_episodes, time.monotonic()
        best = np.asarray(self.state.best_return)[: self.exp.n_runs]
        self.state, scores = self.exp.program.evaluate(self.clock, self.state, episodes)
        scores = without_spare_runs(scores, self.exp)
        if not self._has_evaluated:  # it was compiled
            self.progress.skip(time.monotonic() - started)
        self._has_evaluated = True
        fields = results.metrics(scores)
        now_best = np.asarray(self.state.best_return)[: self.exp.n_runs]
        fields["return"] = results.as_compared(fields["return"], best, now_best)
        self.record("eval", fields)
        shown = jax.tree.map(lambda x: x[self.learning], scores)
        shares = "".join(f", {each.mean():.0%} {name}" for name, each in results.shares(shown).items())
        failed = f", {len(self.failures)} failed" if self.failures else ""
        counted = stats.count(len(self.learning), self.unit) + failed
        self.progress.print(
            f"step {self.env_steps:>11,}: return {stats.format_number(shown.returns.mean()):>9}{shares} "
            f"(mean of {episodes} evaluation episodes, {counted}; {self.elapsed_s:,.0f} s)"
        )

    def save_if_due(self) -> None:
        """Write a checkpoint, unless there are enough and writing them would take more than `SAVING_SHARE`."""
        enough = len(checkpoint.newest_first(self.path / folder.CHECKPOINTS)) >= checkpoint.KEPT
        if not enough or time.monotonic() - self._saved_at >= self._saving_s * (1 / SAVING_SHARE - 1):
            self.save()

    def save(self) -> None:
        """Write a checkpoint that covers the logs as they are now. UserError if the folder was moved or removed."""
        if not (self.path / folder.METRICS).is_file():
            raise UserError(f"{self.path} was moved or removed: training stops; resume=FOLDER goes on in another place")
        started = time.monotonic()
        host = HostState(
            metrics_bytes=self.metrics.size(),
            timing_bytes=self.timing.size(),
            elapsed_s=self.elapsed_s,
            spare=len(self.exp.seeds) - self.exp.n_runs,
            metrics_sha256=self.metrics.sha256(),
            timing_sha256=self.timing.sha256(),
        )
        state = self.state if self.exp.learner.data is None else self.state._replace(storage=None)  # that has its file
        checkpoint.save(self.path / folder.CHECKPOINTS, TrainState(self.clock, state), host)
        self._saved_at = time.monotonic()
        self._saving_s = self._saved_at - started

    def finish(self) -> str:
        """Evaluate the best parameters and write the results. Return the closing table."""
        exp, episodes = self.exp, self.exp.config.final_episodes
        scores, random = final_scores(exp, self.state.best_params, episodes, exp.config.algo.eval_epsilon)
        scores = results.nan_where_failed(scores, list(self.failures))
        best = results.best_steps(stored_logs.metrics(self.path), self.runs)
        self.record("final", results.metrics(scores))
        final = Final(self.env_steps, scores, random, best, {i: each.mark for i, each in self.failures.items()})
        return finish.write_results(self.path, exp.config, exp.env.spec.task, final)

    def close(self) -> None:
        """Close logs, bar, wandb and TensorBoard."""
        for part in (self.progress, self.metrics, self.timing, *self.sinks):
            part.close()
