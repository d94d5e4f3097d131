"""Battles: the contract, options, the colossus's beam, enemies, shields, walls, and a script of kiting that wins."""

import functools
import subprocess
import sys
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qllm_envs import check_env, make
from qllm_envs._jaxmarl import package as jaxmarl
from qllm_envs._smax import enemies, scenarios, units
from qllm_envs._smax import world as worlds
from qllm_envs._smax.game import smax_state
from qllm_envs._smax.scenarios import TWO_COLOSSI
from qllm_envs._smax.world import in_beam

KEY = jax.random.key(0)
NO_OP, STOP, NORTH, SOUTH, EAST, WEST, ATTACK = range(7)
GAMES = 16


class Played(NamedTuple):
    """Outcomes of games; leaves (GAMES, ...)."""

    returns: Any
    length: Any
    won: Any
    fields: Any  # of all T states that were acted in


@functools.cache
def task(scenario="3s_vs_5z", **options):
    """The environment with its functions compiled once for all tests."""
    env = make("smax", scenario=scenario, **options)
    return env._replace(reset=jax.jit(env.reset), step=jax.jit(env.step), view=jax.jit(env.view))


@functools.cache
def games():
    """GAMES episodes of kiting and of random play, in one program, stopped where they end."""
    env = make("smax")

    def turn(is_kiting, carry, key):
        state, goes_on = carry
        key_act, key_step = jax.random.split(key)
        view = env.view(state)
        actions = jnp.where(is_kiting, kiting_policy(view), random_policy(key_act, view))
        step = env.step(key_step, state, actions)
        after = jax.tree.map(lambda new, old: jnp.where(goes_on, new, old), step.state, state)
        reward = jnp.where(goes_on, step.reward, 0.0)
        return (after, goes_on & ~(step.terminated | step.truncated)), (reward, goes_on, view.fields)

    def game(is_kiting, key):
        key_reset, key_turns = jax.random.split(key)
        start, keys = (env.reset(key_reset), jnp.bool_(True)), jax.random.split(key_turns, env.spec.horizon)
        (last, _), (rewards, happened, fields) = jax.lax.scan(functools.partial(turn, is_kiting), start, keys)
        return Played(rewards.sum(), happened.sum(), won(env, last), fields)

    both = jax.vmap(jax.vmap(game, (None, 0)), (0, None))
    played = jax.device_get(jax.jit(both)(jnp.array([True, False]), jax.random.split(KEY, GAMES)))
    return [jax.tree.map(lambda leaf, i=i: leaf[i], played) for i in range(2)]


def won(env, state):
    assert env.won is not None
    return env.won(state)


def random_policy(key, view):
    return jax.random.categorical(key, jnp.where(view.avail, 0.0, -jnp.inf)).astype(jnp.int32)


def kiting_policy(view):
    """Shoot at the weakest in reach when the weapon is ready and nobody is near; walk away while it is not."""
    fields, heading = view.fields, jnp.array([[0.0, 1], [0, -1], [1, 0], [-1, 0]])
    alive, ready = fields["enemy_alive"], fields["agent_cooldown"] <= 0
    way = fields["enemy_pos"][None] - fields["agent_pos"][:, None]  # (N, E, 2)
    dist = jnp.where(alive[None], jnp.linalg.norm(way, axis=-1), jnp.inf)
    gap = dist.min(1)
    life = fields["enemy_health"] + fields["enemy_shield"]
    shot = ATTACK + jnp.where(view.avail[:, ATTACK:], -life[None], -jnp.inf).argmax(1)
    ahead = fields["agent_pos"][:, None] + 1.475 * heading[None]  # (N, 4, 2)
    gaps = jnp.linalg.norm(ahead[:, :, None] - fields["enemy_pos"][None, None], axis=-1)
    danger = jnp.where(alive[None, None], jnp.maximum(gaps, 0.3) ** -2, 0.0).sum(-1)
    danger += 0.3 * (jnp.maximum(jnp.minimum(ahead, 32 - ahead), 0.2) ** -2).sum(-1)
    flight = NORTH + jnp.where(view.avail[:, NORTH:ATTACK], danger, jnp.inf).argmin(1)
    goal = jnp.take_along_axis(way, dist.argmin(1)[:, None, None], 1)[:, 0]
    advance = NORTH + (goal @ heading.T).argmax(1)
    action = jnp.where(gap > 7.5, jnp.where(ready, advance, STOP), jnp.where((gap > 4.5) & ~ready, STOP, flight))
    action = jnp.where(ready & (gap > 2.4) & view.avail[:, ATTACK:].any(1), shot, action)
    can = jnp.take_along_axis(view.avail, action[:, None], 1)[:, 0]
    return jnp.where(can, action, jnp.where(fields["agent_alive"], STOP, NO_OP)).astype(jnp.int32)


