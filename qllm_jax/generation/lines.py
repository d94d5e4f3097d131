"""Entries of the flat state that are an entry of an array, shifted and scaled, perhaps only where a switch is on.

R rows, one a state; F entries of arrays; G switches, which are true or false.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from qllm_jax.generation.terms import Meaning, Term, joined

ROUNDING = 1e-6  # of the terms of a sum: what float32 may leave of it
FEWEST = 16  # different rows that a line must go through, as through two points there is always one
MOST = 1000  # rows that are enough to leave out nearly all entries that are no line
DIGITS = (4, 6, 9)  # of its numbers: few, and else as many as tell one float32 from the next


class Line(NamedTuple):
    """scale * x + shift, or (x - shift) / scale, which is the nicer way to write a scale below 1."""

    scale: float
    shift: float
    divides: bool


def lines(names: list[Term], switches: list[Term], columns: Float[np.ndarray, "R S"]) -> list[Meaning | None]:
    """The first entry that gives a column, everywhere or where the first switch that fits is on, and 0 elsewhere."""
    values = np.array([term.values for term in names], np.float32)  # (F, R)
    on = np.array([term.values for term in switches], bool).reshape(len(switches), len(columns))  # (G, R)
    found: list[Meaning | None] = []
    for column in columns.T:
        rows = column != 0
        fits = _fits(column[rows], values[:, rows])
        made = (_meaning(column, names[i], drawn, switches, on) for i, drawn in fits)
        found.append(next((meaning for meaning in made if meaning), None))
    return found


def _fits(column: Float[np.ndarray, " R"], values: Float[np.ndarray, "F R"]) -> Iterator[tuple[int, Line]]:
    if len(np.unique(column)) < FEWEST:
        return
    for i in np.flatnonzero(_straight(column, values)).tolist():
        slope, offset = np.polyfit(values[i].astype(float), column.astype(float), 1)
        yield from ((i, drawn) for drawn in _candidates(slope, offset))


def _meaning(
    column: Float[np.ndarray, " R"], term: Term, drawn: Line, switches: list[Term], on: Bool[np.ndarray, "G R"]
) -> Meaning | None:
    fits = _agrees(drawn, term.values.astype(float), column)  # (R,)
    meaning = term.meaning._replace(text=_text(drawn, term.meaning.text), plain=False)
    if fits.all():
        return meaning
    where = np.flatnonzero(np.where(on, fits[None], (column == 0)[None]).all(1))
    return joined("{} if {} else 0", meaning, switches[where[0]].meaning, plain=False) if len(where) else None


def _straight(column: Float[np.ndarray, " R"], values: Float[np.ndarray, "F R"]) -> Bool[np.ndarray, " F"]:
    """Which values may be a line of the column: by their correlation, in some of the rows."""
    some = slice(None, None, 1 + len(column) // MOST)
    column, values = column[some].astype(float), values[:, some].astype(float)
    values, column = values - values.mean(1, keepdims=True), column - column.mean()
    sizes = (values * values).sum(1) * (column * column).sum()
    return (sizes > 0) & ((values @ column) ** 2 >= (1 - ROUNDING) * sizes)


def _candidates(slope: float, offset: float) -> Iterator[Line]:
    """The line with numbers that can be written."""
    divides = bool(abs(slope) < 1)
    scale, shift = (1 / slope, -offset / slope) if divides else (slope, offset)
    for digits in DIGITS:
        yield Line(float(f"{scale:.{digits}g}"), round(float(shift), digits) + 0.0, divides)


def _agrees(drawn: Line, x: np.ndarray, column: np.ndarray) -> Bool[np.ndarray, " R"]:
    scale, shift, divides = drawn
    value = (x - shift) / scale if divides else scale * x + shift
    size = (np.abs(x) + abs(shift)) / abs(scale) if divides else np.abs(scale * x) + abs(shift)
    return np.abs(value - column) <= ROUNDING * size


def _text(drawn: Line, name: str) -> str:
    scale, shift, divides = drawn
    sign = "-" if divides == (shift > 0) else "+"
    moved = f" {sign} {abs(shift):.9g}" if shift else ""
    if divides:
        return f"({name}{moved}) / {scale:.9g}" if shift else f"{name} / {scale:.9g}"
    return f"{name}{moved}" if scale == 1 else f"{scale:.9g} * {name}{moved}"
