"""Settings of a command's process: the numbers of JAX, no long lines of its libraries, output that cannot end it."""

import contextlib
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

# Options of JAX that change nothing here, whatever the shell of a user asks of other programs: their value, and why.
FIXED_OPTIONS = {
    "JAX_ENABLE_X64": ("0", "programs compute in 32 bits"),
    "JAX_DEBUG_INFS": ("0", "programs hold infinities on purpose"),  # of actions that are not available, for example
    "JAX_DISABLE_JIT": ("0", "programs are compiled"),  # a training would take days
    "JAX_DEBUG_KEY_REUSE": ("0", "it takes a scan under a vmap for a reuse"),
    "JAX_TRANSFER_GUARD": ("allow", "the host sends numbers to the device, and reads its logs"),
    "JAX_THREEFRY_PARTITIONABLE": ("1", "the random numbers of a seed are the same everywhere"),
    "JAX_DEFAULT_PRNG_IMPL": ("threefry2x32", "the random numbers of a seed are the same everywhere"),
}
# Processes that this one starts inherit it. Pictures are files, so that the backend of a notebook is of no use.
FIXED = {name: value for name, (value, _) in FIXED_OPTIONS.items()}
FIXED |= {"JAX_NUMPY_DTYPE_PROMOTION": "standard", "MPLBACKEND": "Agg"}
CHANGEABLE = {"TF_CPP_MIN_LOG_LEVEL": "3"}  # no warnings of XLA, such as "Very slow compile?"

IS_COMMAND: ContextVar[bool] = ContextVar("is_command", default=False)  # False: a program calls us as a library


def prepare() -> None:
    """Set the environment, before jax is imported, and the output streams."""
    for name, (value, reason) in FIXED_OPTIONS.items():
        if plain(os.environ.get(name) or value) != value:
            print(f"note: {name} changes nothing: {reason}", file=sys.stderr)
    os.environ.update(FIXED)
    for category in (DeprecationWarning, PendingDeprecationWarning, FutureWarning):
        # Of libraries, for their authors. With PYTHONWARNINGS=error each would end the command.
        warnings.simplefilter("ignore", category)
    for name, value in CHANGEABLE.items():
        os.environ.setdefault(name, value)
    for name in ("stdout", "stderr"):
        if (stream := getattr(sys, name)) is not None:
            setattr(sys, name, Unbreakable(stream))


def plain(value: str) -> str:
    """The value of a variable with "0" and "1" for all the ways in which JAX lets one write them."""
    word = value.lower()
    return "0" if word in ("false", "off", "f", "n", "no") else "1" if word in ("true", "on", "t", "y", "yes") else word


def explain_jax(error: Exception) -> str | None:
    """The sentence for a JAX that cannot start with the variables of the environment; None for any other error."""
    frames = traceback.extract_tb(error.__traceback__)
    where = Path(frames[-1].filename).parts[-3:] if frames else ()
    if where == ("jax", "_src", "config.py"):
        return f"the environment sets JAX to what it does not know: {error}"
    if where != ("jax", "_src", "xla_bridge.py"):
        return None
    chosen = os.environ.get("JAX_PLATFORMS", "")
    reason = f": {error}" if str(error) else ""
    return f"JAX finds no device with JAX_PLATFORMS={chosen!r}{reason}; without the variable it takes what there is"


def find_device() -> None:
    """Start JAX on the device that it is asked for, before anything can fail for want of it. `explain_jax` explains."""
    import jax

    jax.devices()


def owns_signals() -> bool:
    """True if signals are ours to handle: this is a command, and its main thread, which alone gets signals."""
    return IS_COMMAND.get() and threading.current_thread() is threading.main_thread()


@contextlib.contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """Raise KeyboardInterrupt for SIGTERM too, which schedulers of clusters send, if signals are ours to handle."""
    if not owns_signals():
        yield
        return

    def interrupt(number: int, frame: Any) -> None:
        del number, frame
        raise KeyboardInterrupt

    old = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, old)


@contextlib.contextmanager
def in_32_bits() -> Iterator[None]:
    """Use the settings of FIXED in a process that has imported jax already, as credit functions are traced too."""
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
