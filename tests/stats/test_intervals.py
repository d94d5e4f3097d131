"""t intervals of means over seeds and of their differences: coverage, known values, bounds, text."""

from typing import Any

import numpy as np
import pytest
import scipy.stats

from qllm_jax import stats

SEEDS = (3, 5, 10)


@pytest.mark.parametrize("n_seeds", SEEDS)
def test_the_interval_of_a_mean_covers_it_in_95_of_100_cases(n_seeds: int):
    scores = np.random.default_rng(0).normal(7.0, 2.0, (n_seeds, 20_000))
    low, high = stats.band(scores)
    assert np.mean((low <= 7.0) & (high >= 7.0)) == pytest.approx(0.95, abs=0.005)


@pytest.mark.parametrize("n_seeds", SEEDS)
def test_equal_methods_differ_in_at_most_5_of_100_cases(n_seeds: int):
    rng = np.random.default_rng(1)
    found = [stats.welch(*rng.normal(size=(2, n_seeds))).significant for _ in range(4000)]
    assert 0.03 < np.mean(found) < 0.058  # with few seeds Welch's interval is a little too wide


def test_the_interval_of_three_known_scores():
    # Mean 2, standard error 1 / sqrt(3), and 4.302653 is the quantile of t with 2 degrees of freedom.
    low, high = stats.interval(np.array([1.0, 2.0, 3.0]))
    assert (low, high) == pytest.approx((2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5))


def test_the_difference_is_that_of_scipy():
    ours, theirs = np.array([3.1, 2.9, 3.6, 3.3]), np.array([2.0, 2.8, 1.5])
    known: Any = scipy.stats.ttest_ind(ours, theirs, equal_var=False)
    found = stats.welch(ours, theirs)
    assert found[1:] == pytest.approx(tuple(known.confidence_interval(0.95)))
    assert found.significant == (known.pvalue < 0.05)


def test_one_seed_has_no_interval():
    assert np.isnan(stats.interval(np.array([3.0]))).all()
    assert np.isnan(stats.band(np.ones((1, 4)))).all()
    assert not stats.welch(np.array([3.0]), np.array([1.0, 1.1])).significant
    assert stats.summary(np.array([3.0]))["ci95_low"] is None
    assert stats.mean_with_interval(np.array([3.0])) == "3.000 (one seed, no interval)"


def test_scores_without_spread_differ_exactly():
    assert stats.welch(np.array([1.0, 1.0]), np.array([0.5, 0.5])) == (0.5, 0.5, 0.5)
    assert not stats.welch(np.ones(3), np.ones(3)).significant
    # Means of equal scores differ in their last bit where there are more of them.
    assert stats.welch(np.full(7, 0.9), np.full(9, 0.9)) == (0.0, 0.0, 0.0)


def test_the_interval_of_a_share_stays_between_0_and_1():
    won = np.array([1.0, 0.9, 0.98])
    assert stats.interval(won)[1] > 1
    assert stats.interval(won, stats.SHARE)[1] == 1
    assert stats.summary(won, stats.SHARE)["ci95_high"] == 1
    assert stats.percentage_with_interval(won) == "96.0% (95% CI 82.9% to 100.0%)"


def test_the_iqm_of_a_summary_is_without_the_lowest_and_the_highest_quarter():
    assert stats.summary(np.array([9.0, 0.0, 1.0, 2.0, 100.0]))["iqm"] == 4.0  # one of five on either side
