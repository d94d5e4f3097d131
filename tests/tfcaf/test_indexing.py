"""The guard of indices: one in range reads as in JAX, any other is recorded and can be poisoned."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qllm_jax.tfcaf.loading.indexing import OutOfRangeError, Watch, guarded

X = jnp.arange(60.0).reshape(3, 4, 5)
ROWS, MORE, ONE = jnp.array([0, 2]), jnp.array([[1], [3]]), jnp.int32(2)
ALL, MASK = slice(None), np.array([True, False, True])
FORMS = {
    "array": (ROWS,), "scalar": (ONE,), "second_axis": (ALL, ROWS), "two_arrays": (ROWS, MORE),
    "mask": (MASK, ALL, ROWS), "ellipsis": (..., ROWS), "none": (None, ROWS), "none_after": (ROWS, None),
    "around_a_slice": (ONE, ALL, ROWS), "with_integer": (0, ROWS), "with_negative": (-1, ROWS),
    "with_slice": (ROWS, slice(1, 3)), "with_step": (slice(None, None, 2), ONE),
    "backwards": (slice(None, None, -1), ROWS), "all_scalars": (ONE, ONE, ONE), "no_array": (ALL, ALL, -1),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
@pytest.mark.parametrize("x", [X, X.astype(int), X > 20.0], ids=["float", "int", "bool"])
def test_in_range_nothing_changes(form: tuple, x: jax.Array):
    for poison in (None, 7, 0):
        watch = Watch([], poison)
        read = guarded(watch)[0](x, (True,) * len(form))[form]
        np.testing.assert_array_equal(read, x[form])
        assert not any(site.bad for site in watch.sites)


@pytest.mark.parametrize("form", [(jnp.array([0, 3]),), (ALL, jnp.int32(-1)), (jnp.array([0, 9]), 1)])
def test_out_of_range_is_recorded_and_poisoned(form: tuple):
    watch = Watch([], 7)
    item, _ = guarded(watch)
    read = item(X, (True,) * len(form))[form]
    assert [bool(site.bad) for site in watch.sites] == [True]
    assert jnp.isnan(read).any()
    plain = guarded(Watch([]))[0](X, (True,) * len(form))[form]
    np.testing.assert_array_equal(plain, X[form])
    assert (item(X.astype(int), (True,) * len(form))[form] == 7).any()


def test_updates_and_functions_are_recorded():
    watch = Watch([])
    item, functions = guarded(watch)
    np.testing.assert_array_equal(item(X.at, (True, True))[ROWS, 0].set(1.0), X.at[ROWS, 0].set(1.0))
    np.testing.assert_array_equal(functions["jnp.take"](X, ROWS, axis=-1), jnp.take(X, ROWS, axis=-1))
    np.testing.assert_array_equal(functions["jnp.take"](X, ROWS), jnp.take(X, ROWS))
    order = jnp.argsort(X, 1)
    np.testing.assert_array_equal(functions["jnp.take_along_axis"](X, order, 1), jnp.take_along_axis(X, order, 1))
    item(X.at, True)[jnp.array([5])].set(1.0)
    functions["jnp.take"](X, jnp.array([60]))
    functions["jnp.take_along_axis"](X, order + 3, 1)
    assert [bool(site.bad) for site in watch.sites] == [False] * 4 + [True] * 3
    assert [site.writes for site in watch.sites] == [True, False, False, False, True, False, False]


@pytest.mark.parametrize(
    ("index", "written", "fine"),
    [
        (2, True, True),
        (3, True, False),
        (-3, True, True),
        (-1, False, False),
        (-4, True, False),
        (slice(0, 3), (True, True), True),
        (slice(3, None), (False, False), True),  # the others after the last one: none
        (slice(0, 4), (False, False), True),  # the first four at most
        (slice(None, 4), (False, False), True),
        (slice(1, 4), (False, False), False),
        (slice(4, None), (False, False), False),
        (slice(-2, None), (True, False), True),
        (slice(-2, None), (False, False), False),
        ((0, 4), (True, True), False),
        ((..., 4), (True, True), True),
        ((None, 2, 3, 4), (True,) * 4, True),
    ],
)
def test_integers_and_slices_are_checked_at_once(index, written, fine: bool):
    item, _ = guarded(None)
    if fine:
        np.testing.assert_array_equal(item(X, written)[index], X[index])
    else:
        with pytest.raises(OutOfRangeError):
            item(X, written)[index]
    if not isinstance(index, tuple) and not fine:
        with pytest.raises(OutOfRangeError):
            item([1, 2, 3], written)[index]


def test_dicts_and_text_are_left_alone():
    item, _ = guarded(Watch([]))
    assert item({"a": 1}, True)["a"] == 1
    assert item("abc", True)[1] == "b"
