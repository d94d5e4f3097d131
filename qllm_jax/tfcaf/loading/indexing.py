"""Indices of a credit function, guarded: JAX clamps or drops what is out of range and never says so.

Every `x[...]` in a source is compiled as `__item__(x, written)[...]`. Integers and slices are checked while the
function is traced, wherever it is loaded. Indices that are arrays are known only when it runs: the gates trace it with
a `Watch`, which records them and can poison what an index out of range has read. An index that is computed counts as
out of range when it is negative, since -1 then wraps around to the last entry by accident; `x[-1]` and `x[-n:]` are
meant, and so is `x[:k]` where there are fewer than k.
"""

import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool


class OutOfRangeError(IndexError):
    """An integer or a slice that reaches outside of the array."""


class Site(NamedTuple):
    """One use of an array as an index."""

    line: int
    bad: Bool[Array, ""]  # some entry is out of range
    writes: bool  # `x.at[...]`, which drops the update


Remarks = list[tuple[int, str]]  # (line, what Python cuts off there without a word)


class Watch(NamedTuple):
    """Record of one trace. `poison`: the value read out of range, for floats nan instead; None: what JAX reads."""

    sites: list[Site]
    poison: int | None = None


def guarded(
    watch: Watch | None, remarks: Remarks | None = None
) -> tuple[Callable[[Any, Any], Any], dict[str, Callable[..., Any]]]:
    """Return `__item__`, and the functions of jnp that take indices, by dotted name."""

    def item(array: Any, written: Any) -> Any:
        return array if isinstance(array, dict) else _Guarded(array, written, watch, remarks)

    if watch is None:
        return item, {}

    def take(a: Any, indices: Any, axis: int | None = None, **options: Any) -> Any:
        a, indices = (jnp.ravel(a) if axis is None else jnp.asarray(a)), jnp.asarray(indices)
        return _read(a, {axis or 0: indices}, lambda a, i: jnp.take(a, i[axis or 0], axis or 0, **options), watch)

    def take_along_axis(arr: Any, indices: Any, axis: int | None = -1, **options: Any) -> Any:
        arr, axis = (jnp.ravel(arr), 0) if axis is None else (jnp.asarray(arr), axis)
        return _read(arr, {axis: indices}, lambda a, i: jnp.take_along_axis(a, i[axis], axis, **options), watch)

    return item, {"jnp.take": take, "jnp.take_along_axis": take_along_axis}


class _Guarded:
    """`x`, to be indexed once."""

    __slots__ = ("_remarks", "_watch", "_written", "_x")

    def __init__(self, x: Any, written: Any, watch: Watch | None, remarks: Remarks | None):
        self._x, self._written, self._watch, self._remarks = x, written, watch, remarks

    def __getitem__(self, index: Any) -> Any:
        x, watch = self._x, self._watch
        target = getattr(x, "array", x)  # of x.at
        shape = target.shape if hasattr(target, "shape") else (len(target),) if isinstance(target, list | tuple) else ()
        arrays: dict[int, Any] = {}  # axis -> the array that indexes it
        positions: dict[int, int] = {}  # axis -> position in `index`
        for position, axis, part, written in _parts(index, self._written, len(shape)):
            if isinstance(part, slice):
                _check_slice(part, written, shape[axis])
                if self._remarks is not None and isinstance(part.stop, int) and part.stop > shape[axis]:
                    remark = f"`{_text(part)}` is all of an axis of size {shape[axis]}"
                    self._remarks.append((sys._getframe(1).f_lineno, remark))
            elif isinstance(part, int):
                _check_integer(part, written, shape[axis])
            else:
                arrays[axis], positions[axis] = part, position
        if watch is None or not arrays or not hasattr(target, "shape"):
            return x[index]
        if target is not x:
            bad = jnp.stack([_is_bad(part, shape[axis]).any() for axis, part in arrays.items()]).any()
            watch.sites.append(Site(sys._getframe(1).f_lineno, bad, writes=True))
            return x[index]

        def read(padded: Any, indices: dict[int, Any]) -> Any:
            parts = list(index) if isinstance(index, tuple) else [index]
            for axis, position in positions.items():
                parts[position] = indices[axis]
            return padded[tuple(parts)]

        return _read(x, arrays, read, watch)


