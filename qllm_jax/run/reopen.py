"""A run on disk, opened to evaluate or to draw it: its parts, and the parameters of its newest checkpoint."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp

from qllm_envs.parts import suggest
from qllm_jax import files
from qllm_jax.core.types import Params
from qllm_jax.errors import UserError
from qllm_jax.program import devices, experiment, run_axis
from qllm_jax.program.compiled import FINAL_STREAM, shapes, stream
from qllm_jax.program.experiment import Experiment
from qllm_jax.run import checkpoint, folder, results
from qllm_jax.run.checkpoint import HostState, Saved

WHICH = ("best", "last")  # each seed's parameters of its best evaluation, or of the checkpoint


class SavedRun(NamedTuple):
    """One run with the parameters that were asked for."""

    path: Path
    exp: Experiment
    which: str
    params: Params  # leaves (R, ...)
    params_steps: list[int]  # environment steps at which each run had these parameters
    env_steps: int  # of the checkpoint, per run
    at_once: int  # runs of one group

    def __str__(self) -> str:
        spec, algo = self.exp.env.spec, self.exp.config.algo.name
        return f"{algo} on {spec.task}, {self.which} parameters up to step {self.env_steps:,}"


def open_run(path: str, which: str = "best") -> SavedRun:
    """Open a run folder. UserError when it is no run, has no checkpoint yet, or `which` is not in WHICH."""
    if which not in WHICH:
        raise UserError(f"which={which} does not exist: {suggest(which, WHICH)}")
    where, config = folder.load(path)
    exp = experiment.build(replace(config, devices=1))  # enough to read a run, wherever it was trained
    bounds = folder.groups(where)
    if not bounds:
        return of_part(exp, where, which)
    places = [where / folder.GROUP.format(i) for i in range(len(bounds))]
    parts = [of_part(experiment.at(exp, *b), place, which) for b, place in zip(bounds, places, strict=True)]
    params = jax.tree.map(lambda *rows: jnp.concatenate(rows), *(part.params for part in parts))
    steps = [step for part in parts for step in part.params_steps]
    widest = max(part.at_once for part in parts)
    return SavedRun(where, exp, which, params, steps, min(part.env_steps for part in parts), widest)


def of_part(exp: Experiment, path: Path, which: str) -> SavedRun:
    """The runs of one folder of checkpoints. UserError when it has none yet."""
    found = newest(exp, path)
    if found is None:
        interval = exp.config.eval_interval
        raise UserError(f"{str(path)!r} has no checkpoint yet: the first one is written at step {interval:,}")
    (clock, runs), _ = found
    env_steps, n_runs = int(clock.env_steps), exp.n_runs
    if which == "last":
        return SavedRun(path, exp, which, runs.learner.params, [env_steps] * n_runs, env_steps, n_runs)
    records = [r for r in files.read_json_lines(path / folder.METRICS) if r["env_steps"] <= env_steps]
    steps = results.best_steps(records, [run.head for run in run_axis.runs(exp.config)])
    return SavedRun(path, exp, which, runs.best_params, steps, env_steps, n_runs)


def newest(exp: Experiment, path: Path) -> tuple[Saved, HostState] | None:
    """The newest checkpoint of a run folder, None when there is none. UserError when it does not fit the run."""
    while found := checkpoint.latest(path / folder.CHECKPOINTS):
        try:
            return read(exp, found)
        except Exception:
            # A run that is training removes a checkpoint once there is a newer one: then that one is read.
            if checkpoint.latest(path / folder.CHECKPOINTS) == found:
                raise
    return None


def read(exp: Experiment, path: Path) -> tuple[Saved, HostState]:
    """A checkpoint, written on any number of devices, on those of the experiment. UserError when it does not fit."""
    wanted = Saved(*shapes(exp.program, exp.root, exp.seeds))
    rows, stored = len(exp.seeds), exp.n_runs + checkpoint.host_state(path).spare
    if stored == rows:
        return checkpoint.restore(path, wanted)
    (clock, runs), host = checkpoint.restore(path, wanted._replace(runs=devices.resized(wanted.runs, stored)))
    take = jnp.minimum(jnp.arange(rows), exp.n_runs - 1)  # the spare rows are of the last run
    return Saved(clock, jax.tree.map(lambda x, like: jax.device_put(x[take], like.sharding), runs, wanted.runs)), host


def final_keys(exp: Experiment, number: int = 0) -> jax.Array:
    """One key a run (R,) that no decision of training depends on; a seed's runs share it. 0: those of result.json."""
    return jax.vmap(lambda seed: stream(jax.random.fold_in(exp.root, seed), FINAL_STREAM, number))(exp.seeds)


def key_number(name: str, number: int) -> int:
    """`number` if a key can be folded with it. UserError otherwise."""
    if not 0 <= number < 2**32:
        raise UserError(f"{name} must be at least 0 and less than 2^32, got {number}")
    return number
