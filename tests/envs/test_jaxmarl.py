"""JaxMARL's environments equal the package's own, step by step; what cannot run says why; the page lists all."""

import functools
import re
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import qllm_envs
from qllm_envs import check
from qllm_envs._jaxmarl import arguments, package
from qllm_envs._jaxmarl.games import GAMES, REFUSED

SPEAKER = "MPE_simple_speaker_listener_v4"
STEPS = 30
PAGE = Path(__file__).resolve().parents[2] / "docs" / "jaxmarl.md"
SMALL: dict[str, dict[str, Any]] = {  # arguments of short episodes
    "HeuristicEnemySMAX": {"scenario": "3m", "max_steps": 20},
    "hanabi": {"num_colors": 2, "num_ranks": 2, "num_cards_of_rank": [3, 2], "hand_size": 2},
    "overcooked": {"layout": "coord_ring", "max_steps": 20},
    "overcooked_v2": {"layout": "cramped_room_v2", "max_steps": 20},
    "coin_game": {"num_inner_steps": 4, "num_outer_steps": 4},
    "jaxnav": {"num_agents": 3, "lidar_num_beams": 10, "max_steps": 20},
}
QUICK = (SPEAKER, "switch_riddle")  # to compile; the others are marked slow


@functools.cache
def ours(name: str) -> qllm_envs.Env:
    return qllm_envs.make("jaxmarl", id=name, kwargs=SMALL.get(name))


def peer(name: str) -> Any:
    """JaxMARL's environment, made by its own function."""
    tables = {key: table for (of, key), table in arguments._TABLES.items() if of == name}
    told = {key: tables[key][value] if key in tables else value for key, value in SMALL.get(name, {}).items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return package.jaxmarl.make(name, **told | dict(GAMES[name].fixed))


@functools.cache
def duel(name: str) -> SimpleNamespace:
    """Plays of one episode and what comes after, of both, from equal keys and actions; JaxMARL's by its public `step`.

    JaxMARL's `step` gives the first half of its key to the step, and the second to the reset that follows an end.
    """
    env, their, n = ours(name), peer(name), ours(name).spec.n_agents

    def turn(carry, key):
        state, inner, before = carry
        key_act, key_step = jax.random.split(key)
        avail = env.view(state).avail
        actions = jax.random.categorical(key_act, jnp.where(avail, 0.0, -jnp.inf)).astype(jnp.int32)
        step = env.step(jax.random.split(key_step)[0], state, actions)
        with jax.numpy_rank_promotion("allow"):
            obs, inner, rewards, dones, _ = their.step(
                key_step, inner, {a: actions[i] for i, a in enumerate(their.agents)}
            )
        inner = jax.tree.map(lambda x, like: x.astype(like.dtype), inner, start)
        each = jnp.stack([jnp.asarray(rewards[a], jnp.float32) for a in their.agents])
        theirs = SimpleNamespace(obs=[obs[a] for a in their.agents], rewards=each, done=dones["__all__"], inner=inner)
        view = env.view(step.state)
        return (step.state, inner, before | theirs.done), (step._asdict(), view._asdict(), vars(theirs), before)

    def play(key):
        with jax.numpy_rank_promotion("allow"):
            first = their.reset(key)[1]
        carry = (
            env.reset(key),
            jax.tree.map(lambda x, like: jnp.asarray(x, like.dtype), first, start),
            jnp.bool_(False),
        )
        return carry[:2], jax.lax.scan(turn, carry, jax.random.split(jax.random.key(1), STEPS))[1]

    with jax.numpy_rank_promotion("allow"):
        start = jax.eval_shape(their.reset, jax.random.key(0))[1]
    first, (step, view, theirs, before) = jax.device_get(jax.jit(play)(jax.random.key(0)))
    # Beyond the first end JaxMARL plays another episode.
    n_steps = int((~before).sum())
    cut = lambda tree, stop: jax.tree.map(lambda leaf: leaf[:stop], tree)
    assert n > 0
    return SimpleNamespace(
        first=first,
        n_steps=n_steps,
        step=cut(step, n_steps),
        view=cut(view, n_steps),
        theirs=cut(theirs, n_steps),
        ended=bool(theirs["done"][:n_steps].any()),
    )


NAMES = [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in GAMES]


@pytest.mark.parametrize("name", NAMES)
def test_states_and_rewards_are_jaxmarls_step_by_step(name: str):
    found, env = duel(name), ours(name)
    mine, theirs = found.first
    jax.tree.map(np.testing.assert_array_equal, mine.inner, theirs)
    going = found.n_steps - found.ended  # JaxMARL has reset the state of its last step
    assert going > 0
    same = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5)
    jax.tree.map(lambda x, y: same(x[:going], y[:going]), found.step["state"].inner, found.theirs["inner"])
    team = found.theirs["rewards"]
    shared = name in ("HeuristicEnemySMAX", "hanabi", "overcooked", "overcooked_v2")
    same(found.step["reward"], team[:, 0] if shared else team.sum(1))
    for i, obs in enumerate(found.theirs["obs"]):
        flat = obs[:going].reshape(going, -1)
        same(found.view["obs"][:going, i, : flat.shape[1]], flat)
        assert not found.view["obs"][:, i, flat.shape[1] :].any()
    assert found.view["state"].shape == (found.n_steps, env.spec.state_dim)


