"""Cells of a study as its file has them: their overrides, and the study that trains them."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from qllm_jax.errors import UserError
from qllm_jax.studies import plan
from qllm_jax.studies.plan import CellsEntry, Plan, Study


class Wanted(NamedTuple):
    """A cell as the study's file has it, before its configuration is composed, which takes time."""

    task: str
    method: str
    priority: int
    overrides: tuple[str, ...]
    trained_by: str | None  # another study; None: the study itself


def cells(study: Study) -> Iterator[Wanted]:
    """The cells in the order of the file. UserError for one that is said to be another study's, and is not."""
    for entry in study.plan.cells:
        other = _trainer(study, entry)
        trained_there = trained_cells(other.plan) if entry.trained_by else {}
        for task in entry.tasks:
            for method in entry.methods:
                overrides = overrides_of(study.plan, entry, task, method, other.plan.seed)
                if entry.trained_by and (fault := difference(overrides, trained_there.get((task, method)))):
                    raise UserError(f"{study.path}: {task} with {method}, trained_by {entry.trained_by}: {fault}")
                yield Wanted(task, method, entry.priority, overrides, entry.trained_by)


def _trainer(study: Study, entry: CellsEntry) -> Study:
    """The study that trains the cells of an entry. UserError that names the file and `trained_by` if there is none."""
    if not entry.trained_by:
        return study
    try:
        return plan.load(entry.trained_by)
    except UserError as error:
        raise UserError(f"{study.path}: trained_by {entry.trained_by}: {error}") from error


def trained_cells(given: Plan) -> dict[tuple[str, str], tuple[str, ...]]:
    """Overrides of the cells that a study trains itself, by task and method."""
    own = [entry for entry in given.cells if not entry.trained_by]
    pairs = [(entry, task, method) for entry in own for task in entry.tasks for method in entry.methods]
    return {(t, m): overrides_of(given, entry, t, m, given.seed) for entry, t, m in pairs}


def difference(here: Sequence[str], there: Sequence[str] | None) -> str:
    """The sentence if a cell is not the other study's; "" if it is."""
    if there is None:
        return "that study trains no such cell"
    if here == there:
        return ""
    if sorted(here) == sorted(there):
        return "its overrides differ: they are in another order, and a later one has priority"
    only = lambda some, others: " ".join(each for each in some if each not in others) or "none of its own"
    return f"its overrides differ: here {only(here, there)}, there {only(there, here)}"


def overrides_of(given: Plan, entry: CellsEntry, task: str, method: str, seed: int) -> tuple[str, ...]:
    """Overrides of a cell: of the study, the task, the method and the entry; a later one has priority."""
    of_task = given.tasks[task]
    size = (f"seeds={of_task.seeds}", f"seed={seed}", f"total_steps={of_task.total_steps}")
    return (*given.set, *of_task.set, *given.methods[method].set, *entry.set, *size)
