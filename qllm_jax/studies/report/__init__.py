"""The report of a study: docs/studies/NAME.md with its pictures, and results/NAME/marl_eval.json."""

import json
from pathlib import Path

from qllm_jax import files
from qllm_jax.studies.plan import Study
from qllm_jax.studies.report import figures, marl_eval, measured, page, pictures

HEAD = "head.md"  # written by hand, in the folder of the study's results: the answer, in a few sentences


def write(study: Study, results_folder: Path, docs_folder: Path) -> Path:
    """Write the page of a study and its pictures to `docs_folder`, from its folder of results. Return the page.

    UserError if the study's file has a figure that cannot be.
    """
    data = measured.read(study, results_folder)
    drawn = [(entry, pictures.draw(data, entry)) for entry in figures.entries(study)]
    files.make_folder(docs_folder, exist_ok=True)
    for entry, picture in drawn:
        pictures.write(picture, docs_folder / f"{study.name}_{entry.name}.png")
    path = docs_folder / f"{study.name}.md"
    files.write_atomically(path, page.text(data, read_head(results_folder), drawn))
    if data.results:
        made = json.dumps(marl_eval.content(data), separators=(",", ":"))
        files.write_atomically(results_folder / marl_eval.NAME, made + "\n")
    return path


def text(study: Study, results_folder: Path) -> str:
    """Return the page that `write` writes, and write nothing."""
    data = measured.read(study, results_folder)
    drawn = [(entry, pictures.draw(data, entry)) for entry in figures.entries(study)]
    return page.text(data, read_head(results_folder), drawn)


def read_head(results_folder: Path) -> str:
    """Read the part of the page that is written by hand; "" if there is none."""
    path = results_folder / HEAD
    return path.read_text() if path.is_file() else ""
