"""Types of numbers for `argparse`, of the commands of self-play and of the benchmarks."""

import argparse
import math
from collections.abc import Callable


def at_least(low: int) -> Callable[[str], int]:
    """Return the type of an integer of at least `low`, of 32 bits."""

    def parse(text: str) -> int:
        if not text.isdecimal() or not low <= int(text) < 2**31:
            raise argparse.ArgumentTypeError(f"must be an integer of at least {low}, got {text!r}")
        return int(text)

    return parse


def above_zero(text: str) -> float:
    """Return a number above 0, such as a duration."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number above 0, got {text!r}")
    return number
