"""Aggregates over tasks: by hand, and against the definitions of rliable (Agarwal et al. 2021)."""

import numpy as np
import pytest
import scipy.stats

from qllm_jax.stats import tasks


def test_the_iqm_of_equally_many_seeds_is_the_trimmed_mean():
    scores = np.random.default_rng(0).normal(size=(3, 8))
    assert tasks.iqm(list(scores)) == pytest.approx(scipy.stats.trim_mean(scores.flatten(), 0.25))


def test_a_task_weighs_the_same_whatever_its_number_of_seeds():
    # The middle half of {0: weight 1/2, 4: weight 1/2} is 0 and 4 alike, with any number of copies of either.
    assert tasks.iqm([np.zeros(2), np.full(2, 4.0)]) == pytest.approx(2)
    assert tasks.iqm([np.zeros(2), np.full(10, 4.0)]) == pytest.approx(2)
    assert tasks.iqm([np.full(10, 4.0), np.zeros(2)]) == pytest.approx(2)
    # One run of weight 1: a half of weights 1/4 each side is cut from 1 and 3, of weight 1/3 each.
    assert tasks.iqm([np.array([1.0, 2.0, 3.0])]) == pytest.approx(2 * (1 / 12 + 2 / 3 + 3 / 12))


def test_the_interval_resamples_seeds_within_tasks():
    # Two tasks without any spread within: no resample differs, although the tasks do.
    found = tasks.iqm_interval([np.zeros(3), np.ones(3)])
    assert found == pytest.approx((0.5, 0.5, 0.5, 6))
    spread = tasks.iqm_interval([np.array([0.0, 1.0, 2.0, 3.0])])
    assert spread.value == pytest.approx(1.5)
    assert spread.low < 1.5 < spread.high


def test_a_task_with_one_seed_has_no_interval():
    found = tasks.iqm_interval([np.array([1.0, 2.0]), np.array([3.0])])
    assert np.isnan(found[1:3]).all()
    assert found.n_runs == 3


def test_a_profile_with_a_task_of_one_seed_has_no_band():
    assert np.isnan(tasks.profile_band([np.array([1.0, 2.0]), np.array([3.0])], np.array([0.0, 2.5]))).all()


def test_the_interval_of_the_iqm_covers_at_ten_seeds_and_three_tasks():
    rng, inside = np.random.default_rng(0), 0
    for _ in range(60):
        found = tasks.iqm_interval(list(rng.normal(size=(3, 10))))
        inside += found.low <= 0 <= found.high
    assert inside >= 50  # 0.95 of 60 is 57; a percentile bootstrap is known to cover a little less


def test_probability_of_improvement_counts_pairs():
    ours, theirs = [np.array([1.0, 3.0]), np.array([5.0, 5.0])], [np.array([2.0, 3.0]), np.array([5.0, 9.0, 9.0, 9.0])]
    # Task 1: 3 > 2 wins, 3 = 3 is a half, 1 loses twice: 1.5 of 4. Task 2: two ties of 8: 1 of 8.
    assert tasks.improvement(ours, theirs) == pytest.approx((1.5 / 4 + 0.5 / 4) / 2)
    found = tasks.improvement_interval(ours, theirs)
    assert (found.value, found.n_runs) == (pytest.approx(0.25), 10)
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_probability_of_improvement_is_that_of_mann_and_whitney():
    ours, theirs = np.random.default_rng(2).normal(size=(2, 7))
    u = scipy.stats.mannwhitneyu(ours, theirs).statistic
    assert tasks.improvement([ours], [theirs]) == pytest.approx(u / 49)
    assert tasks.improvement([theirs], [ours]) == pytest.approx(1 - u / 49)


def test_the_p_value_of_improvement_on_one_task_is_that_of_mann_and_whitney():
    ours, theirs = np.array([0.2, 1.4, 1.9, 2.5, 3.1]), np.array([0.1, 0.3, 0.5, 1.0, 1.6])
    exact = scipy.stats.mannwhitneyu(ours, theirs, method="exact").pvalue
    assert tasks.improvement_p([ours], [theirs]) == pytest.approx(exact, abs=0.01)
    assert tasks.improvement_p([theirs], [ours]) == pytest.approx(exact, abs=0.01)


def test_the_p_value_of_improvement_exchanges_runs_within_tasks():
    # Two tasks of far scales, on each of which all runs of one method win: 2 of the 6 x 6 ways are as far from 1/2.
    ours, theirs = [np.array([3.0, 4.0]), np.array([300.0, 400.0])], [np.array([1.0, 2.0]), np.array([100.0, 200.0])]
    assert tasks.improvement_p(ours, theirs) == pytest.approx(2 / 36, abs=0.01)
    # With one run of each per task it is a sign test: 5 of 5 tasks are won.
    assert tasks.improvement_p([np.ones(1)] * 5, [np.zeros(1)] * 5) == pytest.approx(2 / 32, abs=0.01)


def test_the_p_value_of_improvement_of_equal_runs_is_1():
    assert tasks.improvement_p([np.ones(3)], [np.ones(4)]) == 1.0


def test_the_profile_is_the_share_of_runs_above():
    scores = [np.array([0.1, 0.9]), np.array([0.5, 0.5, 0.5, 1.5])]
    thresholds = np.array([0.0, 0.5, 1.0, 2.0])
    np.testing.assert_allclose(tasks.profile(scores, thresholds), [1, (1 / 2 + 1 / 4) / 2, (0 + 1 / 4) / 2, 0])
    low, high = tasks.profile_band(scores, thresholds)
    resampled = tasks.profile(tasks._resampled(scores), thresholds)  # the same draws, one by one
    np.testing.assert_allclose(np.percentile(resampled, [2.5, 97.5], 0), [low, high], atol=1e-12)


def test_normalized_scores_are_0_at_random_and_1_at_best():
    np.testing.assert_allclose(tasks.normalize(np.array([-80.0, -50.0, -65.0]), -80.0, -50.0), [0, 1, 0.5])
    with pytest.raises(ValueError, match="cannot be normalized from 2 to 2: the second must be greater"):
        tasks.normalize(np.ones(2), 2.0, 2.0)


def test_the_seeds_of_both_methods_are_resampled_apart():
    found = tasks.improvement_interval([np.arange(5.0)], [np.arange(5.0)])
    assert found.low < 0.3 < found.value == 0.5 < 0.7 < found.high
