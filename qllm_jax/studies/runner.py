"""Train what is missing of a study: one training after another in this process, each in a run folder of its own."""

import gc
import math
import sys
import time
import traceback
from contextlib import ExitStack
from dataclasses import replace
from enum import Enum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import jax

from qllm_jax.config import Config
from qllm_jax.critic import opening as critic
from qllm_jax.errors import UserError
from qllm_jax.program.experiment import Experiment
from qllm_jax.run import continued, folder, gated, wandb_log
from qllm_jax.run.nonfinite import NonFiniteError
from qllm_jax.scaling import grouping
from qllm_jax.scaling.train_groups import train_all
from qllm_jax.studies import cells as of_cells
from qllm_jax.studies import estimate, results, trainings
from qllm_jax.studies.cells import Cell
from qllm_jax.studies.trainings import Training
from qllm_jax.studies.work import Work


class Ended(Enum):
    """The end of a training, or of all."""

    FINISHED = "finished"
    FAILED = "failed"
    ELSEWHERE = "another process trains it"
    INTERRUPTED = "interrupted"
    OUT_OF_TIME = "out of time"


class Choices(NamedTuple):
    """The choices of a process: the cells it may train, until when, and on what of this machine."""

    only: tuple[str, ...] = ("*",)  # patterns of TASK/METHOD
    stop_at: float = math.inf  # of time.monotonic
    machine: Config | None = None  # whose devices, unroll, group, memory_gib and wandb are used; None: the defaults


class Report(NamedTuple):
    """The outcome of a process: how it ended, and the cells that failed or that other processes train."""

    ended: Ended
    failed: dict[str, str]  # the sentence of each, by name
    elsewhere: list[str]


def run(work: Work, choices: Choices) -> Report:
    """Train the missing cells in order of priority, to the end, an interrupt, or the time `stop_at`."""
    if choices.machine:
        wandb_log.check(choices.machine.wandb)
    wanted = {cell.name for cell in work.cells if matches(cell, choices.only) and not cell.trained_by}
    if not wanted:
        raise UserError(no_match(work, choices.only))
    failed: dict[str, str] = {}
    elsewhere: list[str] = []
    left_to_do = lambda: trainings.to_do(work.missing_here(), wanted - {*failed, *elsewhere}, work.runs)
    number = 1
    while left := left_to_do():
        with ExitStack() as held:
            if busy := [cell.name for cell in left[0].cells if not work.claim(cell, held)]:
                # A folder that is continued has all of its cells, or none.
                elsewhere += [cell.name for cell in left[0].cells] if left[0].found else busy
                continue
            # Another process may have trained some of the cells before they were claimed.
            if left_to_do()[:1] != left[:1]:
                continue
            if not announce(work, left, number, choices.stop_at):
                return Report(Ended.OUT_OF_TIME, failed, elsewhere)
            ended, sentences = attempt(work, left[0], choices)
        failed |= sentences
        if ended in (Ended.INTERRUPTED, Ended.OUT_OF_TIME):
            return Report(ended, failed, elsewhere)
        if ended is Ended.ELSEWHERE:
            elsewhere += [cell.name for cell in left[0].cells]
        else:
            number += ended is Ended.FINISHED
            elsewhere.clear()  # a process that had a cell may have ended since
        forget_programs()
    return Report(Ended.FAILED if failed else Ended.FINISHED, failed, elsewhere)


def matches(cell: Cell, patterns: tuple[str, ...]) -> bool:
    """True if the name of the cell matches one of the patterns."""
    return any(fnmatchcase(cell.name, pattern) for pattern in patterns)


def no_match(work: Work, patterns: tuple[str, ...]) -> str:
    """The sentence for patterns that match nothing that this study trains."""
    given = f"only={','.join(patterns)}"
    if others := [cell for cell in work.cells if matches(cell, patterns)]:
        return f"{given} matches only cells that study {others[0].trained_by} trains"
    return f"{given} matches no cell: choose from {', '.join(cell.name for cell in work.cells if not cell.trained_by)}"


def announce(work: Work, left: list[Training], number: int, stop_at: float) -> bool:
    """Print which training starts, and estimates. False if it does not start, as it would end after `stop_at`.

    The first training of a process starts whatever its length: else a study would not go on in short sessions.
    """
    training, rates = left[0], estimate.rates(work)
    own = estimate.of_training(training, rates)
    rest = estimate.total(estimate.of_training(each, rates) for each in left)
    head = f"\n{work.study.name}, training {number} of {number + len(left) - 1}: {training.name}"
    print(f"{head} (priority {training.priority}); this one: {estimate.text(own)}, all: {estimate.text(rest)}")
    if number > 1 and own is not None and time.monotonic() + own > stop_at:
        print("it does not fit in max_hours, and is not started")
        return False
    return True


