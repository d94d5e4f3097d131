"""Rules of configuration values that pydantic has no type for; each gives the end of a sentence that names the key."""

from pathlib import Path
from typing import Any

from pydantic_core import PydanticCustomError


def several(values: list[Any]) -> list[Any]:
    """A list of at least one value and none of them twice."""
    if not values:
        raise PydanticCustomError("empty", "must hold at least one value")
    if twice := [value for i, value in enumerate(values) if value in values[:i]]:
        raise PydanticCustomError("twice", "must not hold {value} twice", {"value": repr(twice[0])})
    return values


def named_apart(functions: list[str]) -> list[str]:
    """Credit functions whose names differ, since names tell their runs apart."""
    names = [function_name(function) for function in functions]
    if twice := [name for i, name in enumerate(names) if name in names[:i]]:
        raise PydanticCustomError("twice", "must not hold two functions called {name}", {"name": repr(twice[0])})
    return functions


def function_name(function: str) -> str:
    """The name of a credit function that is given by its name or its path."""
    return Path(function).stem if function.endswith(".py") else function


def auto_or_count(value: Any) -> Any:
    """`auto`, or a number of things."""
    if value != "auto" and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise PydanticCustomError("auto_or_count", "must be auto or an integer of at least 1")
    return value
