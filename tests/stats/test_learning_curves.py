"""Area under the curve and steps to a threshold, by hand."""

import numpy as np
import pytest

from qllm_jax.stats import learning_curves

STEPS = np.array([0, 100, 200, 300])


def test_the_area_is_the_mean_over_env_steps():
    curves = np.array([[0.0, 1.0, 1.0, 1.0], [4.0, 4.0, 4.0, 4.0]])
    np.testing.assert_allclose(learning_curves.area(STEPS, curves, 0, 300), [(0.5 + 1 + 1) / 3, 4])
    # To 150: a triangle of 50, and a rectangle of 50 that ends between two evaluations.
    np.testing.assert_allclose(learning_curves.area(STEPS, curves, 0, 150), [(50 + 50) / 150, 4])
    with pytest.raises(ValueError, match="no evaluations from 0 to 400 env steps: they are at 0 to 300"):
        learning_curves.area(STEPS, curves, 0, 400)


def test_the_area_of_a_later_span_leaves_out_what_comes_before():
    curves = np.array([[9.0, 0.0, 2.0, 2.0]])
    # From 150: from 1 to 2 over 50 env steps, then 2 over 100.
    np.testing.assert_allclose(learning_curves.area(STEPS, curves, 150, 300), [(1.5 * 50 + 2 * 100) / 150])
    with pytest.raises(ValueError, match="no evaluations from 0 to 300 env steps: they are at 100 to 300"):
        learning_curves.area(STEPS[1:], curves[:, 1:], 0, 300)


def test_steps_to_a_threshold_are_those_from_which_it_is_held():
    steps = np.arange(1, 8) * 10
    curves = np.array(
        [
            [0, 0, 1, 1, 1, 1, 1],  # from the third evaluation on
            [1, 1, 1, 0, 0, 1, 1],  # reached, lost, and not held for three again
            [0, 2, 0, 0, 3, 1, 1],  # one good evaluation is not enough
            [1, 1, 1, 1, 1, 1, 1],
            [0, 0, 0, 0, 0, 0, 0],
        ],
        float,
    )
    assert learning_curves.steps_to(steps, curves, 1.0).tolist() == [30, np.inf, 30, 10, np.inf]
    assert learning_curves.steps_to(steps[:2], curves[:, :2], 0.0).tolist() == [np.inf] * 5  # too few to say
    assert learning_curves.steps_to(steps[:3], curves[:, :3], 1.0).tolist() == [np.inf, 10, np.inf, 10, np.inf]
