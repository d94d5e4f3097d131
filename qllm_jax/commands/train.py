"""`train`: make or open the run folder, then train: run/loop.py has the host loop, scaling/train_groups.py groups."""

from dataclasses import replace
from pathlib import Path

from qllm_envs.core import undrawn
from qllm_jax import config as configs
from qllm_jax import process, stats
from qllm_jax.config import Config, HostsConfig
from qllm_jax.critic import opening as critic
from qllm_jax.errors import UserError
from qllm_jax.program import devices, run_axis
from qllm_jax.program.experiment import Experiment
from qllm_jax.run import continued, finish, folder, gated, load, results, tensorboard_log, wandb_log, zoo
from qllm_jax.scaling import grouping, hosts
from qllm_jax.scaling.train_groups import is_finished, train_all

CHANGEABLE = ("total_steps", "devices", "unroll", "wandb.mode", "tensorboard")  # keys that may be given with resume=
COMPILING = "compiling (about 30 s the first time; later starts find the programs in the cache)"


def train(overrides: list[str]) -> int:
    """Compose the configuration, make or open the run folder, train. Return the exit code."""
    return train_in_folder(overrides)[0]


def train_in_folder(overrides: list[str]) -> tuple[int, Path]:
    """`train`. Also return the run folder."""
    config = configs.load(overrides)
    devices.use_cores()
    job, config = hosts.join(config.hosts), replace(config, hosts=HostsConfig())
    process.find_device()
    if job.processes > 1 and not (config.resume or config.run_dir):
        raise UserError("several processes need a folder that all of them see: give run_dir=FOLDER or resume=FOLDER")
    resumed = recorded(config, overrides) if config.resume else None
    if resumed and (text := end_of_finished(*resumed)):
        print(text)
        return 0, resumed[0]
    opened = None
    with hosts.synchronized(job, "folder"):
        if job.is_leader:
            opened = open_folder(*resumed, job.processes) if resumed else make_folder(config, job.processes)
    exp, path = opened or follow_leader(config, resumed[1] if resumed else config)
    spec = exp.env.spec
    runs = run_axis.describe(exp.config)
    print(f"{exp.config.algo.name} on {spec.task}: {stats.count(spec.n_agents, 'agent')}, {runs}, folder {path}")
    print(COMPILING)
    outcome = train_all(exp, path, job, open_between=critic.opened)
    if not outcome.finished:
        print(f"\n{outcome.text}; continue: python -m qllm_jax.train resume={path}")
    elif job.is_leader:
        drawn = "" if exp.env.scene is undrawn else f"; draw an episode: python -m qllm_jax.render {path}"
        print(f"\n{outcome.text}\nresults: {path / folder.RESULT}{drawn}")
    if job.is_leader and (line := wandb_log.sync_line(exp.config, path)):
        print(line)
    return (0 if outcome.finished and not outcome.interrupted else outcome.code), path


def make_folder(config: Config, n_processes: int) -> tuple[Experiment, Path]:
    """The experiment and its new folder. UserError if the processes cannot share it."""
    check_logs(config)
    exp = gated.build(config)
    path = folder.new_path(config, exp.env.spec.task)
    groups = grouping.choose(exp, n_processes)
    critic.check(exp, len(groups.ranges))
    path = folder.claim(path, is_default=config.run_dir is None)
    folder.create(path, config, exp.sources, groups.meta, empty=True)
    return exp, path


def open_folder(path: Path, config: Config, n_processes: int) -> tuple[Experiment, Path]:
    """The experiment of a folder to resume. UserError if the processes cannot share it."""
    folder.check_parts(path, config, resumes=True)
    if n_processes > 1 and not folder.group_ranges(path):
        raise UserError(f"{str(path)!r} was begun as one group of runs, which a single process continues")
    check_logs(config)
    exp = gated.build(config)
    continued.change(path, config)
    continued.record_resumed(path)
    return exp, path


def check_logs(config: Config) -> None:
    """UserError if wandb or TensorBoard refuses, before anything is made."""
    wandb_log.check(config.wandb)
    tensorboard_log.check(config.tensorboard)


def end_of_finished(path: Path, found: Config) -> str:
    """The results of a finished run that is resumed to no more steps, whose folder stays as it is; "" for any other.

    A folder whose runs have all failed is not finished: that they cannot go on is said where it is resumed.

    UserError if `total_steps` is below what the run has reached, or if its folder is damaged.
    """
    load.check_resumable(path)
    continued.check_total_steps(path, found.total_steps)
    if load.has_failed(path) or not is_finished(path, found.total_steps):
        return ""
    final = results.collect_groups(path)
    more = f"python -m qllm_jax.train resume={path} total_steps=N"
    head = f"{path} is finished, at step {final.env_steps:,}, and stays as it is; {more} with a larger N trains on"
    return f"{head}\n\n{finish.table(found, final)}"


def recorded(config: Config, overrides: list[str]) -> tuple[Path, Config]:
    """The folder and the configuration to resume. UserError if keys that are not CHANGEABLE are given with resume=."""
    assert config.resume is not None
    path, found = folder.load(config.resume)
    if zoo.is_entry(path):
        raise UserError(f"resume={config.resume}: the zoo has parameters alone, so training cannot go on from them")
    keys = {key for key in (override.partition("=")[0] for override in overrides) if not key.startswith("hosts.")}
    if changed := keys - {"resume", *CHANGEABLE}:
        raise UserError(
            f"resume= continues a run as it was configured; only {', '.join(CHANGEABLE)} and hosts can change, not "
            f"{', '.join(sorted(changed))}"
        )
    for key in keys & {*CHANGEABLE} - {"wandb.mode"}:
        found = replace(found, **{key: getattr(config, key)})
    if "wandb.mode" in keys:
        found = replace(found, wandb=replace(found.wandb, mode=config.wandb.mode))
    return path, found


def follow_leader(config: Config, machine: Config) -> tuple[Experiment, Path]:
    """The experiment and the folder that the leader of the job has made or opened.

    `machine` has the devices and the unroll: those of the command, or if it names none those of the resumed run.
    """
    path, found = folder.load(config.resume or config.run_dir or "")
    folder.check_parts(path, found, resumes=bool(config.resume))
    unroll = found.unroll if machine.unroll == "auto" else machine.unroll
    return gated.build(replace(found, devices=machine.devices, unroll=unroll)), path