@pytest.mark.slow  # tests/envs/test_check_env.py has 3s_vs_5z
def test_many_units_keep_the_contract():
    check_env(make("smax", scenario="2c_vs_64zg"), n_steps=3)


@pytest.mark.thorough
def test_units_drawn_anew_and_smaxs_own_enemies_keep_the_contract():
    check_env(make("smax", scenario="smacv2_5_units", opponent="heuristic", horizon=60))


def test_scripted_kiting_wins_where_random_actions_never_do():
    kiting, random = games()
    assert kiting.won.mean() >= 0.75
    assert not random.won.any()
    # SMAC's scale: a victory is worth 20, and more if shields of enemies recharged on the way.
    assert (kiting.returns[kiting.won] > 19.99).all()
    assert (random.returns < 10).all()
    assert (kiting.length < 250).any()


def test_ranges_of_fields_hold_in_games_and_all_of_them_are_reached():
    env = task()
    for played in games():
        for name, field in env.spec.fields.items():
            assert field.low <= played.fields[name].min(), name
            assert played.fields[name].max() <= field.high, name
    fields = games()[1].fields
    assert fields["agent_cooldown"].max() > 0.8 * env.spec.fields["agent_cooldown"].high
    assert fields["enemy_shield"].min() == 0
    assert fields["enemy_shield"].max() == 1


def test_shares_of_health_and_shield_are_at_most_1_whatever_they_round_to():
    stalkers = make("smax", scenario="2s3z")  # whose health at the start rounds to more than its most
    assert stalkers.view(stalkers.reset(KEY)).fields["agent_health"].max() == 1
    env = task()
    start: Any = env.reset(KEY)
    shield = start.pool - start.recharge.health

    def recharged(share):
        health = start.recharge.health * share
        state = start._replace(pool=health + shield, recharge=start.recharge._replace(health=health))
        return env.view(state).fields["agent_shield"]

    assert jax.vmap(recharged)(jnp.linspace(0.1, 1.0, 50)).max() == 1


def test_a_win_needs_a_survivor():
    env = task()
    state = env.reset(KEY)
    for alive, expected in (
        ([1] * 8, False),
        ([0] * 3 + [1] * 5, False),
        ([0] * 8, False),
        ([0, 0, 1] + [0] * 5, True),
    ):
        assert bool(won(env, state._replace(pool=jnp.array(alive, jnp.float32)))) == expected


def test_a_dead_team_ends_the_game_and_the_limit_cuts_it():
    env = task(horizon=2)
    first = env.step(KEY, env.reset(KEY), jnp.ones(3, jnp.int32))
    assert (bool(first.terminated), bool(first.truncated)) == (False, False)
    second = env.step(KEY, first.state, jnp.ones(3, jnp.int32))
    assert (bool(second.terminated), bool(second.truncated)) == (False, True)
    lost = first.state._replace(pool=first.state.pool.at[:3].set(0.0))
    assert env.step(KEY, lost, jnp.zeros(3, jnp.int32)).terminated