def _parts(index: Any, written: Any, ndim: int) -> Iterator[tuple[int, int, Any, Any]]:
    """Yield position in the index, axis, integer or slice or array of integers, and True if it is written out."""
    parts = index if isinstance(index, tuple) else (index,)
    flags = written if isinstance(index, tuple) and isinstance(written, tuple) else (written,) * len(parts)
    taken = sum(_axes(part) for part in parts)
    axis = 0
    for position, (part, flag) in enumerate(zip(parts, flags, strict=False)):
        if part is Ellipsis:
            axis += ndim - taken
        elif axis < ndim and (isinstance(part, slice) or _is_integer(part)):
            yield position, axis, part, flag
        axis += _axes(part)


def _axes(part: Any) -> int:
    """Count the axes of the array that a part of an index uses up."""
    if part is None or part is Ellipsis or isinstance(part, bool):
        return 0
    return part.ndim if getattr(part, "dtype", None) == jnp.bool_ else 1


def _is_integer(part: Any) -> bool:
    if hasattr(part, "dtype"):
        return jnp.issubdtype(part.dtype, jnp.integer)
    return isinstance(part, int) and not isinstance(part, bool)


def _check_integer(i: int, written: bool, size: int) -> None:
    if not -size <= i < size:
        raise OutOfRangeError(f"index {i} is outside of an axis of size {size}")
    if i < 0 and not written:
        raise OutOfRangeError(f"an index is computed as {i}, which wraps around to entry {i + size}")


def _check_slice(part: slice, written: Any, size: int) -> None:
    flags = written if isinstance(written, tuple) else (written, written)
    for end, flag in zip((part.start, part.stop), flags, strict=True):
        # `x[:3]` is all of a shorter x, in Python too: the first three at most. Nothing else is read.
        is_head = end is part.stop and part.start in (None, 0) and isinstance(end, int) and end > 0
        if not isinstance(end, int) or is_head:
            continue
        if not -size <= end <= size:
            raise OutOfRangeError(f"the slice {_text(part)} reaches outside of an axis of size {size}")
        if end < 0 and not flag:
            raise OutOfRangeError(f"an end of the slice {_text(part)} is computed as {end}, which wraps around")


def _text(part: slice) -> str:
    return ":".join("" if end is None else str(end) for end in (part.start, part.stop))


def _is_bad(index: Any, size: int) -> jax.Array:
    return (index < 0) | (index >= size)


def _read(x: jax.Array, indices: dict[int, Any], read: Callable[[Any, dict[int, Any]], Any], watch: Watch) -> Any:
    """Record and return `read(x, indices)`; under poison, entries out of range read a slot appended to each axis."""
    line = sys._getframe(2).f_lineno
    axes = {axis % x.ndim: index for axis, index in indices.items()} if x.ndim else {}
    bad = jnp.stack([_is_bad(index, x.shape[axis]).any() for axis, index in axes.items()]).any()
    watch.sites.append(Site(line, bad, writes=False))
    if watch.poison is None:
        return read(x, indices)
    slots = [(0, int(axis in axes)) for axis in range(x.ndim)]
    fill = jnp.nan if jnp.issubdtype(x.dtype, jnp.floating) else watch.poison
    padded = jnp.pad(x, slots, constant_values=jnp.asarray(fill).astype(x.dtype))
    redirected = {
        axis: jnp.where(_is_bad(index, x.shape[axis]), x.shape[axis], index) for axis, index in indices.items()
    }
    return read(padded, redirected)
