"""The work on a study in this process: its cells, its two folders, and the records that processes share in them.

Under the folder of the runs, `.cells/TASK/METHOD/` holds the lock of the process that trains the cell and, after a
failure, `failed.json`.
"""

import json
import time
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from qllm_jax import files
from qllm_jax.errors import UserError
from qllm_jax.run import folder
from qllm_jax.studies import cells as of_cells
from qllm_jax.studies import results
from qllm_jax.studies.cells import Cell
from qllm_jax.studies.plan import Study

CELLS, FAILED = ".cells", "failed.json"
RUNS, RESULTS = Path("runs") / "study", "results"
RETRY_S = 0.1  # a process that looks at a lock holds it for less


class Work(NamedTuple):
    """A study's cells, in order of priority, and its folders: `results/STUDY` and `runs/study/STUDY`, or others."""

    study: Study
    cells: list[Cell]
    results: Path
    runs: Path

    def missing(self) -> list[Cell]:
        """The cells without a result of the configuration that the study asks for."""
        return [cell for cell in self.cells if not results.is_done(self.results, cell)]

    def missing_here(self) -> list[Cell]:
        """Those of `missing` that this study trains itself."""
        return [cell for cell in self.missing() if not cell.trained_by]

    def folder_of(self, cell: Cell) -> Path:
        """The folder of a cell's lock and failure."""
        return self.runs / CELLS / cell.task / cell.method

    def claim(self, cell: Cell, held: ExitStack) -> bool:
        """Lock a cell until `held` ends. False if another process trains it."""
        path = self.folder_of(cell)
        files.make_folder(path, exist_ok=True)
        for pause in (RETRY_S, 0.0):
            try:
                held.enter_context(folder.locked(path))
            except UserError:
                time.sleep(pause)
            else:
                return True
        return False

    def is_claimed(self, cell: Cell) -> bool:
        """True if a process trains the cell."""
        return folder.in_use(self.folder_of(cell))

    def record_failure(self, cell: Cell, sentence: str) -> None:
        """Record that a cell cannot be trained, and why. The next process tries again."""
        record = {"identity": cell.identity, "error": sentence, "time": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
        files.write_atomically(self.folder_of(cell) / FAILED, json.dumps(record) + "\n")

    def failure(self, cell: Cell) -> str:
        """The sentence of a cell's last failure; "" without one of its present configuration and functions."""
        path = self.folder_of(cell) / FAILED
        try:
            found = files.read_json(path, ("error",)) if path.is_file() else {}
        except UserError as error:
            return str(error)
        return found["error"] if found.get("identity") == cell.identity else ""

    def forget_failure(self, cell: Cell) -> None:
        """Remove the record of a failure."""
        (self.folder_of(cell) / FAILED).unlink(missing_ok=True)


def results_folder(study: Study, results_dir: str | None) -> Path:
    """The folder of a study's result files."""
    return Path(results_dir or RESULTS) / study.name


def make(study: Study, results_dir: str | None = None, run_dir: str | None = None) -> Work:
    """Compose and validate all cells of a study. UserError for one that is refused."""
    runs = Path(run_dir) if run_dir else RUNS / study.name
    return Work(study, of_cells.all_cells(study), results_folder(study, results_dir), runs)