def test_a_battle_that_is_over_stands_still_and_pays_nothing():
    env = task()
    for dead in (slice(0, 3), slice(3, 8)):
        state: Any = env.reset(KEY)
        state = state._replace(
            pool=state.pool.at[dead].set(0.0), recharge=state.recharge._replace(calm=jnp.full(8, 20, jnp.uint8))
        )
        health = state.recharge.health.at[dead].set(0.0)
        state = state._replace(recharge=state.recharge._replace(health=health))
        step = env.step(KEY, state, jnp.full(3, EAST))
        assert float(step.reward) == 0
        for name in ("pos", "pool", "cooldown"):
            np.testing.assert_array_equal(getattr(step.state, name), getattr(state, name))


@pytest.mark.parametrize(("action", "way"), [(NORTH, [0, 1]), (SOUTH, [0, -1]), (EAST, [1, 0]), (WEST, [-1, 0])])
def test_a_move_goes_where_it_says_and_the_wall_holds_without_harm(action, way):
    env = task()
    state: Any = env.reset(KEY)
    state = state._replace(pos=state.pos.at[0].set(jnp.array([9.0, 9.0])))  # where nobody is in the way
    moved = env.step(KEY, state, jnp.array([action, STOP, STOP])).state
    # 8 game loops of 22.4 a second at 4.13 a second.
    np.testing.assert_allclose(moved.pos[0] - state.pos[0], 8 / 22.4 * 4.13 * np.array(way), atol=1e-4)
    corner = jnp.array([16 + 15.9 * way[0], 16 + 15.9 * way[1]])
    at_wall = env.step(KEY, state._replace(pos=state.pos.at[0].set(corner)), jnp.array([action, STOP, STOP])).state
    np.testing.assert_allclose(at_wall.pos[0], 16 + 16 * np.array(way), atol=1e-5)
    assert at_wall.pool[0] == state.pool[0]


def sampled_beam(offset, direction, radius):
    """Distance from a disc's center to sampled points of the rectangle, 2.8 across the shot, 0.3 along it; radius."""
    along, across = np.meshgrid(np.linspace(-0.15, 0.15, 31), np.linspace(-1.4, 1.4, 281))
    normal = np.array([-direction[1], direction[0]])
    points = along.reshape(-1, 1) * direction + across.reshape(-1, 1) * normal
    return np.linalg.norm(points - offset, axis=1).min(), radius


def test_a_beam_hits_what_a_rectangle_across_the_shot_touches():
    rng, hits = np.random.default_rng(0), 0
    beam = jax.jit(in_beam)
    for _ in range(40):
        angle = rng.uniform(0, 2 * np.pi)
        direction, offset = np.array([np.cos(angle), np.sin(angle)]), rng.uniform(-2.5, 2.5, (20, 2))
        radius = rng.choice([0.375, 0.5, 1.0], 20)
        found = np.asarray(beam(jnp.asarray(offset), jnp.asarray(direction), jnp.asarray(radius)))
        for disc, size, hit in zip(offset, radius, found, strict=True):
            gap, _ = sampled_beam(disc, direction, size)
            assert hit == (gap <= size) or abs(gap - size) < 0.01
        hits += found.sum()
    assert 100 < hits < 400


@functools.cache
def one_tick(splash):
    """A world tick of 2c_vs_64zg: (state, actions of all units by SMAX's numbers) -> pools."""
    table = units.table(TWO_COLOSSI, "smac")
    world = worlds.make(TWO_COLOSSI, table, "smac", "heuristic", splash)
    start: Any = world.reset(KEY)[1]

    def tick(pos, pool, cooldown, attacks):
        state = start.replace(unit_positions=pos, unit_health=pool, unit_alive=pool > 0, unit_weapon_cooldowns=cooldown)
        with jax.numpy_rank_promotion("allow"):  # SMAX's own
            return world._world_step(KEY, state, (jnp.zeros((66, 2)), attacks)).unit_health

    return jax.jit(tick), start.unit_health


