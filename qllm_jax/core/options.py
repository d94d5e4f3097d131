"""Checks of the options of mixers and learners: those of `qllm_envs.options`, with UserError in place of ValueError.

`part` is what the option belongs to, as in "mixer 'qmix'".
"""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from qllm_envs import options
from qllm_jax.errors import UserError

T = TypeVar("T")


def integer(part: str, option: str, value: Any, low: int = 1) -> int:
    """An integer of at least `low`."""
    return _as_user_error(lambda: options.integer(part, option, value, low))


def number(part: str, option: str, value: Any, low: float, high: float = options.LARGEST) -> float:
    """A finite number from `low` to `high`, both included."""
    return _as_user_error(lambda: options.number(part, option, value, low, high))


def rate(part: str, option: str, value: Any) -> float | None:
    """A positive learning rate, or None, which stands for algo.lr."""
    if value is None:
        return None
    allowed = "a positive number or null (algo.lr)"
    return _as_user_error(lambda: options.number(part, option, value, options.SMALLEST, allowed=allowed))


def flag(part: str, option: str, value: Any) -> bool:
    """True or False."""
    return _as_user_error(
        lambda: options.flag(part, option, value, allowed="true or false")
    )  # as configurations spell them


def choice(part: str, option: str, value: Any, allowed: Iterable[T]) -> T:
    """One of `allowed`, of the same type: true is not 1."""
    return _as_user_error(lambda: options.choice(part, option, value, allowed))


def _as_user_error(check: Callable[[], T]) -> T:
    # One rule and sentence for both packages; environments know nothing of this package's errors.
    try:
        return check()
    except ValueError as error:
        raise UserError(str(error)) from error
