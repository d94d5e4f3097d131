"""The report of a study: docs/studies/NAME.md with its pictures, and results/NAME/marl_eval.json."""

import json
from pathlib import Path

from qllm_jax import files
from qllm_jax.studies.plan import Study
from qllm_jax.studies.report import marl_eval, measured, page, pictures
from qllm_jax.studies.report.measured import Measured

HEAD = "head.md"  # written by hand, in the folder of the study's results: the answer, in a few sentences


def write(study: Study, results_folder: Path, docs_folder: Path) -> Path:
    """Write the page of a study and its pictures to `docs_folder`, from its folder of results. Return the page."""
    data, drawn, text = make(study, results_folder)
    files.make_folder(docs_folder, exist_ok=True)
    for entry, picture in drawn:
        pictures.write(picture, docs_folder / f"{study.name}_{entry.name}.png")
    path = docs_folder / f"{study.name}.md"
    files.write_atomically(path, text)
    if data.results:
        made = json.dumps(marl_eval.content(data), separators=(",", ":"))
        files.write_atomically(results_folder / marl_eval.NAME, made + "\n")
    return path


def make(study: Study, results_folder: Path) -> tuple[Measured, page.Pictures, str]:
    """Return the results, the pictures and the page that `write` writes, and write nothing."""
    data, head = measured.read(study, results_folder), results_folder / HEAD
    drawn = [(entry, pictures.draw(data, entry)) for entry in study.plan.figures]
    return data, drawn, page.text(data, head.read_text() if head.is_file() else "", drawn)
