"""Parts from outside of a package: `module:function`, `path/file.py:function`, or a name that a package registers.

A package registers its parts by entry points:

    [project.entry-points."qllm_jax.environments"]
    my_game = "my_package.my_game:make"

The function takes what a part's `make` takes here, and returns the same record.
"""

import ast
import functools
import hashlib
import importlib
import importlib.util
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


class Reference(NamedTuple):
    """The location of a part."""

    location: str  # a module (my_package.my_game), or the path of a .py file
    function: str  # the function in it that makes the part

    @property
    def is_file(self) -> bool:
        """True if the location is a file."""
        return self.location.endswith(".py")

    def __str__(self) -> str:
        return f"{self.location}:{self.function}"


class Origin(NamedTuple):
    """The source of a part from outside, as a run stores it."""

    location: str
    function: str
    package: str | None  # the distribution that holds the module; None for a file, or if none does
    version: str | None  # of it
    sha256: dict[str, str]  # of the part's file, and of the files of its package that it imports, by module


def parse(name: str) -> Reference | None:
    """The reference that a text is; None for a text that is none, such as a plain name. A file alone means its make."""
    location, colon, function = name.rpartition(":")
    if not colon and name.endswith(".py"):
        return Reference(name, "make")
    if not function.isidentifier() or not (location.endswith(".py") or _MODULE.fullmatch(location)):
        return None
    return Reference(location, function)


def absolute(name: str) -> str:
    """A reference with its path made absolute, so that it means the same in any folder; other names as they are."""
    found = parse(name)
    if not found or not found.is_file:
        return name
    return str(found._replace(location=os.path.abspath(os.path.expanduser(found.location))))


def label(name: str) -> str:
    """A name for plots and folders: my_package.my_game for my_package.my_game:make, my_game for a/my_game.py:make."""
    found = parse(name)
    if not found:
        return name
    stem = Path(found.location).stem if found.is_file else found.location
    return stem if found.function == "make" else f"{stem}_{found.function}"


def registered(group: str) -> dict[str, Reference]:
    """The parts that installed packages register, by name. `group` is that of their entry points; "" has none."""
    return {point.name: Reference(point.module, point.attr) for point in _entry_points(group)} if group else {}


@functools.cache
def _entry_points(group: str) -> tuple[metadata.EntryPoint, ...]:
    return tuple(metadata.entry_points(group=group))


def load(word: str, name: str, reference: Reference) -> Callable[..., Any]:
    """The function that a reference names. ValueError says what is missing; `word` and `name` call it in the message.

    The module is imported, or the file run. A file is run again only if its text has changed.
    """
    part = f"{word} {name!r}"
    module = _of_file(part, reference) if reference.is_file else _of_module(part, reference)
    found = getattr(module, reference.function, None)
    if not callable(found):
        own = {key: value for key, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__}
        functions = [key for key, value in own.items() if callable(value) and not key.startswith("_")]
        having = f"; functions there: {', '.join(sorted(functions))}" if functions else ""
        raise ValueError(f"{part}: {reference.location} has no function {reference.function!r}{having}")
    return found


def _of_file(part: str, reference: Reference) -> ModuleType:
    path = Path(reference.location).expanduser()
    if not path.is_file():
        raise ValueError(f"{part}: there is no file {str(path)!r}")
    name = f"qllm_outside_{path.stem}_{hashlib.sha256(str(path.resolve()).encode() + path.read_bytes()).hexdigest()}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # as dataclasses look for the module of their class
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise ValueError(f"{part} cannot be imported: {reason(error)}") from error
    return module


def _of_module(part: str, reference: Reference) -> ModuleType:
    # `python -m` has the folder of the shell on the path, and a console script does not.
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.append(os.getcwd())
    try:
        return importlib.import_module(reference.location)
    except Exception as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing and f"{reference.location}.".startswith(f"{missing}."):
            where = f"in {os.getcwd()} or among the installed packages"
            raise ValueError(f"{part}: there is no module {missing!r} {where}") from error
        raise ValueError(f"{part} cannot be imported: {reason(error)}") from error


def reason(error: Exception) -> str:
    """The error in one line, with the file and the line of its cause."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    if isinstance(error, SyntaxError):
        return text
    last = traceback.extract_tb(error.__traceback__)[-1]
    return text if "importlib" in last.filename else f"{last.filename}, line {last.lineno}: {text}"


def origin(reference: Reference, group: str = "") -> Origin:
    """The source of a part that was loaded. Files are hashed as they are now."""
    package = version = None
    if not reference.is_file:
        package, version = _distribution(reference, group)
    sha256 = {name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in files(reference).items()}
    return Origin(*reference, package, version, sha256)


def digest(reference: Reference) -> str:
    """A digest of all that `origin` hashes."""
    return hashlib.sha256(repr(sorted(origin(reference).sha256.items())).encode()).hexdigest()


def files(reference: Reference) -> dict[str, Path]:
    """The files of a part by module: its own, and those of the same top-level package that it imports, at any depth."""
    if reference.is_file:
        path = Path(reference.location).expanduser()
        return {path.stem: path}
    top, found, todo = reference.location.partition(".")[0], dict[str, Path](), [reference.location]
    while todo:
        name = todo.pop()
        spec = None if name in found else _spec(name)
        if spec is None or not spec.has_location or spec.origin is None:
            continue
        found[name] = Path(spec.origin)
        package = name if spec.submodule_search_locations is not None else name.rpartition(".")[0]
        parents = [name.rsplit(".", i)[0] for i in range(1, name.count(".") + 1)]
        imported = _imports(found[name], package) if found[name].suffix == ".py" else ()
        todo += [each for each in (*parents, *imported) if each.partition(".")[0] == top]
    return dict(sorted(found.items()))


def _spec(name: str) -> Any:
    try:
        return importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):  # `from a import b` where b is no module
        return None


def _imports(file: Path, package: str) -> Iterator[str]:
    """Modules that a file may import, also in its functions: `from a import b` gives a and a.b."""
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _distribution(reference: Reference, group: str) -> tuple[str | None, str | None]:
    """Name and version of the package that registers a part, or that holds its module."""
    for point in _entry_points(group) if group else ():
        if (point.module, point.attr) == reference and point.dist:
            return point.dist.name, point.dist.version
    top = reference.location.partition(".")[0]
    package = next(iter(metadata.packages_distributions().get(top, ())), None)
    version = metadata.version(package) if package else getattr(sys.modules.get(top), "__version__", None)
    return package, None if version is None else str(version)


def changed(stored: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Modules whose files are not as they were: changed, gone or new."""
    return sorted(name for name in {*stored, *now} if stored.get(name) != now.get(name))
