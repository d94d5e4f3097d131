"""Parts found by file name: `<package>/<name>.py` with a top-level `make` is the part `<name>`.

Adding a part is adding a file; there is no second list to keep in step. Used for environments here and for mixers and
the like by packages that build on this one.
"""

import ast
import difflib
import functools
import importlib
import inspect
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

# CPython 3.11 counts the depth of all threads' syntax trees in one place (python/cpython issue 106905).
_PARSING = threading.Lock()


def part_names(folder: Path) -> tuple[str, ...]:
    """Names of the parts in a package's folder, sorted."""
    # Files are parsed and not imported: a list of names must not pay for, or fail on, what one part imports.
    files = [file for file in folder.glob("*.py") if not file.stem.startswith("_")]
    return tuple(sorted(file.stem for file in files if _is_part(file.read_text(encoding="utf-8"))))


def find(package: str, folder: Path, kind: str, name: str, options: Iterable[str]) -> Callable[..., Any]:
    """The `make` of a part, which takes all `options` by keyword. ValueError says what is wrong and what is allowed."""
    allowed = part_names(folder)
    if name not in allowed:
        raise ValueError(f"{kind} {name!r} does not exist: {suggest(name, allowed)}")
    make = importlib.import_module(f"{package}.{name}").make
    known = [p.name for p in inspect.signature(make).parameters.values() if p.kind is p.KEYWORD_ONLY]
    for option in options:
        if option not in known:
            raise ValueError(f"{kind} {name!r} has no option {option!r}: {suggest(option, known)}")
    return make


def suggest(name: object, allowed: Iterable[str]) -> str:
    """The tail of an error sentence: a near match if there is one, then all choices."""
    choices = sorted(allowed)
    near = difflib.get_close_matches(str(name), choices, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{hint}choose from {', '.join(choices) or '(none)'}"


@functools.cache
def _is_part(source: str) -> bool:
    # `**options` marks a function that finds parts, such as a package's own `make`.
    with _PARSING:
        tree = ast.parse(source)
    makes = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "make"]
    return any(node.args.kwarg is None for node in makes)
