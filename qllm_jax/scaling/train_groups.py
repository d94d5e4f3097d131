"""Train all runs of a folder: its groups one after another, shared among the processes of a job."""

import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from qllm_jax.program import experiment
from qllm_jax.program.experiment import Experiment
from qllm_jax.run import between, finish, folder, loop, results
from qllm_jax.run.loop import Outcome
from qllm_jax.run.nonfinite import NonFiniteError
from qllm_jax.scaling import hosts
from qllm_jax.scaling.hosts import Job

ONE_PROCESS = Job()


def train_all(
    exp: Experiment,
    path: Path,
    job: Job = ONE_PROCESS,
    stop_at: float = math.inf,
    open_between: between.Open | None = None,
) -> Outcome:
    """Train this process's share of the groups, or the runs of a folder without groups, and collect all results.

    `stop_at` and `open_between`: see `loop.train`. Work between chunks is done for a folder without groups alone.
    """
    n_groups = len(folder.group_ranges(path))
    if not n_groups:
        return loop.train(exp, path, stop_at, open_between)
    with hosts.synchronized(job, "groups"):
        outcome = train_groups(exp, path, hosts.groups_of(job, n_groups), stop_at)
    if not outcome.finished:
        return outcome
    left = [i for i in range(n_groups) if not is_finished(folder.group_folder(path, i), exp.config.total_steps)]
    if left:
        names = ", ".join(folder.group_folder(path, i).name for i in left)
        return Outcome(False, f"stopped before the end of {names}")
    if not job.is_leader:
        return outcome
    final = results.collect_groups(path)
    table = finish.write_results(path, exp.config, exp.env.spec.task, final)
    if len(final.failed) == exp.n_runs:
        raise NonFiniteError(f"all runs of {path} failed:\n{table}")
    return outcome._replace(text=table)


def train_groups(exp: Experiment, path: Path, indices: Sequence[int], stop_at: float = math.inf) -> Outcome:
    """Train the groups with these indices one after another, each in its own folder, to the end or an interrupt.

    Finished groups are skipped. One in which no run learns any more is reported, and the next one is trained. `exp` has
    the runs of all groups, and groups of equal size share its compiled program. Several processes may do this in one
    folder, with different indices.
    """
    ranges = folder.group_ranges(path)
    for index in indices:
        (start, stop), group_path = ranges[index], folder.group_folder(path, index)
        group = experiment.slice_runs(exp, start, stop)
        group = group._replace(config=replace(group.config, run_dir=str(group_path)))
        if not (group_path / folder.CONFIG).is_file():
            folder.create(group_path, group.config, exp.sources)
        if is_finished(group_path, exp.config.total_steps):
            continue
        print(f"group {index} (of 0 to {len(ranges) - 1}): runs {start} to {stop - 1}")
        try:
            outcome = loop.train(group, group_path, stop_at)
        except NonFiniteError as error:
            print(f"group {index} failed: {error}", file=sys.stderr)
            continue
        if not outcome.finished:
            return Outcome(False, f"group {index} {outcome.text}")
        if outcome.interrupted:
            is_last = index == indices[-1]
            return Outcome(is_last, "" if is_last else f"group {index} is finished", interrupted=True)
    return Outcome(True, "")


def is_finished(path: Path, total_steps: int) -> bool:
    """True if the folder has its final results, up to `total_steps`."""
    result = results.read_finished(path, folder.records(path))
    return result is not None and (result["env_steps"] >= total_steps or results.all_failed(result))
