"""Successive halving: rungs that double, as many steps in all as without it, and the same steps for all rounds."""

import itertools

import pytest

from qllm_jax.generation.halving import POINTS, best, rungs


@pytest.mark.parametrize("halvings", [0, 1, 2, 3])
@pytest.mark.parametrize("k", [1, 2, 3, 8])
def test_a_round_takes_the_same_steps_with_and_without_halving(k: int, halvings: int):
    found = rungs(k, 100_000, halvings)
    ends = [rung.stops[-1] for rung in found]
    total = sum(rung.size * (stop - start) for rung, start, stop in zip(found, [0, *ends], ends, strict=False))
    assert total == pytest.approx(k * 100_000, abs=2 * k)
    for before, after in itertools.pairwise(ends):
        assert after == pytest.approx(2 * before, abs=1)
    assert next(rung.size for rung in found) == k
    assert all(after.size == -(-before.size // 2) for before, after in itertools.pairwise(found))


def test_rungs_by_hand():
    assert [(rung.size, rung.stops) for rung in rungs(3, 100_000, 1)] == [(3, (30_000, 60_000)), (2, (90_000, 120_000))]
    assert [rung.stops for rung in rungs(8, 100, 2)] == [(50,), (100,), (150, 200)]
    assert len(rungs(3, 100_000, 0)[0].stops) == POINTS


def test_the_best_go_on_in_their_order_and_the_first_of_equal_ones():
    assert best([1.0, 3.0, 2.0, 3.0], 2) == [1, 3]
    assert best([1.0, 2.0, 2.0], 2) == [1, 2]
    assert best([2.0, 2.0, 2.0], 2) == [0, 1]
    assert best([1.0], 2) == [0]
