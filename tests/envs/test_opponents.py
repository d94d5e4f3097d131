"""Opponents: what the rules do, what the frame leaves out, the files that ship, and a training in small."""

import functools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from qllm_envs import opponents
from qllm_envs.opponents import network, scripts
from qllm_envs.opponents.frame import frame, layout
from qllm_envs.selfplay import evaluate, game, generations, measure, ppo, train
from qllm_envs.selfplay.plan import VERSION, Plan, meta_of
from qllm_envs.selfplay.ppo import Sample

pytestmark = pytest.mark.thorough

KEY = jax.random.key(0)
NONE, LEFT, RIGHT, DOWN, UP = range(5)
SHIPPED = [("prey", 3), ("adversary", 2)]
close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("predator", "way"), [((0.3, 0), LEFT), ((-0.3, 0), RIGHT), ((0, 0.3), DOWN), ((0, -0.3), UP)])
def test_the_heuristic_prey_runs_from_a_single_predator(predator, way):
    obs = jnp.array([0, 0, 0, 0, 3, 3, 3, 3, *predator], jnp.float32)
    assert scripts.flee(KEY, obs) == way


def test_the_heuristic_prey_does_not_run_out_of_the_arena():
    obs = jnp.array([0, 0, 0.9, 0, 3, 3, 3, 3, -0.5, 0], jnp.float32)
    assert scripts.flee(KEY, obs) in (UP, DOWN)


def test_the_heuristic_adversary_goes_to_the_landmark_that_an_agent_is_nearest_to():
    landmarks, agents = [[0, 1], [-1, 0.2]], [[1, 1], [-0.9, 0.1]]
    obs = jnp.array([*landmarks, *agents], jnp.float32).reshape(-1)
    assert scripts.follow(KEY, obs) == LEFT
    assert scripts.follow(KEY, obs.at[2:4].set(0.05)) == NONE  # it is there


def test_teams_do_what_their_names_say():
    # Tag: velocity 2, position 2, obstacles 4, the other predator 2, the prey 2, its velocity 2.
    chasing = jnp.array([[0] * 10 + [-1, 0.5, 9, 9], [0] * 10 + [0.2, 0.5, -9, 9]], jnp.float32)
    assert scripts.chase(KEY, chasing).tolist() == [LEFT, UP]
    # Adversary: goal 2, landmarks 4, adversary 2, the other agent 2.
    good = jnp.array([[1, 0, 0, 1, 1, 0, 5, 5, 5, 5], [0, -1, -1, 0, 0, -1, 5, 5, 5, 5]], jnp.float32)
    assert scripts.rush(KEY, good).tolist() == [RIGHT, DOWN]
    assert scripts.split(KEY, good).tolist() == [UP, DOWN]


PLAYERS = [("prey", 3), ("predator", 3), ("adversary", 2), ("good agent", 2), ("prey", 1), ("predator", 1)]


@functools.cache
def sample_net(n_features):
    net = network.init(KEY, (n_features, 8, 5))
    return (*net[:-1], (100 * net[-1][0], net[-1][1]))  # the small last layer of a new network leaves all alike


@functools.cache
def preferences(player, n):
    shape = layout(player, n)
    net = sample_net(4 * shape.size)
    return jax.jit(lambda obs: network.logits(net, frame(shape, obs)))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data(), st.sampled_from(PLAYERS), st.booleans(), st.booleans(), st.booleans())
def test_a_policy_does_the_same_in_all_eight_positions_and_in_any_order(data, who, mirror_x, mirror_y, swap):
    shape, prefer = layout(*who), preferences(*who)
    size = st.floats(-2, 2, width=32).filter(lambda x: abs(x) > 1e-3)
    vectors = data.draw(hnp.arrays(np.float32, (shape.size, 2), elements=size, unique=True))
    # Which of two is nearer, and on which axis the anchor is farther, must not hang on rounding.
    lengths = [np.sort(np.linalg.norm(vectors[first:end], axis=-1)) for first, end in shape.alike]
    assume(all((np.diff(found) > 1e-3).all() for found in lengths))
    assume((np.abs(np.abs(vectors[:, 0]) - np.abs(vectors[:, 1])) > 1e-3).all())
    turned = vectors * np.array([-1 if mirror_x else 1, -1 if mirror_y else 1], np.float32)
    turned = turned[:, ::-1].copy() if swap else turned
    for first, end in shape.alike:
        if end > first:
            turned[first:end] = turned[first + np.array(data.draw(st.permutations(range(end - first))))]
    actions = np.array([NONE, LEFT, RIGHT, DOWN, UP])
    actions = actions[[0, 2, 1, 3, 4]] if mirror_x else actions
    actions = actions[[0, 1, 2, 4, 3]] if mirror_y else actions
    actions = actions[[0, 3, 4, 1, 2]] if swap else actions
    close(prefer(turned.reshape(-1)), prefer(vectors.reshape(-1))[actions], rtol=1e-4, atol=1e-3)


