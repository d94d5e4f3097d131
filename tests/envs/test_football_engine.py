"""The host side of the football engine, on an engine that is made up; on the real one where it is installed."""

import multiprocessing
import os
import shutil
import subprocess
import sys
import tomllib
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import qllm_envs
from qllm_envs import football_engine
from qllm_envs.football_engine import LIMIT, Game, Games, game, vector

TASK = "academy_3_vs_1_with_keeper"
real = pytest.mark.skipif(not football_engine.installed(), reason="the engine is an optional extra")


def raw(n_left=4, n_right=2, owner=-1, mode=0, score=(0, 0), active=0):
    """A raw observation whose numbers tell where they come from: the left team counts from 0, the right from 100."""
    counted = lambda start, n: start + np.arange(2.0 * n).reshape(n, 2)
    return {
        "left_team": counted(0, n_left), "left_team_direction": counted(50, n_left),
        "right_team": counted(100, n_right), "right_team_direction": counted(150, n_right),
        "ball": np.array([1.0, 2.0, 3.0]), "ball_direction": np.array([4.0, 5.0, 6.0]),
        "ball_owned_team": owner, "game_mode": mode, "score": list(score), "active": active,
    }  # fmt: skip


class Scripted:
    """An engine that plays a list of (raw observation, rewards, done)."""

    def __init__(self, steps):
        self.steps, self.actions = list(steps), []
        self.unwrapped = SimpleNamespace(_config={})

    def reset(self):
        return [raw(active=i) for i in range(4)]

    def step(self, actions):
        self.actions.append(actions)
        first, rewards, done = self.steps.pop(0)
        return [first | {"active": i} for i in range(4)], np.array(rewards), done, {}

    def close(self):
        pass


def game_of(*steps, limit=LIMIT):
    engine = Scripted(steps)
    return Game(TASK, limit, make=lambda task, n_agents: engine), engine


def test_layout_of_an_observation():
    """Teams follow each other without padding, then -1 up to 88; then ball, owner, active player and mode."""
    seen = game.simple115([raw(owner=1, mode=4, active=2)])
    assert seen.shape == (1, 115)
    assert seen.dtype == np.float32
    np.testing.assert_array_equal(seen[0, :8], np.arange(8))
    np.testing.assert_array_equal(seen[0, 8:16], 50 + np.arange(8))
    np.testing.assert_array_equal(seen[0, 16:24], [100, 101, 102, 103, 150, 151, 152, 153])
    np.testing.assert_array_equal(seen[0, 24:88], -1)
    np.testing.assert_array_equal(seen[0, 88:94], [1, 2, 3, 4, 5, 6])
    assert np.flatnonzero(seen[0, 94:]).tolist() == [2, 3 + 2, 14 + 4]  # right owns; player 2 is active; a corner


def test_agents_differ_in_the_active_player_alone():
    seen = game_of()[0].reset(3)
    np.testing.assert_array_equal(seen[:, 97:101], np.eye(4))
    assert (seen[:, :97] == seen[:1, :97]).all()


def test_rewards_are_summed_over_agents_and_actions_reach_the_engine():
    played, engine = game_of((raw(owner=0), [0.1, 0.0, 0.2, 0.0], False))
    played.reset(3)
    assert played.step(np.array([1, 2, 3, 18])).reward == pytest.approx(0.3)
    assert engine.actions == [[1, 2, 3, 18]]
    assert engine.unwrapped._config == {"game_engine_random_seed": 3, "reverse_team_processing": True}


@pytest.mark.parametrize(
    ("owner", "last", "end"),
    [
        (-1, raw(score=(1, 0)), "goal"),
        (-1, raw(score=(0, 1)), "conceded"),
        (0, raw(mode=2), "goal_kick"),
        (0, raw(owner=1), "lost"),
        (1, raw(owner=0), "regained"),
        (0, raw(owner=0), "limit"),  # the engine's own limit
    ],
)
def test_reason_of_an_end(owner, last, end):
    played, _ = game_of((raw(owner=owner), [0.0] * 4, False), (raw(), [0.0] * 4, False), (last, [1.0] * 4, True))
    played.reset(0)
    outcomes = [played.step([0] * 4) for _ in range(3)]
    assert [outcome.end for outcome in outcomes] == ["", "", end]
    assert outcomes[-1].won == (end == "goal")


