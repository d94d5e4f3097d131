"""Short trainings in words: ranks with what the seeds do not show, curves, and the use of the credit."""

from qllm_jax.generation.standing import compare, describe, standings
from qllm_jax.generation.trial_training import Result

# Three seeds. 1 and 2 overlap; 3 is worse than both at step 100, where it stopped.
RESULTS = {
    1: Result([100, 200], [[4.0, 4.1, 4.2], [5.0, 6.0, 7.0]], 0.25, [0.75, 0.25], 0.5),
    2: Result([100, 200], [[4.1, 4.2, 4.3], [5.5, 6.0, 7.1]], 0.3, [0.5, 0.5], 1.0),
    3: Result([100], [[1.0, 1.1, 1.2]], 0.4, [0.5, 0.5], 1.0),
}


def test_differences_are_of_the_last_common_step():
    assert compare(RESULTS[1], RESULTS[3]) == (1, 1)  # 4.1 against 1.1 at step 100
    assert compare(RESULTS[3], RESULTS[2]) == (-1, -1)
    assert compare(RESULTS[1], RESULTS[2]) == (0, 0)
    assert compare(RESULTS[1], Result([50], [[0.0, 0.0, 0.0]])) == (0, 0)
    one_seed = [Result([100], [[x]]) for x in (1.0, 9.0)]
    assert compare(*one_seed) == (0, 0)


def test_one_that_learns_faster_is_told_where_last_returns_are_alike():
    fast = Result([100, 200], [[9.0, 9.1], [10.0, 10.0]])
    slow = Result([100, 200], [[2.0, 2.1], [10.0, 10.0]])
    assert compare(fast, slow) == (0, 1)
    assert "mean return over the training: better than function 2" in describe({1: fast, 2: slow}, random=0.0)[1]


def test_ranks_and_the_range_that_the_seeds_leave():
    found = standings(RESULTS)
    assert list(found) == [2, 1, 3]
    assert [(place.rank, place.best, place.worst) for place in found.values()] == [(1, 1, 2), (2, 1, 2), (3, 3, 3)]
    assert (found[2].better_than, found[2].not_shown, found[3].worse_than) == ([3], [1], [1, 2])


def test_those_that_trained_longer_come_first_and_of_equal_ones_the_first():
    lucky = {1: Result([100], [[9.0]]), 2: Result([100, 200], [[5.0], [6.0]]), 3: Result([100, 200], [[5.0], [6.0]])}
    assert list(standings(lucky)) == [2, 3, 1]


def test_words():
    texts = describe(RESULTS, random=0.5)
    assert texts[2] == [
        "trained for a short while (3 seeds), return 4.200 at step 100, 6.200 at step 200; random policy 0.500",
        "last return by seed 5.500, 6.000, 7.100: mean 6.200 (95% CI 4.167 to 8.233, 3 seeds)",
        "last return: rank 1 of 3, which could be anything from 1 to 2: better than function 3; no difference shown to "
        "function 1",
        "mean return over the training: better than function 3",
        "mean absolute TD error 0.3 in the last part of the training",
        "evenness over replayed states 1.00; shares of the gradient, agent 0 first: 50%, 50%",
    ]
    assert texts[3][0].endswith("at step 100; it stopped there, outside of the better half; random policy 0.500")
    assert texts[3][2] == "last return: rank 3 of 3: worse than functions 1, 2"


def test_a_function_alone_has_no_rank_and_older_results_have_less():
    assert describe({1: Result([100], [[2.0]])}, random=0.5) == {
        1: ["trained for a short while, return 2.000 at step 100; random policy 0.500"]
    }


def test_a_function_that_failed_in_a_seed_ranks_last_however_high_its_returns_were():
    results = RESULTS | {4: Result([100, 200], [[9.0, 9.0, 9.0]] * 2, failed=1)}
    assert list(standings(results)) == [2, 1, 3, 4]
    assert standings(results)[4].worse_than == [1, 2, 3]
    assert results[4].last < RESULTS[3].last
    assert "its training FAILED in 1 of 3 seeds" in describe(results, random=0.0)[4][0]
    assert not any("FAILED" in line for line in describe(results, random=0.0)[1])


def test_of_two_that_failed_none_is_better():
    one, two = (Result([100], [[1.0, 2.0, 3.0]], failed=failed) for failed in (1, 2))
    assert compare(one, two) == (0, 0)
