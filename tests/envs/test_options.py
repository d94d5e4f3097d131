"""Checks of numbers without an upper limit, and of words; those with limits are tested where they are used."""

import pytest

from qllm_envs import options


@pytest.mark.parametrize("value", [-1, float("inf"), float("nan"), 10**400, True, "1", None])
def test_a_number_without_an_upper_limit_is_finite(value):
    with pytest.raises(ValueError, match=rf"^task: weight must be a number of at least 0, got {value!r}$"):
        options.number("task", "weight", value, low=0)


@pytest.mark.parametrize("value", [0, 2.5, 2**300])
def test_a_number_comes_back_as_a_float(value):
    checked = options.number("task", "weight", value, low=0)
    assert (type(checked), checked) == (float, value)


@pytest.mark.parametrize("value", [0, -0.0, -1e-3])
def test_the_smallest_number_is_above_0(value):
    with pytest.raises(ValueError, match=r"^task: lr must be a positive number, got "):
        options.number("task", "lr", value, low=options.SMALLEST, allowed="a positive number")


def test_a_choice_is_of_the_same_type():
    assert options.choice("task", "layers", 1, (1, 2)) == 1
    with pytest.raises(ValueError, match=r"^task: layers True does not exist: choose from 1, 2$"):
        options.choice("task", "layers", True, (1, 2))
