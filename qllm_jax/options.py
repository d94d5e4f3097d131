"""Checks of the options of mixers and learners: the checked value, or a UserError of one sentence.

`part` is what the option belongs to, as in "mixer 'qmix'". Learners have more kinds, see `learners.options`.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from qllm_envs import _options
from qllm_envs.parts import suggest
from qllm_jax.errors import UserError

T = TypeVar("T")


def integer(part: str, option: str, value: Any, low: int = 1) -> int:
    """An integer of at least `low`."""
    return _told(lambda: _options.integer(part, option, value, low))


def number(part: str, option: str, value: Any, low: float, high: float) -> float:
    """A number from `low` to `high`, both included."""
    return _told(lambda: _options.number(part, option, value, low, high))


def choice(part: str, option: str, value: Any, allowed: Sequence[T]) -> T:
    """One of `allowed`, of the same type: true is not 1."""
    for one in allowed:
        if type(value) is type(one) and value == one:
            return one
    raise UserError(f"{part}: {option} {value!r} does not exist: {suggest(value, map(str, allowed))}")


def _told(check: Callable[[], T]) -> T:
    # The same rule and sentence as for options of environments, which know nothing of this package's errors.
    try:
        return check()
    except ValueError as error:
        raise UserError(str(error)) from error