def attempt(work: Work, training: Training, choices: Choices) -> tuple[Ended, dict[str, str]]:
    """Train cells that are claimed, and write their results. With Ended.FAILED: the sentence of each cell that failed.

    A refused credit function fails its own cells alone; the others are planned again without it.
    """
    try:
        # A folder that is continued has functions of its own, which `gated.build` verifies.
        sentences = {} if training.found else refusals(training.cells)
        ended, sentences = (Ended.FAILED, sentences) if sentences else train(work, training, choices)
    except Exception as error:  # whatever it is, it must not end a study that runs for days
        if not isinstance(error, UserError | jax.errors.JaxRuntimeError):  # the latter: a full device, most often
            traceback.print_exc()
        first_line = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        sentence = str(error) if isinstance(error, UserError) else first_line
        sentences, ended = dict.fromkeys((cell.name for cell in training.cells), sentence), Ended.FAILED
    for cell in training.cells:
        if cell.name in sentences:
            print(f"{cell.name} failed: {sentences[cell.name]}", file=sys.stderr)
            work.record_failure(cell, sentences[cell.name])
    return ended, sentences


def refusals(cells: list[Cell]) -> dict[str, str]:
    """The sentence for each cell whose credit function the gates refuse, by its name."""
    found = {}
    for cell in cells:
        try:
            gated.require(cell.config)
        except UserError as error:
            found[cell.name] = str(error)
    return found


def train(work: Work, training: Training, choices: Choices) -> tuple[Ended, dict[str, str]]:
    """Train in a new run folder, or in the one that was found, and write the results of its cells.

    With Ended.FAILED: the sentence of each cell with a seed that failed. The others have results.
    """
    found, interrupted = training.found, False
    if found is None or not found.finished:
        if found and any(map(folder.in_use, {found.path, *folder.log_folders(found.path)})):
            return Ended.ELSEWHERE, {}
        exp, path = open_folder(work, training, choices.machine)
        for cell in training.cells:  # it is no longer failed, also if it is stopped now
            work.forget_failure(cell)
        outcome = train_all(exp, path, stop_at=choices.stop_at, open_between=critic.opened)
        interrupted = outcome.interrupted
        if not outcome.finished:
            print(f"\n{training.name} {outcome.text}")
            out_of_time = time.monotonic() >= choices.stop_at
            return (Ended.OUT_OF_TIME if out_of_time else Ended.INTERRUPTED), {}
        print(f"\n{outcome.text}")
        found = trainings.trained(path)
    failed = {}
    for cell in training.cells:
        try:
            print(f"results: {results.write(work.results, work.study.name, cell, found)}")
        except NonFiniteError as error:
            failed[cell.name] = str(error)
        else:
            work.forget_failure(cell)
    if interrupted:
        return Ended.INTERRUPTED, failed
    return (Ended.FAILED if failed else Ended.FINISHED), failed


def open_folder(work: Work, training: Training, machine: Config | None) -> tuple[Experiment, Path]:
    """The experiment of a training, and its run folder, which is made if it is new."""
    if training.found:
        path, config = folder.load(str(training.found.path))
        folder.check_parts(path, config, resumes=True)
        print(f"continued in {path}")
        exp = gated.build(on(machine, config, group_of(work, path)))
        continued.record_resumed(path)
        return exp, path
    path = trainings.new_folder(training, work.runs)
    exp = gated.build(on(machine, of_cells.config_of_all(training.cells), group_of(work, path)))
    groups = grouping.choose(exp)
    critic.check(exp, len(groups.ranges))
    folder.create(path, exp.config, exp.sources, groups.meta)
    return exp, path


def on(machine: Config | None, config: Config, wandb_group: str) -> Config:
    """The configuration with the keys of this machine, and a group in wandb if it has none."""
    if machine is not None:
        keys = ("devices", "unroll", "group", "memory_gib", "wandb")
        config = replace(config, **{key: getattr(machine, key) for key in keys})
    return replace(config, wandb=replace(config.wandb, group=config.wandb.group or wandb_group))


def group_of(work: Work, path: Path) -> str:
    """STUDY/TASK/METHOD, the group of a run folder in wandb: the name of the folder alone may be of several tasks."""
    return "/".join((work.study.name, path.parent.name, path.name))


def forget_programs() -> None:
    """Free the compiled programs of a training: the memory of a process must not grow with its trainings."""
    jax.clear_caches()
    gc.collect()
