"""The C library of this process. Nothing here imports jax or numpy."""

import ctypes
import os

LIBC = ctypes.CDLL(None, use_errno=True)


def checked(result: int) -> int:
    """Return the result of a call of `LIBC`. OSError with the reason if it is negative, as that of one that failed."""
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