def test_layouts_are_as_long_as_what_the_players_see():
    for role, n in (("prey", 3), ("prey", 5), ("adversary", 2), ("adversary", 4)):
        the_game = game.make(role, n)
        observed = jax.eval_shape(lambda key, the_game=the_game: the_game.observe(the_game.reset(key)), KEY)
        for seen, shape in zip(observed, the_game.layouts, strict=True):
            assert seen.shape[1] == 2 * shape.size


@pytest.mark.parametrize(("role", "n_agents"), SHIPPED)
def test_a_shipped_file_says_how_it_came_about(role, n_agents):
    path = opponents.path_of(role, n_agents)
    meta = network.load_meta(path)
    plan, out = train.parse(meta["command"].split()[3:])
    assert (plan.role, plan.n_agents, out) == (role, n_agents, path)
    assert plan == Plan(role, n_agents)  # the defaults gave it
    # Files of version 1 have the command by the module's first name.
    command = meta["command"].replace("qllm_envs.opponents.train", "qllm_envs.selfplay.train")
    kept = {"versions": meta["versions"]}
    assert json.loads(json.dumps(meta_of(plan))) | kept == meta | {"command": command}
    assert (meta["name"], meta["version"]) == (role, VERSION)
    assert set(meta["versions"]) == {"jax", "jaxlib", "numpy", "optax"}
    for name, shape in zip(("team", "opponent"), game.make(role, n_agents).layouts, strict=True):
        net = network.load(path, name)
        assert [weight.shape for weight, _ in net] == [(4 * shape.size, 64), (64, 64), (64, 5)]
        assert all(np.isfinite(array).all() and array.dtype == np.float32 for layer in net for array in layer)
    assert path.stat().st_size < 100_000


@pytest.mark.parametrize(("role", "n_agents", "n_obs"), [("prey", 3, 14), ("adversary", 2, 8)])
def test_the_paper_order_swaps_left_and_right_down_and_up(role, n_agents, n_obs):
    play = lambda order: jax.jit(jax.vmap(opponents.make("env", role, n_agents, "trained", order)))
    corrected, paper = map(play, opponents.ORDERS)
    keys, obs = jax.random.split(KEY, 200), jax.random.uniform(KEY, (200, n_obs), minval=-1, maxval=1)
    actions = np.asarray(corrected(keys, obs))
    assert set(actions.tolist()) >= {LEFT, RIGHT, DOWN, UP}
    np.testing.assert_array_equal(paper(keys, obs), np.array([NONE, RIGHT, LEFT, UP, DOWN])[actions])


def test_each_key_gives_the_random_opponent_another_action():
    actions = jax.vmap(lambda key: scripts.random(key, jnp.zeros(14)))(jax.random.split(KEY, 5000))
    np.testing.assert_allclose(np.bincount(actions, minlength=5) / 5000, 0.2, atol=0.02)


@functools.cache
def outcomes(role, n_agents, team):
    """Of 512 episodes of a team against each kind of opponent, in one program."""
    the_game, the_team = game.make(role, n_agents), measure.teams_of(role, n_agents)[team]
    opponents_of = [measure.opponent_of(role, n_agents, kind) for kind in measure.KINDS]

    def play(kind):
        any_of = lambda key, obs: jax.lax.switch(kind, opponents_of, key, obs)
        return measure.play_many(the_game, the_team, any_of, episodes=512)

    found = jax.device_get(jax.jit(jax.vmap(play))(jnp.arange(len(measure.KINDS))))
    return {kind: jax.tree.map(lambda leaf, i=i: leaf[i], found) for i, kind in enumerate(measure.KINDS)}


def outcome(role, n_agents, team, kind):
    return outcomes(role, n_agents, team)[kind]


@pytest.mark.parametrize("team", ["chase", "trained"])
def test_the_trained_prey_is_caught_less_than_any_other_and_stays_in_the_arena(team):
    trained = outcome("prey", 3, team, "trained")
    for kind in ("heuristic", "random", "still", "paper"):
        assert trained.team_return.mean() < 0.5 * outcome("prey", 3, team, kind).team_return.mean()
    assert trained.last.mean() < 1.0  # of the arena's edge; it starts up to there
    assert outcome("prey", 3, team, "paper").largest.mean() > 1.5  # it runs away, but not from the predators


