"""Traced programs: the jaxprs inside an equation."""

from collections.abc import Iterator
from typing import Any


def inner_jaxprs(eqn: Any) -> Iterator[Any]:
    """The jaxprs inside an equation: bodies of loops, branches, calls."""
    for value in eqn.params.values():
        for each in value if isinstance(value, tuple | list) else (value,):
            inner = getattr(each, "jaxpr", each)
            if hasattr(inner, "eqns"):
                yield inner
