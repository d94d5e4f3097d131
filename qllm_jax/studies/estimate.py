"""Estimates of the time that trainings take, from those that are finished or under way."""

from collections.abc import Callable, Iterable, Sequence
from statistics import median
from typing import NamedTuple

from qllm_jax.studies import results, trainings
from qllm_jax.studies.cells import Cell
from qllm_jax.studies.trainings import Training
from qllm_jax.studies.work import Work


class Rate(NamedTuple):
    """Wall time per environment step of one run, as one cell has measured it."""

    task: str
    method: str
    seconds: float


def rates(work: Work) -> list[Rate]:
    """The rates of all results, of whatever configuration, and of all trainings that are not finished."""
    found = []
    for cell in work.cells:
        if result := results.read(work.results, cell):
            run_steps = result["env_steps"] * result["runs_at_once"]
            found.append(Rate(cell.task, cell.method, result["wall_s"] / run_steps))
    missing = {(cell.task, cell.identity): cell for cell in work.missing()}
    for trained in trainings.found_in(work.runs, {cell.task for cell in missing.values()}):
        cells = [missing.get((trained.path.parent.name, each)) for each in trained.identities.values()]
        steps, seconds = trained.progress() if any(cells) else (0, 0.0)
        found += [Rate(cell.task, cell.method, seconds / steps) for cell in cells if cell and steps]
    return found


def of_cell(cell: Cell, rates: Sequence[Rate]) -> float | None:
    """Seconds to train a cell, by the cells most like it: of its task and method, its task, its method, any.

    None if there are no rates.
    """
    alike: tuple[Callable[[Rate], bool], ...] = (
        lambda rate: (rate.task, rate.method) == (cell.task, cell.method),
        lambda rate: rate.task == cell.task,
        lambda rate: rate.method == cell.method,
        lambda rate: True,
    )
    for is_alike in alike:
        if found := [rate.seconds for rate in rates if is_alike(rate)]:
            return median(found) * cell.run_steps
    return None


def of_training(training: Training, rates: Sequence[Rate]) -> float | None:
    """Seconds to the end of a training. None if there are no rates."""
    whole = total(of_cell(cell, rates) for cell in training.cells)
    if training.found is None or whole is None:
        return whole
    if training.found.finished:
        return 0.0
    done, seconds = training.found.progress()
    if not done:
        return whole
    return seconds / done * (training.found.run_steps - done)


def total(seconds: Iterable[float | None]) -> float | None:
    """The sum; None if one of them is None."""
    found = list(seconds)
    known = [each for each in found if each is not None]
    return sum(known) if len(known) == len(found) else None


def text(seconds: float | None) -> str:
    """A duration as text, like `about 2 h 05 min`."""
    if seconds is None:
        return "unknown"
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"about {max(round(seconds), 1)} s"
    hours = minutes // 60
    return f"about {hours} h {minutes % 60:02d} min" if hours else f"about {minutes} min"