def test_beams_hurt_living_enemies_beside_the_target_and_nobody_else():
    """Each shot, alone: who loses 30 points, by brute force over units."""
    (with_splash, pools), (without, _) = one_tick(True), one_tick(False)
    rng, n_shots = np.random.default_rng(1), 0
    for seed in range(30):
        pos = np.concatenate([rng.uniform(12, 20, (2, 2)), rng.normal(16, 2, (64, 2))])
        pool = np.where(rng.random(66) < 0.3, 0, np.asarray(pools))
        pool[:2] = [400, 400 * (seed % 5 > 0)]
        cooldown = np.where(rng.random(66) < 0.2, 1.0, 0.0)
        attacks = np.zeros(66, int)
        attacks[:2] = rng.integers(5, 69, 2)
        got = [np.asarray(f(f32(pos), f32(pool), f32(cooldown), jnp.asarray(attacks))) for f in (with_splash, without)]
        wanted, doubtful = pool.astype(float), np.zeros(66, bool)
        for shooter in range(2):
            target = attacks[shooter] - 5 + 2
            shot = pos[target] - pos[shooter]
            reach = np.linalg.norm(shot)
            if pool[shooter] == 0 or pool[target] == 0 or cooldown[shooter] > 0 or reach >= 7 + 1 + 0.375:
                continue
            n_shots += 1
            for unit in range(2, 66):
                gap, radius = sampled_beam(pos[unit] - pos[target], shot / reach, 0.375)
                wanted[unit] -= 30 * (unit == target or (pool[unit] > 0 and gap <= radius))
                doubtful[unit] |= abs(gap - radius) < 0.01
        np.testing.assert_allclose(got[0][~doubtful], np.maximum(wanted, 0)[~doubtful], atol=1e-4)
        assert (got[1] >= got[0]).all()
        assert (got[1] != pool).sum() <= 2
    assert n_shots > 20


def test_shields_grow_by_a_point_a_step_after_20_steps_without_damage():
    env = task()
    state: Any = env.reset(KEY)
    far = jnp.array([[1.0, 1], [1, 5], [1, 9], [31, 31], [31, 29], [31, 27], [31, 25], [31, 23]])
    hurt = state._replace(pos=far, pool=state.pool.at[0].add(-3.5).at[1].add(-85.0))
    stop, stay = jnp.ones(3, jnp.int32), []
    hurt = hurt._replace(recharge=hurt.recharge._replace(health=jnp.minimum(hurt.recharge.health, hurt.pool[:8])))
    for _ in range(25):
        hurt = env.step(KEY, hurt._replace(pos=far), stop).state  # enemies are put back to where they cannot come near
        stay.append(np.asarray(hurt.pool[:2] - state.pool[:2]))
    stay = np.array(stay)
    np.testing.assert_allclose(stay[:19], np.tile([-3.5, -85], (19, 1)), atol=1e-4)
    np.testing.assert_allclose(stay[19:, 0], [-2.5, -1.5, -0.5, 0, 0, 0], atol=1e-4)  # and no further than full
    np.testing.assert_allclose(stay[19:, 1], [-84, -83, -82, -81, -80, -79], atol=1e-4)
    # What was taken from health stays away: only shields grow.
    np.testing.assert_allclose(hurt.recharge.health[1], 80 * 8 / 7 - 5, atol=1e-4)


