"""Settings reach the program: how evaluations play, which parameters are kept, what the learner is given."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from learning import core_of
from probes import probe

from qllm_jax import config, learners
from qllm_jax.program import compiled, experiment


def test_evaluations_explore_as_set():
    env = probe(1, None, lambda state, actions: actions[0])
    core = core_of(env, 4, {"name": "vdn"})
    learner = learners.make("value", core)
    for epsilon in (0.0, 1.0):
        program = compiled.make(env, core.agent, learner, compiled.Sizes(4, 4, 8, 1, True, epsilon))
        found = np.unique(program.evaluate(*program.init(jax.random.key(0), jnp.arange(1)), 64)[1].returns)
        assert (len(found) == 3) == (epsilon == 1.0)  # greedy: one action for each of two cues


@pytest.mark.parametrize(("evaluation", "draws"), [("greedy", False), ("sampled", True)])
def test_evaluations_are_greedy_or_drawn_as_set(evaluation: str, draws: bool):
    env = probe(1, None, lambda state, actions: actions[0])
    core = core_of(env, 4)
    learner = learners.make("coma", core, critic_dim=4, evaluation=evaluation)
    program = compiled.make(env, core.agent, learner, compiled.Sizes(4, 4, 4, 1, True, 0.0))
    found = np.unique(program.evaluate(*program.init(jax.random.key(0), jnp.arange(1)), 64)[1].returns)
    assert (len(found) == 3) == draws  # greedy: one action for each of two cues


def test_of_equal_evaluations_the_first_is_kept():
    env = probe(1, None, lambda state, actions: 1.0)
    core = core_of(env, 4, {"name": "vdn"})
    program = compiled.make(env, core.agent, learners.make("value", core), compiled.Sizes(4, 4, 8, 1, True, 0.0))
    clock, state = program.init(jax.random.key(0), jnp.arange(1))
    state, _ = program.evaluate(clock, state, 4)
    first = jax.tree.map(np.array, state.best_params)
    other = jax.tree.map(lambda x: x + 1.0, state.learner.params)
    state, _ = program.evaluate(clock, state._replace(learner=state.learner._replace(params=other)), 4)
    jax.tree.map(np.testing.assert_array_equal, state.best_params, first)


def test_options_reach_the_program(monkeypatch: pytest.MonkeyPatch):
    made: list[Any] = []
    monkeypatch.setattr(experiment.compiled, "make", lambda *parts: made.append(parts))
    flags = ["env.time_limit_is_terminal=false", "algo.standardize_rewards=false", "algo.share_params=false"]
    numbers = ["algo.eval_epsilon=0.25", "algo.target_interval=7", "algo.gradient_steps=2", "algo.reward_scale=0.5"]
    settings = config.load(["algo=matched_vdn", "algo.optimizer=rmsprop", "n_agents=3", *flags, *numbers])
    exp = experiment.build(settings)
    ((_, agent, _, sizes, _),) = made
    found = (sizes.time_limit_is_terminal, sizes.eval_epsilon, sizes.target_interval, sizes.gradient_steps)
    assert found == (False, 0.25, 7, 2)
    core = experiment.make_core(settings, exp.env, exp.agent, exp.mixer)
    assert (core.optimizer, core.standardize, core.reward_scale) == ("rmsprop", False, 0.5)
    assert {leaf.shape[0] for leaf in jax.tree.leaves(jax.eval_shape(agent.init, jax.random.key(0)))} == {3}
