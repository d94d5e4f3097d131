"""The notebooks of docs/ run from top to bottom, and are stored as they ran.

Their cells are run in order in this process, without a Jupyter kernel, and with a smaller budget, except with
`-m slow`. CONTRIBUTING.md has the command that runs them in one and stores their outputs.
"""

import importlib
import json
import re
from pathlib import Path

import pytest

NOTEBOOKS = Path(__file__).resolve().parent.parent / "docs" / "notebooks"
ALL = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
MAX_BYTES = 300_000
SMALLER = {"seeds": "3", "total_steps": "4_000", "eval_interval": "1_000"}  # one number of runs: programs compile once


def cells(name: str, kind: str = "code") -> list[dict]:
    """The cells of a kind, in order."""
    content = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text())
    return [cell for cell in content["cells"] if cell["cell_type"] == kind]


def source(cell: dict, whole: bool) -> str:
    """The code of a cell; unless `whole`, with the values of `SMALLER`, as keywords and as keys."""
    text = "".join(cell["source"])
    for key, value in ({} if whole else SMALLER).items():
        text = re.sub(rf"(\b{key}=|\"{key}\": )[\d_]+", rf"\g<1>{value}", text)
    return text


@pytest.mark.thorough
@pytest.mark.usefixtures("kept_programs")
@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ALL)
def test_a_notebook_runs_from_top_to_bottom(name: str, whole: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("pandas")
    pyplot = pytest.importorskip("matplotlib.pyplot")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pyplot, "show", lambda: pyplot.close("all"))
    words = {"__name__": "__main__"}
    with pyplot.rc_context():
        for i, cell in enumerate(cells(name), start=1):
            exec(compile(source(cell, whole), f"{name}.ipynb, code cell {i}", "exec"), words)


@pytest.mark.parametrize("name", ALL)
def test_a_notebook_is_stored_as_it_ran(name: str):
    """All code cells in order, without an error, a warning or a path of the machine, and pictures that are small."""
    assert (NOTEBOOKS / f"{name}.ipynb").stat().st_size < MAX_BYTES
    assert [cell["execution_count"] for cell in cells(name)] == list(range(1, len(cells(name)) + 1))
    outputs = [output for cell in cells(name) for output in cell["outputs"]]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert {output["output_type"] for output in outputs} <= {"stream", "display_data"}
    assert not [output for output in outputs if output.get("name") == "stderr"]
    assert not any(word in json.dumps(output.get("text", "")) for output in outputs for word in ("/tmp", "/home"))


@pytest.mark.parametrize("name", ALL)
def test_a_page_has_the_text_the_code_and_what_came_out(name: str, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("mkdocs")
    monkeypatch.syspath_prepend(str(NOTEBOOKS))
    page = importlib.import_module("as_pages").markdown(NOTEBOOKS / f"{name}.ipynb")
    assert page.startswith("# ")
    assert page.count("~~~~python\n") == len(cells(name))
    assert page.count("](data:image/png;base64,") >= 1
    assert all("".join(cell["source"]) in page for cell in cells(name, "markdown"))