def test_the_limit_is_that_of_the_release():
    played, _ = game_of(*[(raw(), [0.0] * 4, False)] * 4, limit=2)
    for _ in range(2):
        played.reset(0)
        assert [played.step([0] * 4).end for _ in range(2)] == ["", "limit"]


def test_nothing_is_trained_in_the_engine():
    with pytest.raises(ValueError, match="cannot be traced, so nothing is trained in it: train in football_lite, then"):
        qllm_envs.make("football_engine")


def test_a_missing_engine_is_one_sentence(monkeypatch):
    monkeypatch.setattr(game, "installed", lambda: False)
    for start in (lambda: Games(TASK, 2), lambda: Game(TASK)):
        with pytest.raises(ValueError, match=r"needs Google Research Football: .* docs/football_engine\.md"):
            start()


def test_a_process_ends_quietly_if_the_one_that_asked_has_ended(monkeypatch):
    played = []
    monkeypatch.setattr(Game, "__init__", lambda game, task, limit: None)
    monkeypatch.setattr(Game, "reset", lambda game, seed: played.append(seed))
    ours, theirs = multiprocessing.Pipe()
    ours.send(("reset", {0: 7}))
    ours.close()
    vector.serve(theirs, TASK, 1, LIMIT)
    assert played == [7]


def test_a_process_that_has_ended_is_named_by_its_exit_code():
    ours, theirs = multiprocessing.Pipe()
    theirs.close()
    games = object.__new__(Games)
    games.workers = [vector.Worker(SimpleNamespace(join=lambda seconds: None, exitcode=-9), ours, range(1))]
    with pytest.raises(RuntimeError, match="ended with exit code -9 before it answered"):
        games.step({0: [0, 0, 0, 0]})


def test_a_task_that_does_not_exist_lists_those_that_do():
    with pytest.raises(ValueError, match="'academy_corner' of football_engine does not exist: choose from academy"):
        Games("academy_corner", 1)


@real
def test_observations_and_rewards_are_those_of_the_engines_own_wrappers():
    from gfootball import env as gfootball  # pyright: ignore[reportMissingImports]

    config = {"game_engine_random_seed": 4, "reverse_team_processing": False}
    wrapped = gfootball.create_environment(
        env_name=TASK, representation="simple115", rewards="scoring,checkpoints",
        number_of_left_players_agent_controls=4, other_config_options=config,
    )  # fmt: skip
    own, rng = Game(TASK), np.random.default_rng(0)
    np.testing.assert_array_equal(own.reset(4), wrapped.reset())
    for _ in range(40):
        actions = rng.integers(0, 19, 4)
        outcome, (theirs, rewards, done, _) = own.step(actions), wrapped.step(actions.tolist())
        np.testing.assert_array_equal(outcome.obs, theirs)
        assert outcome.reward == pytest.approx(sum(rewards))
        assert bool(outcome.end) == done
        if done:
            break
    own.close()
    wrapped.close()


@real
def test_an_episode_depends_on_its_seed_alone():
    """Not on the lane, on the process, or on what was played before."""
    actions = np.random.default_rng(1).integers(0, 19, (30, 4)).tolist()

    def episode(games, lane):
        played = [games.reset({lane: 7})[lane]]
        for each in actions:
            outcome = games.step({lane: each})[lane]
            played.append(outcome.obs)
            if outcome.end:
                break
        return np.array(played)

    with Games(TASK, 3, 2) as games:
        first = episode(games, 0)
        games.reset({1: 8})
        for lane in (0, 1, 2):
            np.testing.assert_array_equal(episode(games, lane), first)


@pytest.mark.slow
@pytest.mark.skipif(not (shutil.which("cmake") and shutil.which("sdl2-config")), reason="Debian packages are missing")
def test_the_extra_is_built_and_plays(tmp_path):
    """Build the engine as docs/football_engine.md says, in 8 minutes, or less from pip's cache."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    extra = project["optional-dependencies"]["football"]
    python = tmp_path / "bin" / "python"
    pip = [python, "-m", "pip", "install", "--quiet", "--no-build-isolation"]
    run = partial(subprocess.run, check=True, env=os.environ | {"PATH": f"{python.parent}:{os.environ['PATH']}"})
    run([sys.executable, "-m", "venv", tmp_path])
    run([*pip[:-1], "setuptools<81", "wheel", "psutil", "six"])
    run([*pip, *extra])
    play = "from gfootball.env import create_environment as make; make('academy_3_vs_1_with_keeper').reset()"
    run([python, "-c", play])
