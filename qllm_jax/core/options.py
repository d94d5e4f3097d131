"""Checks of the options of mixers and learners: those of `qllm_envs.options`, with UserError in place of ValueError.

`part` is what the option belongs to, as in "mixer 'qmix'".
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from qllm_envs import options
from qllm_jax.errors import UserError

P = ParamSpec("P")
T = TypeVar("T")


def _with_user_error(check: Callable[P, T]) -> Callable[P, T]:
    # One rule and sentence for both packages; environments know nothing of this package's errors.
    @wraps(check)
    def checked(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return check(*args, **kwargs)
        except ValueError as error:
            raise UserError(str(error)) from error

    return checked


@_with_user_error
def integer(part: str, option: str, value: Any, low: int = 1) -> int:
    """An integer of at least `low`."""
    return options.integer(part, option, value, low)


@_with_user_error
def rate(part: str, option: str, value: Any) -> float | None:
    """A positive learning rate, or None, which stands for algo.lr."""
    allowed = "a positive number or null (algo.lr)"
    return None if value is None else options.number(part, option, value, options.SMALLEST, allowed=allowed)


@_with_user_error
def flag(part: str, option: str, value: Any) -> bool:
    """True or False."""
    return options.flag(part, option, value, allowed="true or false")  # as configurations spell them


number = _with_user_error(options.number)
choice = _with_user_error(options.choice)
