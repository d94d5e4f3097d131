"""What the flat state may be made of, by name: entries of arrays, and what whole numbers and truth values tell."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np


class Meaning(NamedTuple):
    """What one entry is: Python, as `text` with `numbers` (indices, values) in its places."""

    group: str  # neighbors of one group are described together
    text: str
    numbers: tuple[int, ...] = ()
    plain: bool = True  # a name or two: short enough to list many of them

    def __str__(self) -> str:
        return self.text.format(*self.numbers)


class Term(NamedTuple):
    """A meaning with its values in all states that were looked at."""

    meaning: Meaning
    values: np.ndarray  # (R,)


def entries(fields: dict[str, np.ndarray]) -> list[Term]:
    """All entries of arrays (R, ...), in the order of the arrays."""
    return [
        Term(Meaning(name, _at(name, len(index)), index), array[:, *index])
        for name, array in fields.items()
        for index in np.ndindex(array.shape[1:])
    ]


def switches(terms: list[Term]) -> list[Term]:
    """Those that are true or false."""
    return [term for term in terms if term.values.dtype == bool]


def comparisons(terms: list[Term]) -> Iterator[Term]:
    """Whether a whole number is one of those that it was."""
    for term in terms:
        if np.issubdtype(term.values.dtype, np.integer):
            for value in np.unique(term.values).tolist():
                yield Term(joined("{} == {}", term.meaning, Meaning("number", "{}", (value,))), term.values == value)


def joined(text: str, a: Meaning, b: Meaning, plain: bool = True) -> Meaning:
    """`text` with two meanings in its places."""
    return Meaning(text.format(a.group, b.group), text.format(a.text, b.text), (*a.numbers, *b.numbers), plain)


def as_number(condition: Meaning) -> Meaning:
    """1 where a condition holds."""
    return condition._replace(text=f"1 if {condition.text} else 0", plain=False)


def _at(name: str, depth: int) -> str:
    return f"{name}[{', '.join(['{}'] * depth)}]" if depth else name
