"""Episodes: exploration over available actions, masks after the end, and the time limit's two meanings."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from probes import probe

import qllm_envs
from qllm_jax.core.agents import Agent
from qllm_jax.core.rollout import Policy, episode_return, epsilon_greedy, rollout, score, softmax_sampled
from qllm_jax.core.types import Scores


def play(env, time_limit_is_terminal: bool = True, epsilon: float = 1.0, seed: int = 0):
    agent = Agent(env.spec, 4)
    params = agent.init(jax.random.key(9))
    return jax.jit(
        lambda key: rollout(env, agent, epsilon_greedy, params, key, jnp.asarray(epsilon), time_limit_is_terminal)
    )(jax.random.key(seed))


def frequencies(act: Policy, epsilon: float) -> np.ndarray:
    q = jnp.array([[3.0, 1.0, 2.0, 9.0]])  # the best action is not available
    avail = jnp.array([[True, True, True, False]])
    pick = jax.vmap(lambda key: act(jax.random.gumbel(key, q.shape), q, avail, jnp.asarray(epsilon))[0])
    return np.bincount(np.asarray(pick(jax.random.split(jax.random.key(0), 4000))), minlength=4) / 4000


def test_actions_are_greedy_uniform_or_a_mixture_and_always_available():
    np.testing.assert_array_equal(frequencies(epsilon_greedy, 0.0), [1.0, 0.0, 0.0, 0.0])
    np.testing.assert_allclose(frequencies(epsilon_greedy, 1.0), [1 / 3, 1 / 3, 1 / 3, 0.0], atol=0.03)
    np.testing.assert_allclose(frequencies(epsilon_greedy, 0.3), [0.8, 0.1, 0.1, 0.0], atol=0.03)


def test_a_softmax_policy_draws_by_its_probabilities_over_what_is_available():
    probs = np.exp([3.0, 1.0, 2.0]) / np.exp([3.0, 1.0, 2.0]).sum()
    np.testing.assert_allclose(frequencies(softmax_sampled, 0.0), [*probs, 0.0], atol=0.03)
    np.testing.assert_allclose(frequencies(softmax_sampled, 0.4), [*(0.6 * probs + 0.4 / 3), 0.0], atol=0.03)
    np.testing.assert_allclose(frequencies(softmax_sampled, 1.0), [1 / 3, 1 / 3, 1 / 3, 0.0], atol=0.03)


@pytest.mark.parametrize("time_limit_is_terminal", [True, False])
def test_reaching_the_horizon_is_terminal_only_in_the_paper_s_mode(time_limit_is_terminal: bool):
    episode = play(probe(4, None, lambda state, actions: 1.0), time_limit_is_terminal)
    np.testing.assert_array_equal(episode.terminated_t, [False, False, False, time_limit_is_terminal])
    np.testing.assert_array_equal(episode.mask_t, [1, 1, 1, 1])
    assert float(episode_return(episode)) == 4.0


def test_after_an_early_end_there_is_padding():
    episode = play(probe(5, 2, lambda state, actions: 1.0), time_limit_is_terminal=False)
    np.testing.assert_array_equal(episode.terminated_t, [False, True, False, False, False])
    np.testing.assert_array_equal(episode.mask_t, [1, 1, 0, 0, 0])
    np.testing.assert_array_equal(episode.reward_t, [1, 1, 0, 0, 0])
    np.testing.assert_array_equal(episode.env_state.t, [0, 1, 2, 2, 2, 2])  # the state stands still


def test_an_episode_that_is_cut_before_the_horizon_is_over_and_no_terminal():
    sound = probe(5, 9, lambda state, actions: 1.0)

    def step(key, state, actions):
        after = sound.step(key, state, actions)
        return after._replace(truncated=after.state.t >= 2)

    episode = play(sound._replace(step=step), time_limit_is_terminal=False)
    np.testing.assert_array_equal(episode.mask_t, [1, 1, 0, 0, 0])
    np.testing.assert_array_equal(episode.env_state.t, [0, 1, 2, 2, 2, 2])
    assert not np.asarray(episode.terminated_t).any()


def of_two_lengths():
    """A probe with episodes of 3 and of 5 steps."""
    sound = probe(9, 9, lambda state, actions: 1.0)

    def step(key, state, actions):
        after = sound.step(key, state, actions)
        return after._replace(terminated=after.state.t >= jnp.where(state.cue > 0, 3, 5))

    return sound._replace(step=step)


def episodes(env, keys):
    agent = Agent(env.spec, 4)
    params = agent.init(jax.random.key(9))
    one = lambda key: rollout(env, agent, epsilon_greedy, params, key, jnp.ones(()), True)
    return jax.jit(jax.vmap(one))(keys)


def test_a_rollout_that_stops_with_its_last_episode_is_the_one_to_the_horizon():
    env, keys = of_two_lengths(), jax.random.split(jax.random.key(0), 8)
    whole = env._replace(spec=env.spec._replace(ends_early=False))
    stopped, full = episodes(env, keys), episodes(whole, keys)
    assert set(full.mask_t.sum(-1).tolist()) == {3.0, 5.0}
    for name in ("env_state", "reward_t", "terminated_t", "mask_t"):
        jax.tree.map(np.testing.assert_array_equal, getattr(stopped, name), getattr(full, name))
    happened = np.asarray(full.mask_t) > 0
    np.testing.assert_array_equal(stopped.action_t[happened], full.action_t[happened])


def test_an_episode_does_not_depend_on_longer_ones_played_beside_it_steps_after_its_end_included():
    env, keys = of_two_lengths(), jax.random.split(jax.random.key(0), 8)
    together = episodes(env, keys)
    first = int(np.argmin(together.mask_t.sum(-1)))
    alone = episodes(env, keys[first : first + 1])
    assert together.mask_t[first].sum() == 3
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(x[first], y[0]), together, alone)


def test_who_won_is_asked_of_the_last_state():
    env = probe(5, 2, lambda state, actions: 1.0)
    assert score(env, play(env)) == Scores(2.0, None)
    ends = [score(env._replace(won=lambda state: state.t == t), play(env)) for t in (1, 2)]  # noqa: B023
    assert [bool(end.won) for end in ends] == [False, True]


def test_a_crash_counts_in_whatever_step_of_an_episode_it_happens():
    env = probe(5, 2, lambda state, actions: 1.0)
    found = [score(env._replace(crashed=lambda state: state.t == t), play(env)) for t in (1, 2, 3)]  # noqa: B023
    assert [bool(each.crashed) for each in found] == [True, True, False]
    assert [each.won for each in found] == [None] * 3


def test_spread_episodes_have_25_rewards_and_26_states():
    env = qllm_envs.make("mpe_spread", n_agents=3)
    episode = play(env)
    assert episode.reward_t.shape == (25,)
    assert (episode.reward_t < 0).all()
    assert episode.env_state.agent_pos.shape == (26, 3, 2)
    np.testing.assert_array_equal(episode.terminated_t, np.arange(25) == 24)


def test_a_recorded_episode_replays_through_the_environment():
    env = qllm_envs.make("mpe_spread", n_agents=3)
    episode = play(env, epsilon=0.5, seed=3)
    state = jax.tree.map(lambda x: x[0], episode.env_state)
    for t in range(25):
        out = env.step(jax.random.key(0), state, episode.action_t[t])
        np.testing.assert_allclose(out.reward, episode.reward_t[t], rtol=1e-5, atol=1e-5)
        state = out.state
    np.testing.assert_allclose(state.agent_pos, episode.env_state.agent_pos[-1], atol=1e-4)