@pytest.mark.parametrize("name", NAMES)
def test_an_end_is_jaxmarls_and_is_no_reset(name: str):
    found, spec = duel(name), ours(name).spec
    ends = found.step["terminated"] | found.step["truncated"]
    np.testing.assert_array_equal(ends, found.theirs["done"])
    if found.ended:
        assert found.step["state"].t[-1] == found.n_steps
        assert bool(found.step["truncated"][-1]) == (found.n_steps == spec.horizon)


def test_a_battle_without_a_winner_ends_where_jaxmarls_does():
    name = "HeuristicEnemySMAX"
    their, horizon = peer(name)._env, ours(name).spec.horizon
    with jax.numpy_rank_promotion("allow"):
        start = their.reset(jax.random.key(0))[1]
    ends_in = lambda step: bool(their.is_terminal(start.replace(step=step - 1)))  # JaxMARL counts a step after it
    assert (ends_in(horizon - 1), ends_in(horizon)) == (False, True)


def test_the_limit_is_a_truncation_and_no_termination():
    env = ours("switch_riddle")

    def turn(state: Any, key: jax.Array) -> tuple[Any, tuple[jax.Array, jax.Array]]:
        step = env.step(key, state, jnp.zeros(env.spec.n_agents, jnp.int32))
        return step.state, (step.terminated, step.truncated)

    keys = jax.random.split(jax.random.key(1), env.spec.horizon)
    terminated, truncated = jax.jit(lambda: jax.lax.scan(turn, env.reset(jax.random.key(0)), keys)[1])()
    assert not terminated.any()
    assert truncated.tolist() == [False] * (env.spec.horizon - 1) + [True]


def test_a_battle_is_won_by_survivors():
    env = ours("HeuristicEnemySMAX")
    assert env.won is not None
    state: Any = jax.eval_shape(env.reset, jax.random.key(0))
    state = jax.tree.map(lambda leaf: np.zeros(leaf.shape), state)
    for alive, expected in (
        ([1, 1, 1, 1, 1, 1], False),
        ([0, 0, 1, 0, 0, 0], True),
        ([0, 0, 0, 0, 0, 0], False),
        ([0, 0, 0, 1, 1, 1], False),
    ):
        battle = state.inner.state.replace(unit_alive=np.array(alive, bool))
        assert bool(env.won(state._replace(inner=state.inner.replace(state=battle)))) == expected


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) for name in GAMES if name != SPEAKER])
def test_each_keeps_the_contract(name: str):
    qllm_envs.check_env(ours(name))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "key", "value"), [(*of, value) for of, table in arguments._TABLES.items() for value in table]
)
def test_each_layout_and_scenario_has_the_shapes_of_the_contract(name: str, key: str, value: str):
    env = qllm_envs.make("jaxmarl", id=name, kwargs={key: value})
    check.check_shapes(env)
    assert env.spec.task == f"jaxmarl_{name}_{value}"


