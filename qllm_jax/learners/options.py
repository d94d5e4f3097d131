"""Checks of learners' option values: the checked value, or `UserError` with one sentence."""

import numbers
from collections.abc import Iterable
from typing import Any, cast

from qllm_envs.parts import suggest
from qllm_jax.errors import UserError


def count(learner: str, option: str, value: Any, low: int = 1) -> int:
    """An integer of at least `low`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < low:
        raise UserError(f"learner {learner!r}: {option} must be an integer of at least {low}, got {value!r}")
    return int(value)


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
    if value not in (allowed := tuple(allowed)):
        raise UserError(f"learner {learner!r}: {option} {value!r} does not exist: {suggest(value, allowed)}")
    return cast(str, value)


def _is_number(value: Any) -> bool:
    # True is a number to Python, and `critic_lr=true` in a config file is a mistake.
    return isinstance(value, numbers.Real) and not isinstance(value, bool)