def test_attack_move_hits_the_nearest_in_reach_and_else_walks_straight_towards_it():
    env = task()
    state: Any = env.reset(KEY)
    # Zealot 3 touches agent 1; zealot 4 sees agent 2 diagonally, 5 sees nobody, 6 and 7 are dead.
    pos = f32([[9, 16], [20, 20], [26, 26], [20, 21.2], [24, 24], [16, 4], [0, 0], [1, 1]])
    pool = state.pool.at[6:].set(0.0)
    battle = state._replace(
        pos=pos, pool=pool, recharge=state.recharge._replace(health=state.recharge.health.at[6:].set(0))
    )
    after = env.step(KEY, battle, jnp.ones(3, jnp.int32)).state
    np.testing.assert_allclose(after.pool[:3] - battle.pool[:3], [0, -16, 0], atol=1e-4)  # one hit of 2 x 8
    stride = 3.15 * 8 / 22.4
    np.testing.assert_allclose(after.pos[4] - pos[4], np.array([1, 1]) * stride / np.sqrt(2), atol=1e-3)
    way = np.array([9, 16]) - np.array([16, 4])
    np.testing.assert_allclose(after.pos[5] - pos[5], way * stride / np.linalg.norm(way), atol=1e-3)
    np.testing.assert_allclose(after.pos[6:], pos[6:])


def f32(array):
    return jnp.asarray(array, jnp.float32)


def test_nobody_walks_beyond_where_he_is_going():
    """A zealot that sees nobody and is nearly, or exactly, where the agents started stops there."""
    state: Any = task().reset(KEY)
    step: Any = make("smax").step
    rules = step.args[0]
    world = rules.world
    pool, health = np.array(state.pool), np.array(state.recharge.health)
    pool[5:] = health[5:] = 0.0
    state = state._replace(pool=pool, recharge=state.recharge._replace(health=health))
    idle = jnp.zeros((8, 2)), jnp.zeros(8, jnp.int32)

    @jax.jit
    def move(first):
        pos = jnp.array([[31.0, 1], [31, 5], [31, 9], [0, 0], [9, 19], [1, 1], [2, 1], [3, 1]])
        return enemies.attack_move(world, smax_state(rules, state._replace(pos=pos.at[3].set(first))), idle)

    ways, attacks = move(jnp.array([9.01, 16.02]))
    stride = float(world.unit_type_velocities[3]) * world.time_per_step
    np.testing.assert_allclose(ways[3] * stride, [-0.01, -0.02], atol=1e-5)  # and not a whole stride
    np.testing.assert_allclose(ways[4], [0, -1], atol=1e-5)
    assert not attacks.any()
    assert not move(jnp.array([9.0, 16.0]))[0][3].any()


def test_where_starts_are_random_enemies_that_see_nobody_walk_to_the_middle():
    for name, point in (("smacv2_5_units", [16, 16]), ("3s_vs_5z", [9, 16]), ("2c_vs_64zg", [16, 16])):
        found = scenarios.find(name, "smac")
        world = worlds.make(found, units.table(found, "smac"), "smac", "attack_move", splash=True)
        assert world.attack_point.tolist() == point


def test_notable_states_are_what_they_say():
    env = make("smax")
    assert env.notable is not None
    found = jax.jit(env.notable)(KEY)
    left = {
        phrase: (int((state.pool[:3] > 0).sum()), int((state.pool[3:] > 0).sum()), bool(won(env, state)))
        for phrase, state in found.items()
    }
    assert left == {
        "in which every enemy is dead": (3, 0, True),
        "in which every enemy is dead and one agent is left": (1, 0, True),
        "in which one enemy is left, nearly dead": (3, 1, False),
        "in which one agent is left": (1, 5, False),
        "in which every agent is dead": (0, 5, False),
        "in which all units crowd in one place": (3, 5, False),
    }


def test_teams_start_in_formation_by_starcrafts_rules_and_in_boxes_by_smaxs():
    for scenario, n, centers in (
        ("3s_vs_5z", 3, ([9, 16], [23, 16])),
        ("2c_vs_64zg", 2, ([16, 16], [16, 9])),
        ("27m_vs_30m", 27, ([9, 16], [23, 16])),
    ):
        env = make("smax", scenario=scenario)
        first, second = env.reset(KEY), env.reset(jax.random.key(1))
        np.testing.assert_array_equal(first.pos, second.pos)
        gaps = np.linalg.norm(first.pos[:, None] - first.pos[None], axis=-1)
        assert (gaps + 9 * np.eye(len(gaps)) > 0.75).all(), "nobody starts on top of another"
        middle = [(part.min(0) + part.max(0)) / 2 for part in (first.pos[:n], first.pos[n:])]
        np.testing.assert_allclose(middle, centers, atol=1e-4)
    box = make("smax", fidelity="smax")
    assert not np.allclose(box.reset(KEY).pos, box.reset(jax.random.key(1)).pos)


