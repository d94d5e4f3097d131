"""Errors while a credit function is traced, as a `TfcafError` that names the line and the remedy."""

import traceback
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from jax import errors

from qllm_envs.parts import suggest
from qllm_jax.tfcaf.loading.indexing import OutOfRangeError
from qllm_jax.tfcaf.static.vocabulary import MAX_LOOP, LoopTooLongError
from qllm_jax.tfcaf.verdict import Location, TfcafError

# Mistakes that JAX finds: error, problem, hint. The first that matches counts.
_TRACING: tuple[tuple[type[Exception], str, str], ...] = (
    (errors.NonConcreteBooleanIndexError, "an array is indexed by a mask", "use jnp.where(mask, x, 0.0)"),
    (
        errors.TracerBoolConversionError,
        "an array decides which way Python goes (if, and, or, not, min, max)",
        "use jnp.where, & | ~, jnp.minimum and jnp.maximum",
    ),
    (
        errors.TracerIntegerConversionError,
        "an array serves as a Python integer",
        "loop over range(x.shape[0]) and index arrays, not lists, with arrays",
    ),
    (errors.ConcretizationTypeError, "an array is turned into a Python number", "keep it an array; use .astype(...)"),
)
_LOOP = f"a loop of more than {MAX_LOOP} steps"


@contextmanager
def translated(file: str, fields: Collection[str]) -> Iterator[None]:
    """Raise errors of tracing `file` as `TfcafError`. `fields` are the names that its state has."""
    try:
        yield
    except TfcafError:
        raise
    except Exception as error:
        frames = list(traceback.walk_tb(error.__traceback__))
        own = bool(frames) and frames[-1][0].f_code.co_filename == file  # raised by Python on that very line
        code, problem, hint = _reason(error, own, fields)
        raise TfcafError(code, Location(file, line_in(file, error)), problem, hint) from error


def line_in(file: str, error: Exception) -> int | None:
    """Return the line of `file` that was running when `error` was raised, or None."""
    lines = [line for frame, line in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename == file]
    return lines[-1] if lines else None


def _reason(error: Exception, own: bool, fields: Collection[str]) -> tuple[str, str, str]:
    for kind, problem, hint in _TRACING:
        if isinstance(error, kind):
            return "TRACE", problem, hint
    text = next(iter(str(error).splitlines()), "")[:200]
    if isinstance(error, ValueError) and "truth value" in text:  # the same mistake, on an array of more than one entry
        return "TRACE", *_TRACING[1][1:]
    if isinstance(error, OutOfRangeError):
        return "OOB", text, "derive indices from shapes, as in range(x.shape[0]); JAX would read another entry instead"
    if isinstance(error, LoopTooLongError):
        return "BUDGET", _LOOP, "use array operations; a loop over range(x.shape[0]) is short enough"
    if isinstance(error, MemoryError):
        return "BUDGET", "out of memory while being traced", "use smaller arrays and no growing lists"
    if isinstance(error, IndexError) and "Too many indices" not in text:
        return "OOB", text, "derive indices from shapes and lengths"
    if isinstance(error, KeyError) and error.args:
        return "RUNTIME", f"the state has no field {error.args[0]!r}", suggest(str(error.args[0]), fields)
    return (
        "RUNTIME" if own else "TRACE",
        f"{type(error).__name__}: {text}",
        "check the shapes and arguments on this line",
    )
