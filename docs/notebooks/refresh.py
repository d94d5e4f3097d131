"""Run notebooks in a Jupyter kernel and store their outputs: `python docs/notebooks/refresh.py [NAME ...]`.

Each is run in a folder of its own that is removed afterwards. It needs the extra `notebooks`.
"""

import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).resolve().parent


def refresh(path: Path) -> None:
    """Run one notebook and write it with its outputs. An error in a cell ends it, and nothing is written."""
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        NotebookClient(notebook, record_timing=False, coalesce_streams=True, resources=resources).execute()
    notebook.metadata["language_info"] = {"name": "python"}  # the version would change with each machine
    nbformat.write(notebook, path)


if __name__ == "__main__":
    for name in sys.argv[1:] or sorted(path.stem for path in HERE.glob("*.ipynb")):
        refresh(HERE / f"{name}.ipynb")
        print(f"{name}: stored as it ran")
