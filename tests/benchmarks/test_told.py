"""Teams that are told no task and teams that are told all: both are scored, and a method without tasks is refused."""

import importlib

import jax
import pytest

from qllm_jax import config
from qllm_jax.errors import UserError
from qllm_jax.program import experiment

TINY = ["env=duty", "n_agents=2", "env.horizon=2", "seeds=2", "algo.hidden_dim=4", "devices=1"]


@pytest.mark.thorough
def test_teams_are_scored_with_and_without_tasks():
    told = importlib.import_module("benchmarks.told")
    exp = experiment.build(config.load([*TINY, "algo=matched_taca"]))
    params = jax.jit(jax.vmap(exp.learner.init))(jax.random.split(jax.random.key(0), 2)).params
    found = [told.returns(exp, params, kept, 8) for kept in (0.0, 1.0)]
    assert [scores.shape for scores in found] == [(2,), (2,)]
    assert all((scores >= 0).all() and (scores <= 2).all() for scores in found)
    with pytest.raises(UserError, match="matched_mca tells no tasks"):
        told.returns(exp._replace(config=config.load([*TINY, "algo=matched_mca"])), params, 0.0, 8)
