"""Hook of mkdocs: notebooks in docs/ are pages as they are stored, made of Markdown, so that links are checked."""

import json
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

SUFFIX = ".ipynb"


class Notebook(File):
    """A notebook that mkdocs takes for a page."""

    def is_documentation_page(self) -> bool:
        """True, whatever its suffix is."""
        return True


def on_files(files: Files, config: Any) -> Files:
    """Make pages of the notebooks, which mkdocs would copy."""
    for file in [file for file in files if file.src_uri.endswith(SUFFIX)]:
        files.remove(file)
        files.append(Notebook(file.src_uri, config.docs_dir, config.site_dir, config.use_directory_urls))
    return files


def on_page_read_source(page: Any, config: Any) -> str | None:  # noqa: ARG001 - mkdocs names the arguments
    """The Markdown of a notebook; None for other pages, which mkdocs reads."""
    return markdown(Path(page.file.abs_src_path)) if page.file.src_uri.endswith(SUFFIX) else None


def markdown(path: Path) -> str:
    """All cells of a notebook with their outputs."""
    return "\n\n".join(map(of_cell, json.loads(path.read_text(encoding="utf-8"))["cells"])) + "\n"


def of_cell(cell: dict[str, Any]) -> str:
    """A cell: its text, or its code and what came out."""
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        return source
    return "\n\n".join([fence("python", source), *map(of_output, cell["outputs"])])


def of_output(output: dict[str, Any]) -> str:
    """An output: its picture, or its text. KeyError for other kinds, such as errors, which no page shows."""
    data = output.get("data", {})
    if "image/png" in data:
        return f"![Output of the cell above](data:image/png;base64,{''.join(data['image/png'].split())})"
    return fence("text", "".join(output["text"]))


def fence(language: str, text: str) -> str:
    """A fenced block."""
    return f"~~~~{language}\n{text.rstrip()}\n~~~~"