# The manager does not find the spaces of the second Overcooked.
@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in GAMES if name != "overcooked_v2"])
def test_the_team_reward_and_the_state_are_those_of_jaxmarls_rollout_manager(name: str):
    from jaxmarl.wrappers.baselines import CTRolloutManager

    found, their = duel(name), peer(name)
    box = functools.partial(package.spaces.Box, 0.0, 1.0)  # JaxMARL's own of Hanabi has no shape that the manager reads
    their.observation_spaces = {a: box((size,)) for a, size in zip(their.agents, sizes(name), strict=True)}
    manager = CTRolloutManager(their, batch_size=1)
    rewards = dict(zip(their.agents, found.theirs["rewards"].T, strict=True))
    np.testing.assert_allclose(found.step["reward"], manager.global_reward(rewards), rtol=1e-5, atol=1e-5)
    if name != "HeuristicEnemySMAX":
        obs = {a: x.reshape(found.n_steps, -1) for a, x in zip(their.agents, found.theirs["obs"], strict=True)}
        going = found.n_steps - found.ended
        state = jax.vmap(lambda each: manager.global_state(each, None))(obs)[:going]
        np.testing.assert_allclose(found.view["state"][:going], state, rtol=1e-5, atol=1e-5)


def sizes(name: str) -> list[int]:
    return [int(np.prod(x.shape[1:])) for x in duel(name).theirs["obs"]]


def test_smaller_agents_are_padded():
    env = ours(SPEAKER)
    view = env.view(env.reset(jax.random.key(0)))
    assert view.obs.shape == (2, 11)
    assert not view.obs[0, 3:].any()
    np.testing.assert_array_equal(view.avail, [[True] * 3 + [False] * 2, [True] * 5])
    np.testing.assert_array_equal(view.state, jnp.concatenate([view.obs[0, :3], view.obs[1]]))
    assert env.spec.action_names[:2] == ("say 0 (speaker) or none (listener)", "say 1 (speaker) or left (listener)")
    assert "(3 of agent 0, 5 of agent 1)" in env.spec.text


@pytest.mark.slow
def test_shaped_rewards_are_added_by_their_weight():
    plain, shaped = (
        qllm_envs.make("jaxmarl", id="overcooked", shaped_reward=weight, kwargs={"max_steps": 20}) for weight in (0, 2)
    )
    state: Any = plain.reset(jax.random.key(0))
    # Agent 0 stands below the pot with an onion.
    inner = state.inner.replace(
        agent_pos=state.inner.agent_pos.at[0].set(jnp.array([2, 1], jnp.uint32)),
        agent_dir=state.inner.agent_dir.at[0].set(jnp.array([0, -1], jnp.int8)),
        agent_dir_idx=state.inner.agent_dir_idx.at[0].set(0),
        agent_inv=state.inner.agent_inv.at[0].set(3),
    )
    rewards = [
        env.step(jax.random.key(0), state._replace(inner=inner), jnp.array([5, 4])).reward for env in (plain, shaped)
    ]
    assert rewards == [0.0, 2 * 3.0]
    assert "plus 2 times JaxMARL's shaped rewards" in shaped.spec.reward


def test_the_table_and_the_page_have_all_names_of_jaxmarls_registry():
    registered = sorted(package.jaxmarl.registered_envs)
    assert sorted([*GAMES, *REFUSED]) == registered
    rows = re.findall(r"^\| (`.+`) \| (yes|no) \|", PAGE.read_text().replace("\\|", "|"), re.MULTILINE)
    named = {
        runs: [x for cell, of in rows if of == runs for x in re.findall(r"`([^`]+)`", cell)] for runs in ("yes", "no")
    }
    assert sorted([*named["yes"], *named["no"]]) == registered
    assert set(named["yes"]) == set(GAMES)


