"""A run from its configuration to its results: the loop on the host around the compiled program."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from qllm_jax import config, files
from qllm_jax.config import Config, HostsConfig
from qllm_jax.errors import UserError
from qllm_jax.program import devices, experiment, run_axis
from qllm_jax.program.experiment import Experiment
from qllm_jax.run import folder, reopen, results
from qllm_jax.run.checkpoint import HostState, Saved
from qllm_jax.run.session import Interrupt, Session
from qllm_jax.scaling import grouping, hosts
from qllm_jax.scaling.hosts import Job

ALONE = Job()
CHANGEABLE = ("total_steps", "devices")  # beside resume=


class Ending(NamedTuple):
    """How a process's part of a run ended, and what to say of it."""

    finished: bool
    text: str


def run(exp: Experiment, path: Path) -> Ending:
    """Train from the newest checkpoint of the folder, or from the start, to the end or an interrupt."""
    if placed := devices.sentence(exp.n_runs, exp.program.pool):
        print(placed)
    try:
        with folder.locked(path):
            interrupt, session = Interrupt(), Session(exp, path, *first_state(exp, path))
            try:
                finished = advance(session, interrupt)
                return Ending(finished, session.finish() if finished else f"stopped at step {session.env_steps:,}")
            finally:
                session.close()
                interrupt.restore()
    except OSError as error:
        if error.errno not in files.DISK_ERRORS:
            raise
        sentence = f"{files.disk_error(error)}; when there is room: python -m qllm_jax.train resume={path}"
        raise UserError(sentence) from error


def run_groups(exp: Experiment, path: Path, numbers: Sequence[int]) -> Ending:
    """Train the groups of these numbers, one after another, each in a folder of its own, to the end or an interrupt.

    Groups that are finished are left alone. `exp` has the runs of all groups, and its program is compiled once for all
    groups of one size. Several processes may do this in one folder, each with other numbers.
    """
    bounds = folder.groups(path)
    for number in numbers:
        place = path / folder.GROUP.format(number)
        group = experiment.at(exp, *bounds[number])
        group = group._replace(config=replace(group.config, run_dir=str(place)))
        if not (place / folder.CONFIG).is_file():
            folder.create(place, group.config, exp.mixer.sources if exp.mixer else ())
        if is_finished(place, exp.config.total_steps):
            continue
        print(f"group {number} (of 0 to {len(bounds) - 1}): runs {bounds[number][0]} to {bounds[number][1] - 1}")
        if not (ending := run(group, place)).finished:
            return Ending(False, f"group {number} {ending.text}")
    return Ending(True, "")


def is_finished(path: Path, total_steps: int) -> bool:
    """Whether the run of a folder has its results, up to `total_steps`."""
    records = folder.records(path)
    found = results.finished(path, records)
    return found is not None and found["env_steps"] >= total_steps


def run_all(exp: Experiment, path: Path, job: Job = ALONE) -> Ending:
    """Train this process's share of a folder's runs, in its groups if it has some, and collect the results of all."""
    bounds = folder.groups(path)
    if not bounds:
        return run(exp, path)
    with hosts.together(job, "groups"):
        ending = run_groups(exp, path, hosts.groups_of(job, len(bounds)))
    if not ending.finished:
        return ending
    places = [path / folder.GROUP.format(number) for number in range(len(bounds))]
    if not all(is_finished(place, exp.config.total_steps) for place in places):
        return Ending(False, "other processes stopped before the end")
    text = results.write(path, exp.config, exp.env.spec.task, results.collected(path)) if job.leads else ""
    return Ending(True, text)


def advance(session: Session, interrupt: Interrupt) -> bool:
    """Train, log, evaluate and save until the end (True) or an interrupt (False)."""
    settings = session.exp.config
    if session.is_fresh:
        session.evaluate()
    while (step := session.env_steps) < settings.total_steps:
        next_eval = min(following(step, settings.eval_interval), settings.total_steps)
        session.train(min(following(step, settings.log_interval), next_eval))
        if session.env_steps >= next_eval:
            session.evaluate()
            session.save()
        if interrupt.requested:
            session.save()
            return False
    return True


def first_state(exp: Experiment, path: Path) -> tuple[Saved, HostState]:
    """The newest checkpoint, or a fresh state after the warm-up rollouts."""
    if found := reopen.newest(exp, path):
        return found
    return Saved(*exp.program.warmup(*experiment.start(exp), exp.hp)), HostState(0, 0, 0.0)


def following(step: int, interval: int) -> int:
    """The first multiple of `interval` behind `step`."""
    return (step // interval + 1) * interval


def resumed(settings: Config, overrides: list[str]) -> tuple[Path, Config]:
    """The folder and configuration to continue. UserError for other keys than CHANGEABLE beside resume=."""
    assert settings.resume is not None
    path, recorded = folder.load(settings.resume)
    keys = {key for key in (override.partition("=")[0] for override in overrides) if not key.startswith("hosts.")}
    if changed := keys - {"resume", *CHANGEABLE}:
        raise UserError(
            f"resume= continues a run as it was configured; only {' and '.join(CHANGEABLE)} can change, not "
            f"{', '.join(sorted(changed))}"
        )
    if "devices" in keys:
        recorded = replace(recorded, devices=settings.devices)
    if "total_steps" in keys:
        recorded = replace(recorded, total_steps=settings.total_steps)
        folder.extend(path, settings.total_steps)
    return path, recorded


def opened(settings: Config, overrides: list[str], n_processes: int) -> tuple[Experiment, Path]:
    """The experiment and the folder, made if it is new. UserError for one that several processes cannot share."""
    if not settings.resume:
        exp = experiment.build(settings)
        path = folder.chosen_path(settings, exp.env.spec.task)
        groups = grouping.choose(exp, n_processes)
        folder.create(path, settings, exp.mixer.sources if exp.mixer else (), groups.record)
        return exp, path
    path, settings = resumed(settings, overrides)
    if n_processes > 1 and not folder.groups(path):
        raise UserError(f"{str(path)!r} was begun as one group of runs, which a single process continues")
    return experiment.build(settings), path


def joined(settings: Config) -> tuple[Experiment, Path]:
    """The same of a folder that another process of the job has opened."""
    path, recorded = folder.load(settings.resume or settings.run_dir or "")
    return experiment.build(replace(recorded, devices=settings.devices)), path


def train(overrides: list[str]) -> int:
    """The command: compose the configuration, make or open the folder, train."""
    settings = config.load(overrides)
    devices.use_cores()
    job, settings = hosts.join(settings.hosts), replace(settings, hosts=HostsConfig())
    if job.processes > 1 and not (settings.resume or settings.run_dir):
        raise UserError("several processes need a folder that all of them see: give run_dir=FOLDER or resume=FOLDER")
    opening = None
    with hosts.together(job, "folder"):
        if job.leads:
            opening = opened(settings, overrides, job.processes)
    exp, path = opening or joined(settings)
    spec, config_ = exp.env.spec, exp.config
    print(f"{config_.algo.name} on {spec.task}: {spec.n_agents} agents, {run_axis.size(config_)}, folder {path}")
    ending = run_all(exp, path, job)
    if not ending.finished:
        print(f"\n{ending.text}; continue: python -m qllm_jax.train resume={path}")
        return 130
    if job.leads:
        print(f"\n{ending.text}\nresults: {path / folder.RESULT}; draw an episode: python -m qllm_jax.render {path}")
    return 0
