"""Policies of a run in games of the host: what they see, what counts, and what is refused. The games are made up."""

import jax
import numpy as np
import pytest

from qllm_envs.football_engine import Outcome
from qllm_jax.commands.evaluate import evaluate
from qllm_jax.errors import UserError
from qllm_jax.run import engine_play
from qllm_jax.run.load import load_run

pytestmark = pytest.mark.thorough


class CountingGames:
    """Games in which the episode of seed s lasts 2 + s % 3 steps and pays its step's number; odd seeds are won."""

    def __init__(self, n_games, n_agents, obs_dim):
        self.n_games, self.shape = n_games, (n_agents, obs_dim)
        self.at, self.seen = {}, []

    def reset(self, seeds):
        self.at |= {lane: [seed, 0] for lane, seed in seeds.items()}
        return {lane: np.full(self.shape, seed % 7, np.float32) for lane, seed in seeds.items()}

    def step(self, actions):
        return {lane: self.one(lane, chosen) for lane, chosen in actions.items()}

    def one(self, lane, actions):
        seed, t = self.at[lane]
        self.at[lane][1] = t + 1
        self.seen.append((seed, t, tuple(actions)))
        end = "" if t + 1 < 2 + seed % 3 else "goal" if seed % 2 else "limit"
        return Outcome(np.full(self.shape, t, np.float32), float(t + 1), end)


@pytest.fixture(scope="module")
def run(tiny_run):
    return load_run(str(tiny_run))


def played(run, n_games, episodes=5, epsilon=0.0):
    spec = run.exp.env.spec
    games = CountingGames(n_games, spec.n_agents, spec.obs_dim)
    keys = jax.random.split(jax.random.key(3), run.exp.n_runs)
    return engine_play.play(run.exp, run.params, keys, games, episodes, epsilon), games


def test_each_episode_counts_once_with_all_its_steps(run):
    scores, games = played(run, 2)
    assert scores.returns.shape == scores.won.shape == (run.exp.n_runs, 5)
    seeds = np.array(list(dict.fromkeys(seed for seed, _, _ in games.seen))).reshape(run.exp.n_runs, 5)
    lengths = 2 + seeds % 3
    for row, found in zip(lengths * (lengths + 1) / 2, scores.returns, strict=True):
        assert sorted(row) == sorted(found)
    np.testing.assert_array_equal(np.sort(scores.won, -1), np.sort(seeds % 2 == 1, -1))


@pytest.mark.parametrize("epsilon", [0.0, 1.0])
def test_an_episode_does_not_depend_on_the_number_of_games(run, epsilon):
    """Each policy starts an episode without memory and draws by the episode's number, whatever its lane."""
    one, few = (played(run, n, epsilon=epsilon) for n in (1, 3))
    np.testing.assert_array_equal(one[0].returns, few[0].returns)
    assert sorted(one[1].seen) == sorted(few[1].seen)


def test_a_run_of_another_task_is_refused(tiny_run):
    with pytest.raises(UserError, match="env=football_engine plays runs of football_lite, and this is a run of mpe"):
        evaluate([str(tiny_run), "env=football_engine"])


def test_another_environment_is_refused(tiny_run):
    with pytest.raises(UserError, match="env=mpe_tag does not exist: choose football_engine, or leave env out"):
        evaluate([str(tiny_run), "env=mpe_tag"])