@pytest.mark.parametrize(
    ("fidelity", "stalker", "zealot"),
    [("smac", (13, 1.34, 7.125), (16, 0.86, 1.225 + 3.15 / 22.4)), ("smax", (13, 1.87, 6), (8, 0.86, 2))],
)
def test_what_each_fidelity_says_of_attack_cooldown_and_reach(fidelity, stalker, zealot):
    table = units.table(scenarios.find("3s_vs_5z", fidelity), fidelity)
    for kind, wanted in ((2, stalker), (3, zealot)):
        row = table.attacks[kind], table.weapon_cooldowns[kind], table.attack_ranges[kind]
        np.testing.assert_allclose(row, wanted, rtol=1e-6)


def test_a_unit_that_meets_several_types_reaches_the_smallest_and_hits_as_much_as_on_average():
    table = units.table(scenarios.find("3s5z", "smac"), "smac")
    assert table.attack_ranges[2] == pytest.approx(6 + 0.625 + 0.5)  # a stalker, to the edge of a zealot
    assert table.attacks[2] == pytest.approx((3 * 18 + 5 * 13) / 8)


def test_battles_have_smacs_limits():
    for scenario, limit in (("2c_vs_64zg", 400), ("3s_vs_5z", 250), ("8m", 120)):
        assert make("smax", scenario=scenario).spec.horizon == limit


def test_no_result_can_be_taken_for_one_of_smac():
    assert make("smax").spec.task == "smac-on-smax_3s_vs_5z"
    assert make("smax", fidelity="smax").spec.task == "smac-on-smax-uncorrected_3s_vs_5z"


@pytest.mark.thorough
def test_a_battle_is_built_in_silence_and_leaves_redirected_streams():
    build = (
        "import contextlib, io, qllm_envs\n"
        "with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:\n"
        "    qllm_envs.make('smax')\n"
        "    print('something else')\n"
        "print([out.getvalue(), err.getvalue()])\n"
    )
    done = subprocess.run([sys.executable, "-c", build], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("['something else\\n', '']\n", "")


def test_only_the_known_lines_of_an_import_are_left_out(capsys):
    with jaxmarl.without_its_lines():
        print(jaxmarl.SAID[0])
        print(jaxmarl.SAID[0], "and more")
    print(jaxmarl.SAID[1])
    assert capsys.readouterr().out == f"{jaxmarl.SAID[0]} and more\n{jaxmarl.SAID[1]}\n"


def test_a_state_in_a_buffer_is_small():
    for scenario, most in (("3s_vs_5z", 200), ("2c_vs_64zg", 1100)):
        leaves = jax.tree.leaves(jax.eval_shape(make("smax", scenario=scenario).reset, KEY))
        assert sum(leaf.size * leaf.dtype.itemsize for leaf in leaves) <= most


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"scenario": "3s_vs_6z"}, r"scenario '3s_vs_6z' does not exist: did you mean '3s_vs_5z'\? choose from .*3m"),
        ({"fidelity": "sc2"}, "fidelity 'sc2' does not exist: .*choose from smac, smax$"),
        ({"opponent": "random"}, "opponent 'random' does not exist: .*choose from attack_move, heuristic$"),
        ({"opponent": ["x"]}, r"opponent \['x'\] does not exist: choose from attack_move, heuristic$"),
        ({"splash": 1}, "splash must be True or False, got 1$"),
        ({"horizon": 0}, "horizon must be an integer of at least 1, got 0$"),
    ],
)
def test_bad_options_get_one_sentence(options, sentence):
    with pytest.raises(ValueError, match=rf"^smax: {sentence}"):
        make("smax", **options)
