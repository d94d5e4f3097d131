"""Parts found by file name: adding a part is adding a file, with no second list to keep in step."""

import difflib
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

from qllm_jax.errors import UserError


def part_names(package: ModuleType, exclude: Iterable[str] = ()) -> tuple[str, ...]:
    """Names of the part modules of a package, sorted. `exclude`: modules that hold no part."""
    found = (module.name for module in pkgutil.iter_modules(package.__path__))
    return tuple(sorted(name for name in found if name not in exclude and not name.startswith("_")))


def suggest(name: str, allowed: Iterable[str]) -> str:
    """The tail of an error sentence: a near match if there is one, then all choices."""
    choices = sorted(allowed)
    near = difflib.get_close_matches(name, choices, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{hint}choose from {', '.join(choices) or '(none)'}"


def find_make(package: ModuleType, kind: str, name: str, exclude: Iterable[str] = ()) -> Callable[..., Any]:
    """The `make` function of the part called `name`. UserError when there is none."""
    allowed = part_names(package, exclude)
    if name not in allowed:
        raise UserError(f"{kind} {name!r} does not exist: {suggest(str(name), allowed)}")
    return importlib.import_module(f"{package.__name__}.{name}").make


def check_options(make: Callable[..., Any], owner: str, options: Iterable[str]) -> None:
    """UserError when an option is not a keyword of `make`."""
    allowed = [p.name for p in inspect.signature(make).parameters.values() if p.kind is p.KEYWORD_ONLY]
    for option in options:
        if option not in allowed:
            raise UserError(f"{owner} has no option {option!r}: {suggest(option, allowed)}")
