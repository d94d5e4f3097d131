"""Checks of option values, shared by the `make` functions: the checked value, or `ValueError` with one sentence."""

import numbers
from typing import Any, cast


def integer(env: str, option: str, value: Any, low: int) -> int:
    # True is an int to Python, and `n_agents=true` in a config file is a mistake.
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < low:
        raise ValueError(f"{env}: {option} must be an integer of at least {low}, got {value!r}")
    return int(value)


def number(env: str, option: str, value: Any, low: float, high: float) -> float:
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    # NaN is in no range. Compared as it is: an int may be too large for a float.
    if not is_number or not low <= cast(float, value) <= high:
        raise ValueError(f"{env}: {option} must be a number from {low:g} to {high:g}, got {value!r}")
    return float(value)


def flag(env: str, option: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{env}: {option} must be True or False, got {value!r}")
    return value
