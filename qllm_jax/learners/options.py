"""Checks of learners' option values: the checked value, or `UserError` with one sentence."""

import numbers
from collections.abc import Iterable
from typing import Any

from qllm_jax import options
from qllm_jax.errors import UserError


def count(learner: str, option: str, value: Any, low: int = 1) -> int:
    """An integer of at least `low`."""
    return options.integer(f"learner {learner!r}", option, value, low)


def share(learner: str, option: str, value: Any) -> float:
    """A number from 0 to 1."""
    return options.number(f"learner {learner!r}", option, value, 0.0, 1.0)


def weight(learner: str, option: str, value: Any) -> float:
    """A finite number of at least 0."""
    if not _is_number(value) or not 0 <= value < float("inf"):
        raise UserError(f"learner {learner!r}: {option} must be a number of at least 0, got {value!r}")
    return float(value)


def rate(learner: str, option: str, value: Any) -> float | None:
    """A positive learning rate, or None."""
    if value is None:
        return None
    if not _is_number(value) or not 0 < value < float("inf"):
        raise UserError(f"learner {learner!r}: {option} must be a positive number or null (algo.lr), got {value!r}")
    return float(value)


def flag(learner: str, option: str, value: Any) -> bool:
    """True or False."""
    if not isinstance(value, bool):
        raise UserError(f"learner {learner!r}: {option} must be true or false, got {value!r}")
    return value


def choice(learner: str, option: str, value: Any, allowed: Iterable[str]) -> str:
    """One of the allowed words."""
    return options.choice(f"learner {learner!r}", option, value, tuple(allowed))


def _is_number(value: Any) -> bool:
    # True is a number to Python, and `critic_lr=true` in a config file is a mistake.
    return isinstance(value, numbers.Real) and not isinstance(value, bool)
