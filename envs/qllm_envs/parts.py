"""Parts found by name: `<package>/<name>.py` with a top-level `make` is the part `<name>`.

Adding a part is adding a file; there is no second list to keep in step. Used for environments here and for mixers and
the like by packages that build on this one. Parts from outside of the package are found as outside.py says.
"""

import ast
import difflib
import functools
import importlib
import inspect
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from qllm_envs import outside

# CPython 3.11 counts the depth of all threads' syntax trees in one place (python/cpython issue 106905).
_PARSING = threading.Lock()


class Kind(NamedTuple):
    """Parts of one kind: the package that holds them, and what it calls one in messages."""

    package: str
    folder: Path
    word: str  # "mixer"
    entry_points: str = ""  # the group by which other packages register theirs; "": only the package itself has any
    given: str = ""  # the argument of `make` before its options; "": none


def part_names(folder: Path) -> tuple[str, ...]:
    """Names of the parts in a package's folder, sorted."""
    # Files are parsed and not imported: a list of names must not pay for, or fail on, what one part imports.
    files = [file for file in folder.glob("*.py") if not file.stem.startswith("_")]
    return tuple(sorted(file.stem for file in files if _is_part(file.read_text(encoding="utf-8"))))


def names(kind: Kind) -> tuple[str, ...]:
    """Names of the parts of a kind, sorted: those of the package and those that other packages register."""
    return tuple(sorted({*part_names(kind.folder), *outside.registered(kind.entry_points)}))


def reference(kind: Kind, name: Any) -> outside.Reference | None:
    """The location of the part `name` if it is from outside of the package; None for one of the package's own."""
    if not isinstance(name, str) or name in part_names(kind.folder):
        return None
    return outside.parse(name) or outside.registered(kind.entry_points).get(name)


def find(kind: Kind, name: Any, options: Iterable[str] | None) -> Callable[..., Any]:
    """The `make` of a part, which takes all `options` by keyword. ValueError says what is wrong and what is allowed.

    With None for the options, they are not checked.
    """
    if found := reference(kind, name):
        make = outside.load(kind.word, name, found)
    elif name in part_names(kind.folder):
        make = importlib.import_module(f"{kind.package}.{name}").make
    else:
        others = ", or give module:function or path/file.py:function" if kind.entry_points else ""
        raise ValueError(f"{kind.word} {name!r} does not exist: {suggest(name, names(kind))}{others}")
    if options is not None:
        _check_signature(kind, name, make, options)
    return make


def _check_signature(kind: Kind, name: str, make: Callable[..., Any], options: Iterable[str]) -> None:
    """ValueError for an option that a part does not have, or that it needs and is not given."""
    part, given = f"{kind.word} {name!r}", list(options)
    try:
        parameters = list(inspect.signature(make).parameters.values())
    except (ValueError, TypeError) as error:  # of a builtin
        raise ValueError(f"{part} is no function of Python: {error}") from error
    if kind.given and (not parameters or parameters.pop(0).kind is inspect.Parameter.KEYWORD_ONLY):
        raise ValueError(
            f"{part} must take the {kind.given} before its options, as the {kind.word}s of this package do"
        )
    named = [p for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)]
    known = [p.name for p in named]
    takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters)
    if unknown := [] if takes_all else [option for option in given if option not in known]:
        raise ValueError(f"{part} has no option {unknown[0]!r}: {suggest(unknown[0], known)}")
    if missing := [p.name for p in named if p.default is p.empty and p.name not in given]:
        raise ValueError(f"{part} needs the option {missing[0]!r}, which has no default")


def suggest(name: object, allowed: Iterable[str]) -> str:
    """The tail of an error sentence: a near match if there is one, then all choices."""
    choices = sorted(allowed)
    by_lower = {choice.lower(): choice for choice in choices}
    near = difflib.get_close_matches(str(name).lower(), by_lower, n=1)
    hint = f"did you mean {by_lower[near[0]]!r}? " if near else ""
    return f"{hint}choose from {', '.join(choices) or '(none)'}"


@functools.cache
def _is_part(source: str) -> bool:
    # `**options` marks a function that finds parts, such as a package's own `make`.
    with _PARSING:
        tree = ast.parse(source)
    makes = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "make"]
    return any(node.args.kwarg is None for node in makes)
