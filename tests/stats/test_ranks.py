"""Critical differences: the quantiles of Demsar 2006 (table 5), and rankings by hand."""

import numpy as np
import pytest

from qllm_jax.stats import ranks


@pytest.mark.parametrize(("n_methods", "quantile"), [(3, 2.343), (4, 2.569), (5, 2.728), (10, 3.164)])
def test_the_critical_difference_uses_the_published_quantiles(n_methods: int, quantile: float):
    scores = np.random.default_rng(0).normal(size=(14, n_methods))
    expected = quantile * np.sqrt(n_methods * (n_methods + 1) / (6 * 14))
    assert ranks.ranking(scores).critical_difference == pytest.approx(expected, rel=5e-4)


def test_three_methods_in_the_same_order_on_four_tasks():
    found = ranks.ranking(np.array([[3.0, 1.0, 2.0], [9.0, -1.0, 2.0], [0.3, 0.1, 0.2], [3.0, 1.0, 2.5]]))
    assert found.ranks.tolist() == [1, 3, 2]
    # All tasks agree: chi2 is tasks x (methods - 1) = 8 with 2 degrees of freedom, whose tail is exp(-8 / 2).
    assert found.p == pytest.approx(np.exp(-4))
    assert found.critical_difference == pytest.approx(2.343 * np.sqrt(3 * 4 / (6 * 4)), rel=5e-4)  # 1.66
    assert found.cliques == [[0, 2], [2, 1]]


def test_ties_share_their_mean_rank():
    assert ranks.ranking(np.array([[1.0, 2.0, 2.0], [0.0, 5.0, 5.0]])).ranks.tolist() == [3, 1.5, 1.5]


def test_methods_that_are_alike_are_one_set():
    found = ranks.ranking(np.tile([[1.0, 1.0, 1.0]], (4, 1)))
    assert (found.p, found.rejects, found.cliques) == (1.0, False, [[0, 1, 2]])


def test_a_method_that_always_wins_stands_alone():
    scores = np.random.default_rng(0).normal(size=(30, 4)) + np.array([0, 0, 9, 0])
    found = ranks.ranking(scores)
    assert found.ranks[2] == 1
    assert found.rejects
    assert all(2 not in clique for clique in found.cliques)


def test_sets_of_methods_overlap_and_none_is_within_another():
    found = ranks.Ranking(np.array([4.0, 1.0, 2.0, 2.5, 7.0]), p=0.01, critical_difference=1.6)
    assert found.cliques == [[1, 2, 3], [3, 0]]


def test_too_little_to_compare_is_said():
    with pytest.raises(ValueError, match="need at least 2 tasks and 3 methods, got 1 and 3"):
        ranks.ranking(np.ones((1, 3)))
