"""Load a run from its folder to evaluate, draw or resume it: its parts and its newest checkpoint."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from qllm_envs.parts import suggest
from qllm_jax.core.types import Params
from qllm_jax.errors import UserError
from qllm_jax.program import devices, experiment, guard, run_axis
from qllm_jax.program.compiled import shapes
from qllm_jax.program.experiment import Experiment
from qllm_jax.program.one_run import RunState
from qllm_jax.run import checkpoint, folder, results, safetensors, stored_logs, stored_tree, zoo
from qllm_jax.run.checkpoint import HostState, TrainState

WHICH = ("best", "last")  # each run's parameters at its best evaluation, or at the newest checkpoint


class LoadedRun(NamedTuple):
    """The runs of a folder with their parameters."""

    path: Path
    exp: Experiment
    which: str
    params: Params  # leaves (R, ...)
    params_steps: list[int]  # environment steps at which each run had these parameters
    env_steps: int  # of the checkpoint, per run
    group_size: int  # runs that were trained at once

    def __str__(self) -> str:
        spec, algo = self.exp.env.spec, self.exp.config.algo.name
        return f"{algo} on {spec.task}, {self.which} parameters up to step {self.env_steps:,}"

    def index_of(self, configuration: str | int | None, seed: int) -> int:
        """The index on the run axis of a configuration, by its label or number (None: 0), and a seed.

        UserError if there is none.
        """
        runs = run_axis.runs(self.exp.config)
        indices = run_axis.indices_by_label(runs)
        by_name = {name: label for i, label in enumerate(indices) for name in (label, str(i))}
        label = by_name.get(str(configuration or 0))
        if label is None:
            known = "; ".join(f"{i} ({each})" if each else str(i) for i, each in enumerate(indices))
            raise UserError(f"configuration={configuration} is not in this run: it has {known}")
        by_seed = {runs[i].seed: i for i in indices[label]}
        if seed not in by_seed:
            seeds = f"seeds {min(by_seed)} to {max(by_seed)}" if len(by_seed) > 1 else f"seed {min(by_seed)} alone"
            raise UserError(f"seed={seed} is not in this run: it has {seeds}")
        return by_seed[seed]


def load_run(path: str, which: str = "best") -> LoadedRun:
    """Load a run folder. UserError if it is not a run, has no checkpoint yet, or `which` is not in WHICH."""
    if which not in WHICH:
        raise UserError(f"which={which} does not exist: {suggest(which, WHICH)}")
    run_path, config = folder.load(path)
    folder.check_parts(run_path, config)
    exp = experiment.build(replace(config, devices=1))  # one device reads a run of any number of devices
    ranges = folder.group_ranges(run_path)
    if not ranges:
        return load_group(exp, run_path, which)
    groups = [
        load_group(experiment.slice_runs(exp, start, stop), folder.group_folder(run_path, i), which)
        for i, (start, stop) in enumerate(ranges)
    ]
    params = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *(group.params for group in groups))
    params_steps = [step for group in groups for step in group.params_steps]
    env_steps, group_size = min(group.env_steps for group in groups), max(group.group_size for group in groups)
    return LoadedRun(run_path, exp, which, params, params_steps, env_steps, group_size)


def load_group(exp: Experiment, path: Path, which: str) -> LoadedRun:
    """Load the runs of one folder of checkpoints, or of the zoo. UserError if it has no checkpoint yet."""
    if zoo.is_entry(path):
        return load_entry(exp, path, which)
    found = newest_checkpoint(exp, path, with_replay=False)
    if found is None:
        interval = exp.config.eval_interval
        raise UserError(f"{str(path)!r} has no checkpoint yet: the first one is written at step {interval:,}")
    (clock, runs), _ = found
    env_steps, n_runs = int(clock.env_steps), exp.n_runs
    note_failed(exp, path, runs)
    if which == "last":
        return LoadedRun(path, exp, which, runs.learner.params, [env_steps] * n_runs, env_steps, n_runs)
    records = [r for r in stored_logs.metrics(path) if r["env_steps"] <= env_steps]
    steps = results.best_steps(records, run_axis.runs(exp.config))
    return LoadedRun(path, exp, which, runs.best_params, steps, env_steps, n_runs)


def load_entry(exp: Experiment, path: Path, which: str) -> LoadedRun:
    """Load a policy of the zoo. UserError if its parameters are missing, or not those of its configuration."""
    if which != "best":
        raise UserError(f"which={which}: {path} has the parameters of the best evaluation alone, which=best")
    stored, file = safetensors.read(path / zoo.PARAMETERS), path / zoo.PARAMETERS
    expected = shapes(exp.program, exp.root, exp.seeds, exp.choice)[1].best_params
    wanted = {name: leaf.shape[1:] for name, leaf in stored_tree.leaves_by_name(expected).items()}
    if wanted != (found := {name: array.shape for name, array in stored.items()}):
        differ = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
        raise UserError(f"{file} does not fit its config.yaml: {differ[0]} is absent or of another shape")
    ordered = [jnp.asarray(stored[name])[None] for name in wanted]
    params = jax.tree.unflatten(jax.tree.structure(expected), ordered)
    result = results.read(path)
    return LoadedRun(path, exp, which, params, result["best_checkpoint_env_steps"], result["env_steps"], 1)


def note_failed(exp: Experiment, path: Path, runs: RunState) -> None:
    """Say on stderr which runs failed: their parameters are those of the update before."""
    steps = zip(run_axis.runs(exp.config), runs.fault.env_steps[: exp.n_runs].tolist(), strict=True)
    if failed := [f"{run.label} seed {run.seed} at step {n:,}".strip() for run, n in steps if n != guard.NONE]:
        print(f"note: runs of {path} failed, their parameters are those before: {'; '.join(failed)}", file=sys.stderr)


def newest_checkpoint(exp: Experiment, path: Path, with_replay: bool = True) -> tuple[TrainState, HostState] | None:
    """Read the newest whole checkpoint of a run folder; None if there is none at all.

    `with_replay=False` leaves the replay out, see `checkpoint.without_replay`. Damaged ones are skipped with a note.
    UserError if all are damaged, or if one does not fit the run.
    """
    skipped: list[str] = []
    for found in checkpoint.newest_first(path / folder.CHECKPOINTS):
        problem = checkpoint.damage(found)
        try:
            state = None if problem else read_checkpoint(exp, found, with_replay)
        except UserError:
            raise
        except Exception as error:  # orbax raises what its parsers raise
            problem, state = checkpoint.failure_reason(error), None
        if state is not None:
            if skipped:
                print(f"note: {'; '.join(skipped)}, and is skipped: {found} is used", file=sys.stderr)
            return state
        # A run that is training removes a checkpoint when there are newer ones: then read those.
        if not found.exists():
            return newest_checkpoint(exp, path, with_replay)
        skipped.append(f"{found} is damaged ({problem})")
    if skipped:
        raise none_whole(path, skipped)
    return None


def none_whole(path: Path, skipped: Sequence[str]) -> UserError:
    """The error for a folder whose checkpoints are all damaged."""
    return UserError(f"no checkpoint of {path} is whole: {'; '.join(skipped)}; restore one from a copy, or train anew")


def check_resumable(path: Path) -> None:
    """UserError if checkpoints or logs of a run folder are too damaged to go on. Nothing is compiled."""
    for group in folder.log_folders(path):
        checkpoints = group / folder.CHECKPOINTS
        if whole := checkpoint.latest(checkpoints):
            stored_logs.check_covered(group, checkpoint.host_state(whole))
        elif damaged := checkpoint.newest_first(checkpoints):
            raise none_whole(group, [f"{each} is damaged ({checkpoint.damage(each)})" for each in damaged])
        elif not has_failed(group):
            stored_logs.check_without_checkpoint(group, (group / folder.RESULT).is_file())


def has_failed(path: Path) -> bool:
    """True for a folder with final results whose runs have all failed, which is not continued."""
    found = results.read_finished(path, folder.records(path))
    return found is not None and results.all_failed(found)


def read_checkpoint(exp: Experiment, path: Path, with_replay: bool = True) -> tuple[TrainState, HostState]:
    """Read a checkpoint of any number of devices onto those of the experiment. UserError if it does not fit the run.

    `with_replay=False` leaves the replay out, see `checkpoint.without_replay`. A dataset comes from its own file.
    """
    has_data = exp.learner.data is not None
    asked = (lambda like: like) if with_replay and not has_data else checkpoint.without_replay
    with_data = partial(experiment.with_data, exp) if with_replay and has_data else lambda runs: runs
    expected = TrainState(*shapes(exp.program, exp.root, exp.seeds, exp.choice))
    rows, stored_rows = len(exp.seeds), exp.n_runs + checkpoint.host_state(path).spare
    if stored_rows == rows:
        (clock, runs), host = checkpoint.restore(path, asked(expected))
        return TrainState(clock, with_data(runs)), host
    # By way of the host: the runs of several devices may be too large for one.
    like = expected._replace(runs=devices.on_host(expected.runs, stored_rows))
    (clock, runs), host = checkpoint.restore(path, asked(like))
    indices = np.minimum(np.arange(rows), exp.n_runs - 1)  # spare runs are copies of the last run
    move = lambda x, like: x if x is stored_tree.UNREAD else jax.device_put(x[indices], like.sharding)
    return TrainState(clock, with_data(jax.tree.map(move, runs, expected.runs))), host