@pytest.mark.parametrize("name", REFUSED)
def test_one_that_cannot_run_says_why(name: str):
    with pytest.raises(ValueError, match=rf"^jaxmarl: {re.escape(name)} cannot run here, as .*: choose from .*hanabi"):
        qllm_envs.make("jaxmarl", id=name)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"id": "MPE_simple_sprad_v3"},
            "id 'MPE_simple_sprad_v3' does not exist: did you mean 'MPE_simple_spread_v3'?",
        ),
        ({"kwargs": 3}, "kwargs must be a mapping such as {max_steps: 50}, or null, got 3"),
        ({"kwargs": {"steps": 3}}, f"{SPEAKER} has no argument 'steps' in kwargs: did you mean 'max_steps'?"),
        ({"id": "overcooked", "kwargs": {"layout": "room"}}, "overcooked: layout 'room' does not exist: "),
        (
            {"id": "HeuristicEnemySMAX", "kwargs": {"scenario": "3n"}},
            "HeuristicEnemySMAX: scenario '3n' does not exist",
        ),
        (
            {"id": "switch_riddle", "n_agents": 2},
            "jaxmarl cannot make switch_riddle of num_agents=2: The minimum number",
        ),
        ({"id": "overcooked", "n_agents": 3}, "overcooked with these kwargs has 2 agents, got n_agents=3"),
        ({"kwargs": {"action_type": "Continuous"}}, f"{SPEAKER}: actions of speaker_0 must be Discrete, got Box"),
        ({"horizon": 27}, f"horizon must be at most 26, where JaxMARL's {SPEAKER} ends with these kwargs, got 27"),
        ({"kwargs": {"max_steps": "abc"}}, f"jaxmarl cannot make {SPEAKER} of these kwargs: can only concatenate str"),
        (
            {"kwargs": {"max_steps": -5}},
            f"{SPEAKER} with these kwargs ends an episode after -4 steps: it must be an integer of at least 1",
        ),
        (
            {"id": "hanabi", "kwargs": {"hand_size": 30}},
            "hanabi with these kwargs ends an episode after -3 steps: it must be an integer of at least 1",
        ),
        (
            {"id": "HeuristicEnemySMAX", "kwargs": {"scenario": "3m", "unit_type_health": "many"}},
            "jaxmarl cannot make HeuristicEnemySMAX of unit_type_health='many': ",
        ),
        (
            {"id": "overcooked_v2", "kwargs": {"layout": "cramped_room_v2", "agent_view_size": "two"}},
            "jaxmarl cannot make overcooked_v2 of ",
        ),
        ({"shaped_reward": 1.0}, f"shaped_reward must be 0 for {SPEAKER}: only overcooked and overcooked_v2 have one"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], sentence: str):
    with pytest.raises(ValueError, match=f"^jaxmarl: {re.escape(sentence)}"):
        qllm_envs.make("jaxmarl", **options)


def test_arguments_and_numbers_of_agents_reach_jaxmarl():
    spread = qllm_envs.make("jaxmarl", id="MPE_simple_spread_v3", n_agents=4, kwargs={"num_landmarks": 4}, horizon=9)
    assert (spread.spec.n_agents, spread.spec.obs_dim, spread.spec.horizon) == (4, 24, 9)
    for layout in package.overcooked_layouts:
        spec = qllm_envs.make("jaxmarl", id="overcooked", kwargs={"layout": layout, "max_steps": 50}).spec
        assert (spec.task, spec.horizon) == (f"jaxmarl_overcooked_{layout}", 50)


def test_a_list_takes_the_place_of_an_array_of_jaxmarls():
    health = [40.0, 125, 160, 150, 35, 80]
    env = qllm_envs.make("jaxmarl", id="HeuristicEnemySMAX", kwargs={"scenario": "3m", "unit_type_health": health})
    start: Any = jax.eval_shape(env.reset, jax.random.key(0))
    assert start.inner.state.unit_health.shape == (6,)
    assert env.step.args[0].env.unit_type_health.tolist() == health  # pyright: ignore


def test_the_sentence_of_the_reward_tells_arguments_that_may_change_it():
    reward = lambda **kwargs: qllm_envs.make("jaxmarl", id="switch_riddle", kwargs=kwargs).spec.reward
    assert "defaults" not in reward(num_agents=4)
    assert reward(reward_all_live=5).endswith("in place of which these arguments are given: reward_all_live=5.")


@pytest.mark.parametrize("name", NAMES)
def test_a_start_can_be_drawn(name: str):
    env = ours(name)
    shapes = env.scene(env.reset(jax.random.key(0))).shapes
    assert {shape.agent for shape in shapes} - {None} == set(range(env.spec.n_agents))