@pytest.mark.parametrize("team", ["rush", "split", "trained"])
def test_the_trained_adversary_is_nearer_to_the_goal_than_any_other(team):
    trained = outcome("adversary", 2, team, "trained")
    for kind in ("random", "still", "paper"):
        assert trained.mean.mean() < 0.8 * outcome("adversary", 2, team, kind).mean.mean()
    assert trained.mean.mean() < 1.02 * outcome("adversary", 2, team, "heuristic").mean.mean()


def test_outside_costs_what_mpe2_says():
    state = game.make("prey", 1).reset(KEY)._replace(agent_pos=jnp.full((1, 2), 9.0))
    cost = lambda x, y: game.outside(state._replace(prey_pos=jnp.array([x, y], jnp.float32)))
    close([cost(0.9, -0.9), cost(0.95, 0), cost(-1.0, 0), cost(1.5, -0.95), cost(0, -9)], [0, 0.5, 1, np.e + 0.5, 10])


def test_advantages_by_hand():
    # Two steps, rewards 1 and 2, values 3 and 4, and 5 after the end: deltas 1 + 0.9 * 4 - 3 and 2 + 0.9 * 5 - 4.
    steps = jnp.zeros(2)
    value, reward = jnp.array([3.0, 4.0]), jnp.array([1.0, 2.0])
    samples = Sample(seen=steps, action=steps, log_prob=steps, value=value, reward=reward)  # pyright: ignore[reportArgumentType]
    lesson = ppo.assess(samples, jnp.array(5.0))
    close(lesson.advantage, [1.6 + 0.72 * 2.5, 2.5])
    close(lesson.target, [4.6 + 0.72 * 2.5, 6.5])


TINY = ["--generations", "2", "--updates", "1", "--games", "2", "--snapshots", "1", "--hidden", "4", "--horizon", "3"]


def test_a_tiny_training_gives_the_same_file_twice_and_another_for_another_seed(tmp_path: Path, capsys, monkeypatch):
    # The programs of the three trainings are the same, and are compiled once.
    compiled, programs = generations.compiled, {}

    def once(the_game, side, *rest):
        if side not in programs:
            programs[side] = compiled(the_game, side, *rest)
        return programs[side]

    monkeypatch.setattr(generations, "compiled", once)
    paths = [tmp_path / name for name in ("a.npz", "b.npz", "c.npz")]
    for path, seed in zip(paths, "001", strict=True):
        assert train.main(["adversary", *TINY, "--seed", seed, "--out", str(path)]) == 0
    first, again, other = (path.read_bytes() for path in paths)
    assert first == again != other
    assert capsys.readouterr().out.count("generation 2 of 2") == 6
    start = network.init(jax.random.key(0), (16, 4, 5))
    assert [w.shape for w, _ in network.load(paths[0], "opponent")] == [w.shape for w, _ in start]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["fox"], "argument role: invalid choice: 'fox'"),
        (["prey", "--games", "0"], "argument --games: must be an integer of at least 1, got '0'"),
        (["prey", "--seed", "-1"], "argument --seed"),
        (["prey", "--lr", "nan"], "argument --lr: must be a number above 0, got 'nan'"),
        (["prey", "--out", "/no/such/file.npz"], "argument --out: there is no folder /no/such"),
        (["prey", "--out", "/"], "argument --out: / cannot be written"),
    ],
)
def test_a_bad_argument_is_told_before_anything_is_trained(arguments, sentence, capsys):
    with pytest.raises(SystemExit):
        train.main(arguments)
    assert sentence in capsys.readouterr().err


def test_a_network_that_a_file_lacks_is_named():
    with pytest.raises(KeyError, match="has no network 'prey'"):
        network.load(opponents.path_of("prey", 3), "prey")


def test_the_table_has_a_row_for_each_team_and_opponent(capsys, monkeypatch):
    asked = []

    def play_many(the_game, team, opponent, episodes, seed):
        del team, opponent
        asked.append((the_game.n_agents, episodes, seed))
        return measure.Outcome(*(jnp.array([x, x + 2.0]) for x in (len(asked), 100, 200, 300)))

    monkeypatch.setattr(measure, "play_many", play_many)
    assert evaluate.main(["adversary", "--episodes", "2", "--seed", "7"]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert asked == [(2, 2, 7)] * 20
    assert len(rows) == 2 + 4 * 5
    # Return, mean, largest and last, each with 1.96 standard errors of two episodes.
    assert rows[2] == "| random | trained | 2.00 ± 1.96 | 201.00 ± 1.96 | 101.00 ± 1.96 | 301.00 ± 1.96 |"
    assert rows[3].startswith("| random | heuristic | 3.00 ± 1.96 | ")
