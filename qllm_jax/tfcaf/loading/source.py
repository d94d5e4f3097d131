"""Texts of credit functions: of the library by name, or of files."""

from pathlib import Path
from typing import NamedTuple

from qllm_envs.parts import suggest
from qllm_jax import files
from qllm_jax.errors import UserError
from qllm_jax.tfcaf.static.vocabulary import Kind
from qllm_jax.tfcaf.verdict import Location, TfcafError

_LIBRARY = Path(__file__).parents[1] / "library"
NOUNS: dict[Kind, str] = {"value": "credit function", "reward": "function of reward credit", "task": "task function"}


class Source(NamedTuple):
    """The text of a credit function before any check, and what messages call it."""

    name: str
    file: str
    text: str
    kind: Kind = "value"  # that it is to be


def folder(kind: Kind = "value") -> Path:
    """Return the folder of the functions of a kind that are shipped."""
    return _LIBRARY if kind == "value" else _LIBRARY / kind


def names(kind: Kind = "value") -> tuple[str, ...]:
    """Return the names of the functions of a kind that are shipped, sorted."""
    return tuple(sorted(file.stem for file in folder(kind).glob("*.py") if not file.stem.startswith("_")))


def find(name_or_path: str, kind: Kind = "value") -> Source:
    """Return a function of the library by its name, or of the path of a .py file. `UserError` if none exists."""
    if name_or_path in names(kind):
        return Source(name_or_path, name_or_path, _read(folder(kind) / f"{name_or_path}.py"), kind)
    path = files.expanded(name_or_path)
    if path.suffix == ".py" and path.is_file():
        return Source(path.stem, str(path), _read(path), kind)
    raise UserError(f"{NOUNS[kind]} {name_or_path!r} {_problem(path, name_or_path, kind)}")


def _problem(path: Path, name: str, kind: Kind) -> str:
    """Return the sentence, without its subject, for a path that is no .py file."""
    if name and path.is_dir():
        found = ", ".join(sorted(file.name for file in path.glob("*.py"))) or "none"
        return f"is a folder: give one of its .py files ({found})"
    if name and path.exists():
        return "is a file whose name does not end in .py: a credit function is a Python file, rename it to that"
    if path.suffix == ".py":
        return f"does not exist: there is no file {str(path.absolute())!r}"
    return f"does not exist: {suggest(name, names(kind))}, or give a path to a .py file"


def _read(path: Path) -> str:
    data = b""
    try:
        data = path.read_bytes()
        return data.decode()
    except OSError as error:
        raise UserError(f"credit function {str(path)!r} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise TfcafError("PARSE", Location(str(path), line), "not text in UTF-8", "save it as UTF-8") from error
