"""Settings of a command's process: the numbers of JAX, no long lines of its libraries, output that cannot end it."""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any

# Programs have 32 bits and JAX's usual promotion, whatever the shell of a user asks of other programs; processes that
# this one starts inherit it. Pictures are files, so that the backend of a notebook is of no use.
FIXED = {"JAX_ENABLE_X64": "0", "JAX_NUMPY_DTYPE_PROMOTION": "standard", "MPLBACKEND": "Agg"}
CHANGEABLE = {"TF_CPP_MIN_LOG_LEVEL": "3"}  # no warnings of XLA, such as "Very slow compile?"


def prepare() -> None:
    """Set the environment, before jax is imported, and the output streams."""
    if os.environ.get("JAX_ENABLE_X64", "0").lower() not in ("", "0", "false", "off", "f", "n", "no"):
        print("note: JAX_ENABLE_X64 changes nothing: programs compute in 32 bits", file=sys.stderr)
    os.environ.update(FIXED)
    for name, value in CHANGEABLE.items():
        os.environ.setdefault(name, value)
    for name in ("stdout", "stderr"):
        if (stream := getattr(sys, name)) is not None:
            setattr(sys, name, Unbreakable(stream))


@contextlib.contextmanager
def in_32_bits() -> Iterator[None]:
    """Use the settings of FIXED in a process that has imported jax already."""
    import jax

    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"):
        yield


class Unbreakable:
    """A text stream that goes on when its reader has ended (`train | head`): the rest is lost, and the command is not.

    Characters that the terminal cannot show are escaped.
    """

    def __init__(self, stream: Any) -> None:
        """Wrap a stream of this process."""
        self._stream = stream
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="backslashreplace")

    def write(self, text: str) -> int:
        """Write a text, or lose it."""
        with self._until_broken():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush the stream."""
        with self._until_broken():
            self._stream.flush()

    @contextlib.contextmanager
    def _until_broken(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            # What Python and C still hold for the reader must go somewhere, also at exit.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
