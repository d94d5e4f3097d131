"""One process's part of a training run: the state on the device, the logs on the host, and the signals between."""

import signal
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qllm_jax import config, files, stats
from qllm_jax.core.types import Scores
from qllm_jax.program import run_axis
from qllm_jax.program.experiment import Experiment
from qllm_jax.run import checkpoint, folder, log, results, wandb_log
from qllm_jax.run.checkpoint import HostState, Saved
from qllm_jax.run.reopen import final_keys
from qllm_jax.run.results import Final


class Interrupt:
    """Remembers Ctrl-C or SIGTERM until the chunk in flight is done; a second Ctrl-C stops at once."""

    def __init__(self) -> None:
        self.requested = False
        self._old = {s: signal.signal(s, self._request) for s in (signal.SIGINT, signal.SIGTERM)}

    def _request(self, number: int, frame: Any) -> None:
        del frame
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = True

    def restore(self) -> None:
        """Give the signals back to whoever had them."""
        for number, handler in self._old.items():
            signal.signal(number, handler)


class Session:
    """One process's part of a run: the state on the device, the logs on the host."""

    def __init__(self, exp: Experiment, path: Path, saved: Saved, host: HostState) -> None:
        """Open the logs, cut to what the checkpoint covers."""
        self.exp, self.path = exp, path
        self.clock, self.runs = saved
        self.kind = "runs" if config.swept(exp.config.sweep) else "seeds"
        self.heads = [run.head for run in run_axis.runs(exp.config)]
        self.metrics = files.JsonLines(path / folder.METRICS, host.metrics_bytes)
        self.timing = files.JsonLines(path / folder.TIMING, host.timing_bytes)
        self.wandb = wandb_log.make(exp.config, path)
        self.progress = log.Progress(exp.config.total_steps, exp.n_runs, self.env_steps)
        self.is_fresh = host.metrics_bytes == 0  # nothing was logged before this process
        self._elapsed, self._started = host.elapsed_s, time.monotonic()

    @property
    def env_steps(self) -> int:
        return int(self.clock.env_steps)

    @property
    def elapsed_s(self) -> float:
        """Wall time of all processes of this run so far."""
        return self._elapsed + time.monotonic() - self._started

    def record(self, event: str, metrics: dict[str, Any]) -> None:
        """Write one record a run, and the wall time apart: metrics.jsonl must not depend on the machine's speed."""
        records = log.per_run(event, self.env_steps, self.heads, metrics)
        self.metrics.write(records)
        self.timing.write([{"event": event, "env_steps": self.env_steps, "elapsed_s": round(self.elapsed_s, 3)}])
        self.wandb.write(records)

    def train(self, goal: int) -> None:
        """Train until `goal` environment steps a run are reached, as one call of the compiled chunk."""
        n = -(-(goal - self.env_steps) // self.exp.steps_per_iteration)
        self.clock, self.runs, means = self.exp.program.chunk(self.clock, self.runs, self.exp.hp, jnp.asarray(n))
        metrics = {name: np.asarray(value)[: self.exp.n_runs] for name, value in means.items()}
        self.record("train", {"updates": np.full(self.exp.n_runs, int(self.clock.updates)), **metrics})
        self.progress.update(self.env_steps, metrics)

    def evaluate(self) -> None:
        """Greedy episodes of every run; the program keeps each run's best parameters."""
        episodes = self.exp.config.eval_episodes
        self.runs, scores = self.exp.program.evaluate(self.clock, self.runs, episodes)
        scores = of_runs(scores, self.exp)
        self.record("eval", results.recorded(scores))
        won = "" if scores.won is None else f", {scores.won.mean():.0%} won"
        self.progress.say(
            f"step {self.env_steps:>11,}: return {stats.number(scores.returns.mean()):>9}{won} "
            f"(mean of {episodes} evaluation episodes, {self.exp.n_runs} {self.kind}; {self.elapsed_s:,.0f} s)"
        )

    def save(self) -> None:
        """Write a checkpoint that covers the logs as they are now."""
        host = HostState(self.metrics.size(), self.timing.size(), self.elapsed_s, len(self.exp.seeds) - self.exp.n_runs)
        checkpoint.save(self.path / folder.CHECKPOINTS, Saved(self.clock, self.runs), host)

    def finish(self) -> str:
        """Evaluate the best checkpoint, write the results and give the closing table."""
        exp, episodes = self.exp, self.exp.config.final_episodes
        scores, random = final_scores(exp, self.runs.best_params, episodes, exp.config.algo.eval_epsilon)
        best = results.best_steps(files.read_json_lines(self.path / folder.METRICS), self.heads)
        self.record("final", results.recorded(scores))
        return results.write(self.path, exp.config, exp.env.spec.task, Final(self.env_steps, scores, random, best))

    def close(self) -> None:
        """Close logs, bar and wandb."""
        for part in (self.progress, self.wandb, self.metrics, self.timing):
            part.close()


def final_scores(exp: Experiment, params: Any, episodes: int, epsilon: float) -> tuple[Scores, Scores]:
    """Scores (R, episodes) of the given policies on keys training never uses, and the random policy's means (R,)."""
    keys = final_keys(exp)
    play = lambda eps: of_runs(exp.program.play(params, keys, episodes, jnp.asarray(eps)), exp)
    return play(epsilon), results.means(play(1.0))


def of_runs(scores: Scores, exp: Experiment) -> Scores:
    """Scores on the host, without those of spare runs."""
    return jax.tree.map(lambda x: np.asarray(x)[: exp.n_runs], scores)
