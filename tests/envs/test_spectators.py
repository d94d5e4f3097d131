"""Spectators: equal to spread step by step, for any actions of the spectators; what they see, picture, options."""

import jax
import numpy as np
import pytest

from qllm_envs import Env, Step, View, check_env, make
from qllm_jax import config
from qllm_jax.program import experiment

KEY = jax.random.key(3)


def play(env: Env, actions: jax.Array) -> tuple[Step, View]:
    """Steps and views of an episode with actions (T, N), time first."""

    def turn(state, joint):
        step = env.step(KEY, state, joint)
        return step.state, (step, env.view(step.state))

    return jax.jit(lambda actions: jax.lax.scan(turn, env.reset(KEY), actions)[1])(actions)


@pytest.mark.parametrize("n_spectators", [0, 4])
def test_it_is_spread_for_the_movers_whatever_the_spectators_do(n_spectators: int):
    spread, env = make("mpe_spread", n_agents=3), make("spectators", movers=3, spectators=n_spectators)
    actions = jax.random.randint(KEY, (25, 3 + n_spectators), 0, 5)
    (wanted, seen), (got, view) = play(spread, actions[:, :3]), play(env, actions)
    jax.tree.map(np.testing.assert_array_equal, wanted, got)
    np.testing.assert_array_equal(view.obs[:, :3], seen.obs)
    np.testing.assert_array_equal(view.state, seen.state)
    assert view.obs.shape == (25, 3 + n_spectators, 18)
    for name, array in seen.fields.items():
        np.testing.assert_array_equal(view.fields[name.replace("agent", "mover")], array)


def test_a_spectator_sees_what_one_of_the_movers_sees_and_a_field_says_who_moves():
    env = make("spectators", movers=2, spectators=3)
    view = env.view(env.reset(KEY))
    assert view.fields["moves"].tolist() == [True, True, False, False, False]
    for spectator, mover in ((2, 0), (3, 1), (4, 0)):
        assert view.obs[spectator].tolist() == view.obs[mover].tolist()
    assert view.obs[0].tolist() != view.obs[1].tolist()
    assert view.avail.all()


def test_texts_speak_of_movers():
    spec = make("spectators").spec
    assert spec.reward.startswith("The sum over all 3 movers of 0.5 times the coverage")
    assert set(spec.fields) == {"moves", "mover_pos", "mover_vel", "landmark_pos"}
    assert (spec.n_agents, spec.task) == (12, "spectators_m3_s9")


def test_the_scene_has_the_spectators_in_rows_below():
    env = make("spectators", movers=2, spectators=14)
    shapes = {s.agent: s for s in env.scene(env.reset(KEY)).shapes if s.agent is not None}
    assert sorted(shapes) == list(range(16))
    heights = [shapes[i].center[1] for i in range(2, 16)]
    assert len(set(heights[:12])) == len(set(heights[12:])) == 1
    assert heights[12] < heights[0] < min(shapes[0].center[1], shapes[1].center[1])


@pytest.mark.thorough
@pytest.mark.parametrize("options", [{"movers": 1, "spectators": 0}, {"movers": 2, "spectators": 3}])
def test_the_contract_is_kept(options: dict):
    check_env(make("spectators", **options))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"movers": 0}, "movers must be an integer of at least 1, got 0"),
        ({"spectators": -1}, "spectators must be an integer of at least 0, got -1"),
        ({"horizon": 0}, "horizon must be an integer of at least 1, got 0"),
        ({"local_ratio": 2}, "local_ratio must be a number from 0 to 1, got 2"),
    ],
)
def test_a_bad_value_is_named(options: dict, sentence: str):
    with pytest.raises(ValueError, match=r"^spectators: ") as caught:
        make("spectators", **options)
    assert str(caught.value) == f"spectators: {sentence}"


def test_it_is_composed_by_hydra():
    settings = config.load(["env=spectators", "env.spectators=2"])
    assert experiment.make_env(settings.env, settings.n_agents).spec.n_agents == 5
