"""Trainings of a study: the run folders that hold cells, and the trainings that are still to do.

A folder's cells are found by its configurations and functions, not by its name. So a training that was cut off is
continued whatever else was added to the study or finished since, and a folder of an edited study is left as it is.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from qllm_jax import config as configs
from qllm_jax import files
from qllm_jax.config import Config
from qllm_jax.errors import UserError
from qllm_jax.program import run_axis
from qllm_jax.run import folder, functions_used, parts_used, stored_logs
from qllm_jax.scaling.train_groups import is_finished
from qllm_jax.studies import cells as of_cells
from qllm_jax.studies.cells import Cell
from qllm_jax.tfcaf.verdict import sha256

MAX_NAME = 120  # characters of a folder's name


class Trained(NamedTuple):
    """A run folder, and how far its training is."""

    path: Path
    config: Config  # as recorded
    identities: dict[str, str]  # of the cell of each configuration, by label: see `cells.identity_of`

    @property
    def finished(self) -> bool:
        """True if the folder has its final results. False if it is damaged: then training says how."""
        try:
            return is_finished(self.path, self.config.total_steps)
        except UserError:
            return False

    @property
    def run_steps(self) -> int:
        """Environment steps of all runs, when it is finished."""
        return self.config.total_steps * len(run_axis.runs(self.config))

    def progress(self) -> tuple[int, float]:
        """`measured`, or zeros if the folder is damaged."""
        try:
            return self.measured()
        except UserError:
            return 0, 0.0

    def measured(self) -> tuple[int, float]:
        """Environment steps of all runs so far, and the wall time in seconds that they took. UserError if damaged."""
        steps, seconds = 0, 0.0
        for part in folder.log_folders(self.path):
            if not (part / folder.TIMING).is_file() or not (records := stored_logs.timing(part)):
                continue
            steps += min(records[-1]["env_steps"], self.config.total_steps) * len(run_axis.runs(recorded(part)))
            seconds += records[-1]["elapsed_s"]
        return steps, seconds


class Training(NamedTuple):
    """A training to do: its cells, and the folder that is continued."""

    cells: list[Cell]
    found: Trained | None = None

    @property
    def name(self) -> str:
        """TASK/METHOD, or TASK/METHOD+METHOD..."""
        return f"{self.cells[0].task}/{'+'.join(cell.method for cell in self.cells)}"

    @property
    def priority(self) -> int:
        """That of its most urgent cell."""
        return min(cell.priority for cell in self.cells)


def recorded(path: Path) -> Config:
    """The configuration of a run folder, as its config.yaml has it."""
    file = path / folder.CONFIG
    return _read(file, file.stat().st_mtime_ns)


@lru_cache(maxsize=1024)
def _read(file: Path, mtime_ns: int) -> Config:
    del mtime_ns
    return configs.read(file)


def found_in(root: Path, tasks: Collection[str]) -> Iterator[Trained]:
    """The run folders of these tasks, without those whose configuration this version cannot read."""
    for task in sorted(tasks):
        for file in sorted((root / task).glob(f"*/{folder.CONFIG}")):
            with suppress(UserError):
                yield trained(file.parent)


def trained(path: Path) -> Trained:
    """The training of a run folder. UserError if its configuration cannot be read."""
    config = recorded(path)
    return Trained(path, config, identities(path, config))


def identities(path: Path, config: Config) -> dict[str, str]:
    """The identity of each configuration of a run folder, by label, with the functions and parts that it has."""
    task = [path / functions_used.TASK] if configs.given_task(config.algo) else []
    try:
        parts = parts_used.digests(files.read_json(path / folder.META).get(parts_used.KEY, {}))
    except (UserError, AttributeError, TypeError):  # it is cut off or damaged: training says how
        parts = ()
    found = {}
    for (label, config_hash), name in zip(
        of_cells.configurations(config).items(), functions_used.names(config), strict=False
    ):
        functions = [files.digest(file).hexdigest() for file in (path / name, *task) if file.is_file()]
        found[label] = of_cells.identity_of(config_hash, [*functions, *parts])
    return found


def to_do(missing: Sequence[Cell], wanted: Collection[str], root: Path) -> list[Training]:
    """The trainings that give the `missing` cells whose names are `wanted`, by priority.

    Finished folders come first, as they are only read. A folder that is continued also gives cells that are not wanted.
    """
    left: dict[tuple[str, str], list[Cell]] = {}  # two methods may be one configuration
    for cell in missing:
        left.setdefault((cell.task, cell.identity), []).append(cell)
    order = {cell.name: i for i, cell in enumerate(missing)}
    read, train = [], []
    for found in furthest_first(found_in(root, {cell.task for cell in missing})):
        keys = [(found.path.parent.name, each) for each in found.identities.values()]
        held = [cell for key in keys for cell in left.pop(key, ())]
        if any(cell.name in wanted for cell in held):
            (read if found.finished else train).append(Training(held, found))
    rest = [cell for cell in missing if (cell.task, cell.identity) in left and cell.name in wanted]
    train += [Training(held) for held in of_cells.merged(rest)]
    train.sort(key=lambda training: (training.priority, min(order[cell.name] for cell in training.cells)))
    return read + train


def furthest_first(found: Iterator[Trained]) -> list[Trained]:
    """Folders by their progress: of two with the same cell, the one that is nearer to its end is continued."""
    return sorted(found, key=lambda each: -each.progress()[0] / each.run_steps)


def new_folder(training: Training, root: Path) -> Path:
    """A folder without a run: TASK/METHODS, with a number if there is another run."""
    task, _, methods = training.name.partition("/")
    if len(methods) > MAX_NAME:
        methods = f"{methods[:MAX_NAME]}_{sha256(methods)[:8]}"
    path, number = root / task / methods, 1
    while (path / folder.CONFIG).is_file():
        number += 1
        path = root / task / f"{methods}-{number}"
    return path
