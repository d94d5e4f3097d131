"""A run from its configuration to its results: the loop on the host around the compiled program."""

from dataclasses import replace
from pathlib import Path

from qllm_jax import cli, config, experiment, folder, saved
from qllm_jax.checkpoint import HostState, Saved
from qllm_jax.config import Config
from qllm_jax.errors import UserError
from qllm_jax.experiment import Experiment
from qllm_jax.session import Interrupt, Session


def run(exp: Experiment, path: Path) -> int:
    """Train from the newest checkpoint of the folder, or from the start, and print how it ended. The exit code."""
    try:
        with folder.locked(path):
            interrupt, session = Interrupt(), Session(exp, path, *first_state(exp, path))
            try:
                finished = advance(session, interrupt)
                ending = session.finish() if finished else f"stopped at step {session.env_steps:,}"
            finally:
                session.close()
                interrupt.restore()
    except OSError as error:
        if error.errno not in cli.DISK_ERRORS:
            raise
        sentence = f"{cli.disk_error(error)}; when there is room: python -m qllm_jax.train resume={path}"
        raise UserError(sentence) from error
    if not finished:
        print(f"\n{ending}; continue: python -m qllm_jax.train resume={path}")
        return 130
    print(f"\n{ending}\nresults: {path / folder.RESULT}; draw an episode: python -m qllm_jax.render {path}")
    return 0


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
    if found := saved.newest(exp, path):
        return found
    clock, runs = exp.program.init(exp.root, exp.seeds)
    return Saved(*exp.program.warmup(clock, runs, exp.hp)), HostState(0, 0, 0.0)


def following(step: int, interval: int) -> int:
    """The first multiple of `interval` behind `step`."""
    return (step // interval + 1) * interval


def resumed(settings: Config, overrides: list[str]) -> tuple[Path, Config]:
    """The folder and configuration to continue. UserError for other keys than total_steps beside resume=."""
    assert settings.resume is not None
    path, recorded = folder.load(settings.resume)
    keys = {override.partition("=")[0] for override in overrides} - {"resume"}
    if keys - {"total_steps"}:
        changed = ", ".join(sorted(keys - {"total_steps"}))
        raise UserError(f"resume= continues a run as it was configured; only total_steps can change, not {changed}")
    if "total_steps" in keys:
        recorded = replace(recorded, total_steps=settings.total_steps)
        folder.extend(path, settings.total_steps)
    return path, recorded


def train(overrides: list[str]) -> int:
    """The command: compose the configuration, make or open the folder, train."""
    settings = config.load(overrides)
    if settings.resume:
        path, settings = resumed(settings, overrides)
        exp = experiment.build(settings)
    else:
        exp = experiment.build(settings)
        path = folder.create(settings, exp.env.spec.task, exp.mixer.source if exp.mixer else None)
    spec = exp.env.spec
    print(f"{settings.algo.name} on {spec.task}: {spec.n_agents} agents, {settings.seeds} seeds, folder {path}")
    return run(exp, path)
