"""Values that JAX and Python cut off or leave out without a word, in functions without an index: refused or noted."""

import sys
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

from qllm_jax.tfcaf.loading.indexing import OutOfRangeError, Remarks, Site, Watch


def functions(watch: Watch | None) -> dict[str, Callable[..., Any]]:
    """Return functions of jnp and jax.nn by dotted name that raise `OutOfRangeError` for what is outside."""

    def diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> jax.Array:
        found = jnp.diagonal(a, offset, axis1, axis2)
        _check_offset(offset, jnp.asarray(a).shape[axis1], jnp.asarray(a).shape[axis2])
        return found

    def diag(v: Any, k: int = 0) -> jax.Array:
        shape = jnp.asarray(v).shape
        if len(shape) == 2:
            _check_offset(k, *shape)
        return jnp.diag(v, k)

    def eye(rows: int, columns: int | None = None, k: int = 0, dtype: Any = None) -> jax.Array:
        _check_offset(k, rows, rows if columns is None else columns)
        return jnp.eye(rows, columns, k, dtype)

    def split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[jax.Array]:
        ends = indices_or_sections if isinstance(indices_or_sections, list | tuple) else ()
        size = jnp.asarray(ary).shape[axis]
        for end in ends:
            if isinstance(end, int) and not 0 <= end <= size:
                raise OutOfRangeError(f"a split at {end} is outside of an axis of size {size}")
        return jnp.split(ary, indices_or_sections, axis)

    found = {"jnp.diagonal": diagonal, "jnp.diag": diag, "jnp.eye": eye, "jnp.split": split}
    return found if watch is None else found | {"jax.nn.one_hot": _one_hot(watch)}


def zipped(remarks: Remarks | None) -> Callable[..., Any]:
    """Return `zip`, which remarks that it stops at the shortest."""
    if remarks is None:
        return zip

    def measured(*given: Any, strict: bool = False) -> Iterator[tuple]:
        rows = [each if hasattr(each, "__len__") else list(each) for each in given]
        sizes = [len(row) for row in rows]
        if len(set(sizes)) > 1 and not strict:
            remark = f"zip of {' and '.join(map(str, sizes))} stops at the shorter"
            remarks.append((sys._getframe(1).f_lineno, remark))
        return zip(*rows, strict=strict)

    return measured


def _check_offset(offset: int, rows: int, columns: int) -> None:
    # A single agent has no second diagonal, and needs none.
    if not -max(rows, 2) < offset < max(columns, 2):
        raise OutOfRangeError(f"diagonal {offset} is outside of an array of shape {(rows, columns)}")


def _one_hot(watch: Watch) -> Callable[..., jax.Array]:
    """Return `one_hot` under a watch. A number that is too large gives zeros; so does -1, which stands for none."""

    def one_hot(x: Any, num_classes: int, *, axis: int = -1, **options: Any) -> jax.Array:
        found = jax.nn.one_hot(x, num_classes, axis=axis, **options)
        bad = jnp.asarray(x) >= num_classes
        watch.sites.append(Site(sys._getframe(1).f_lineno, bad.any(), writes=False))
        if watch.poison is None:
            return found
        fill = jnp.nan if jnp.issubdtype(found.dtype, jnp.floating) else watch.poison
        return jnp.where(jnp.expand_dims(bad, axis), jnp.asarray(fill, found.dtype), found)

    return one_hot
