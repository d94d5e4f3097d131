"""The host loop around the compiled program: train a chunk, log it, evaluate, write a checkpoint if due, to the end."""

import math
import time
from contextlib import closing, nullcontext
from pathlib import Path
from typing import NamedTuple

from qllm_jax import files
from qllm_jax.errors import UserError
from qllm_jax.program import devices, experiment
from qllm_jax.program.experiment import Experiment
from qllm_jax.run import between, folder, load, results, stored_logs
from qllm_jax.run.between import PausedError
from qllm_jax.run.checkpoint import HostState, TrainState
from qllm_jax.run.interrupt import Interrupt
from qllm_jax.run.nonfinite import NonFiniteError
from qllm_jax.run.session import Session

INTERRUPTED, WAITING = 130, 4  # exit codes of a training that is not finished


class Outcome(NamedTuple):
    """The end of a training command in this process: finished or not, the text to print, and the exit code if not."""

    finished: bool
    text: str
    code: int = INTERRUPTED
    interrupted: bool = False  # Ctrl-C came in the final evaluation: no further training is to start


def train(exp: Experiment, path: Path, stop_at: float = math.inf, open_between: between.Open | None = None) -> Outcome:
    """Train the runs of one folder from its newest checkpoint, or from the start, to the end or an interrupt.

    `stop_at` is a time of `time.monotonic`, after which training stops as it does by Ctrl-C. `open_between` gives work
    that is done between chunks.
    """
    started = time.monotonic()
    if text := devices.describe(exp.n_runs, exp.program.pool):
        print(text)
    if exp.warmup_steps >= exp.config.total_steps:
        first = f"{exp.config.algo.batch_episodes} episodes (algo.batch_episodes)"
        print(f"note: nothing is learned, as total_steps={exp.config.total_steps} ends before the first {first}")
    try:
        with (
            folder.locked(path),
            closing(Interrupt()) as interrupt,
            open_between(exp, path) if open_between else nullcontext() as work,
            closing(Session(exp, path, *initial_state(exp, path), started, work)) as session,
        ):
            try:
                finished = advance_or_fail(session, interrupt, stop_at)
            except PausedError as pause:
                session.save()
                return Outcome(False, f"paused at step {session.env_steps:,}: {pause}", WAITING)
            text = session.finish() if finished else f"stopped at step {session.env_steps:,}"
            return Outcome(finished, text, interrupted=interrupt.requested)
    except OSError as error:
        if error.errno not in files.DISK_ERRORS:
            raise
        message = f"{files.disk_error(error)}; when there is room: python -m qllm_jax.train resume={path}"
        raise UserError(message) from error


def advance_or_fail(session: Session, interrupt: Interrupt, stop_at: float) -> bool:
    """`advance`. `NonFiniteError`, with a checkpoint and for a group its results, once no run learns any more."""
    try:
        session.check_learning()
        return advance(session, interrupt, stop_at)
    except NonFiniteError:
        # A result of fewer steps does not count: the group was continued since.
        if session.exp.config.part and results.read_finished(path := session.path, folder.records(path)) is None:
            session.finish()
        session.save()  # covers the records of the final evaluation, so that they are kept
        raise


def advance(session: Session, interrupt: Interrupt, stop_at: float) -> bool:
    """Train, log, evaluate and save until the end (True), or until an interrupt or the time `stop_at` (False)."""
    config = session.exp.config
    if session.is_fresh:
        session.evaluate()
    stopped = lambda: interrupt.requested or time.monotonic() >= stop_at
    while (step := session.env_steps) < config.total_steps:
        if not session.work_between(stopped):
            session.save()
            return False
        next_eval = min(next_multiple(step, config.eval_interval), config.total_steps)
        goals = [next_multiple(step, session.between.interval)] if session.between else []
        session.train(min(next_multiple(step, config.log_interval), next_eval, *goals))
        session.check_learning()
        if session.env_steps >= next_eval:
            session.evaluate()
            session.save_if_due()
        if stopped():
            session.save()
            return False
    session.save()
    return True


def initial_state(exp: Experiment, path: Path) -> tuple[TrainState, HostState]:
    """The newest checkpoint, or a fresh state after the warm-up rollouts."""
    if found := load.newest_checkpoint(exp, path):
        stored_logs.check_covered(path, found[1])
        return found
    stored_logs.check_without_checkpoint(path, (path / folder.RESULT).is_file())
    return TrainState(*exp.program.warmup(*experiment.init(exp), exp.hp)), HostState(0, 0, 0.0)


def next_multiple(step: int, interval: int) -> int:
    """The first multiple of `interval` after `step`."""
    return (step // interval + 1) * interval
