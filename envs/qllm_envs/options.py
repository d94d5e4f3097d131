"""Checks of option values. Each returns the checked value, or raises `ValueError` with one sentence.

`part` names the owner of the option, as in "mpe_tag" or "mixer 'qmix'".
"""

import numbers
import sys
from collections.abc import Iterable
from typing import Any, TypeVar, cast

from qllm_envs.parts import suggest

T = TypeVar("T")

# The finite numbers above 0 lie between them; infinity and integers too large for a float do not.
SMALLEST, LARGEST = sys.float_info.min, sys.float_info.max


def integer(part: str, option: str, value: Any, low: int, high: int | None = None) -> int:
    """An integer of at least `low`, and of at most `high` if that is given."""
    # True is an int to Python, and `n_agents=true` in a config file is a mistake.
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < low:
        raise ValueError(f"{part}: {option} must be an integer of at least {low}, got {value!r}")
    checked = int(value)
    if high is not None and checked > high:
        raise ValueError(f"{part}: {option} must be an integer of at most {high}, got {value!r}")
    return checked


def number(part: str, option: str, value: Any, low: float, high: float = LARGEST, allowed: str | None = None) -> float:
    """A finite number from `low` to `high`, both included. `allowed` says it in the error in other words."""
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    # NaN is in no range. Compared as it is: an int may be too large for a float.
    if not is_number or not low <= cast(float, value) <= high:
        limits = f"of at least {low:g}" if high == LARGEST else f"from {low:g} to {high:g}"
        raise ValueError(f"{part}: {option} must be {allowed or f'a number {limits}'}, got {value!r}")
    return float(value)


def flag(part: str, option: str, value: Any, allowed: str = "True or False") -> bool:
    """True or False. `allowed` says it in the error in other words."""
    if not isinstance(value, bool):
        raise ValueError(f"{part}: {option} must be {allowed}, got {value!r}")
    return value


def choice(part: str, option: str, value: Any, allowed: Iterable[T]) -> T:
    """One of `allowed`, of the same type: true is not 1."""
    choices = tuple(allowed)
    for one in choices:
        if type(value) is type(one) and value == one:
            return one
    raise ValueError(f"{part}: {option} {value!r} does not exist: {suggest(value, map(str, choices))}")
