"""The warehouse: floors, moves and deliveries made by hand, bad options, and what holds on any floor in any play."""

import functools
import random

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rware_play
from hypothesis import given, settings
from hypothesis import strategies as st

from qllm_envs import check_env, make
from qllm_envs._rware import floor, ties
from qllm_envs._rware.game import advance
from qllm_envs._rware.moves import resolve
from qllm_envs.rware import State
from qllm_jax import config
from qllm_jax.program import experiment

KEY = jax.random.key(0)
NOOP, FORWARD, LEFT, RIGHT, TOGGLE = range(5)
UP, DOWN, WEST, EAST = range(4)


@pytest.mark.parametrize(
    ("size", "shape", "shelves", "goals"),
    [
        ("tiny", (11, 10), 32, [(4, 10), (5, 10)]),
        ("small", (20, 10), 80, [(4, 19), (5, 19)]),
        ("medium", (20, 16), 144, [(7, 19), (8, 19)]),
        ("large", (29, 16), 224, [(7, 28), (8, 28)]),
    ],
)
def test_sizes_have_the_floors_of_rware(size, shape, shelves, goals):
    plan = floor.from_numbers(*floor.SIZES[size], column_height=8)
    assert ((plan.height, plan.width), plan.n_shelves) == (shape, shelves)
    assert plan.pos(plan.goals).tolist() == [list(map(float, goal)) for goal in goals]


def test_a_drawing_of_a_floor_is_that_floor():
    plan = floor.from_numbers(1, 3, 2)
    drawn = ["..........", ".xx....xx.", ".xx....xx.", "..........", "....gg...."]
    assert floor.from_drawing(drawn) == plan


@functools.cache
def resolver():
    """`resolve` of four agents on a floor of 8 x 8 cells, compiled once."""
    plan = floor.from_drawing(["g" + "x" * 7, *["." * 8] * 7])
    return jax.jit(lambda cell, target: resolve(cell, target, ties.tables(plan, 4)))


def moved(wishes):
    """Indices of those of four agents that move, from their cells and targets, [((x, y), (x, y)), ...]."""
    cells = np.array([[8 * y + x for x, y in pair] for pair in wishes], np.int32)
    return np.flatnonzero(resolver()(cells[:, 0], cells[:, 1])).tolist()


STAYS = ((7, 7), (7, 7))
TOGETHER = {
    "each to a cell of its own": ([((0, 0), (0, 1)), ((2, 0), (2, 1)), ((4, 0), (4, 1)), STAYS], [0, 1, 2, 3]),
    "two face each other": ([((0, 0), (1, 0)), ((1, 0), (0, 0)), STAYS, ((4, 4), (4, 5))], [2, 3]),
    "one queued after two that face each other": ([((0, 0), (1, 0)), ((1, 0), (0, 0)), ((2, 0), (1, 0)), STAYS], [3]),
    "three in a queue": ([((0, 0), (1, 0)), ((2, 0), (3, 0)), ((1, 0), (2, 0)), STAYS], [0, 1, 2, 3]),
    "a queue after one that stays": ([((5, 7), (6, 7)), ((6, 7), (7, 7)), STAYS, ((0, 0), (0, 1))], [2, 3]),
    "a ring": ([((0, 0), (1, 0)), ((1, 0), (1, 1)), ((1, 1), (0, 1)), ((0, 1), (0, 0))], [0, 1, 2, 3]),
    "the lower index of two rivals": ([STAYS, ((1, 0), (1, 1)), ((1, 2), (1, 1)), ((5, 5), (5, 4))], [0, 1, 3]),
    "the longer queue": ([((1, 0), (1, 1)), ((1, 2), (1, 1)), ((1, 3), (1, 2)), STAYS], [1, 2, 3]),
    "the lower index of two equal queues": (
        [((1, 2), (2, 2)), ((3, 2), (2, 2)), ((4, 2), (3, 2)), ((0, 2), (1, 2))],
        [0, 3],
    ),
    # Agent 0 heads for the cell of agent 2, so rware adds that cell before the one of agent 1.
    "the queue whose cell was added first": (
        [((4, 2), (3, 2)), ((1, 2), (2, 2)), ((3, 2), (2, 2)), ((0, 2), (1, 2))],
        [0, 2],
    ),
}


@pytest.mark.parametrize(("wishes", "then"), TOGETHER.values(), ids=TOGETHER.keys())
def test_agents_move_together(wishes, then):
    expected = [i for i in then if wishes[i][0] != wishes[i][1]]
    assert moved(wishes) == expected


def test_the_order_of_a_python_set_is_followed():
    """Sets of up to 19 cells, which grow twice, in CPython's own order."""
    plan = floor.from_numbers(2, 3, 8)
    sizes = ties.tables(plan, 30)
    assert [size.size for size in sizes] == [8, 32, 128]
    draw, m = random.Random(0), 30
    counts = [draw.randint(2, 29) for _ in range(60)]
    rows = [draw.sample(range(plan.n_cells), count) for count in counts]
    cells = np.array([row + [0] * (m - len(row)) for row in rows], np.int32)
    place = np.where(np.arange(m) < np.array(counts)[:, None], np.arange(m), m).astype(np.int32)
    follow = jax.jit(jax.vmap(lambda place, cells, count: ties._of_a_set(place, cells, count, sizes)))
    found = np.asarray(follow(place, cells, np.array(counts, np.int32)))
    for row, order, count in zip(rows, found, counts, strict=True):
        one_by_one = set()
        for cell in row:
            one_by_one.add((cell % plan.width, cell // plan.width))
        listed = [row[i] for i in np.argsort(order[:count])]
        assert [(cell % plan.width, cell // plan.width) for cell in listed] == list(one_by_one)


FLOOR = ["xx..", "....", ".gg.", "...."]  # storage at cells 0 and 1, goals at 9 and 10


@functools.cache
def drawn(reward_type="individual"):
    """Two agents on FLOOR with one request; `advance` is compiled once."""
    env = make("rware", n_agents=2, layout=[*FLOOR, "xxxx"], requests=1, reward_type=reward_type)
    return jax.jit(functools.partial(advance, rware_play.rules_of(env)))


def place(cells, headings=(UP, UP), load=(-1, -1), request=0, delivered=(False, False)):
    """A state of `drawn`. Shelves 0 and 1 stand at cells 0 and 1, others in the last row; carried ones nowhere."""
    stored = [k if k not in load else -1 for k in range(6)]
    return State(
        agent_cell=jnp.array(cells, jnp.int32),
        heading=jnp.array(headings, jnp.int32),
        load=jnp.array(load, jnp.int32),
        stored=jnp.array(stored, jnp.int16),
        delivered=jnp.array(delivered),
        request=jnp.array([request], jnp.int32),
        last_action=jnp.full((2,), -1, jnp.int32),
        idle=jnp.int32(7),
        t=jnp.int32(0),
    )


def after(state, actions, nth=(0, 0), reward_type="individual"):
    return drawn(reward_type)(state, jnp.array(actions), jnp.array(nth))


def test_turns_follow_the_compass():
    found = [after(place([5, 15], (h, h)), [LEFT, RIGHT])[0].heading.tolist() for h in range(4)]
    assert found == [[WEST, EAST], [EAST, WEST], [DOWN, UP], [UP, DOWN]]


def test_the_border_stops_and_unknown_actions_do_nothing():
    assert after(place([3, 7], (UP, EAST)), [FORWARD, FORWARD])[0].agent_cell.tolist() == [3, 7]
    state = place([5, 7])
    then = after(state, [9, -1])[0]
    same = then._replace(last_action=state.last_action, t=state.t, idle=state.idle)
    assert jax.tree.all(jax.tree.map(lambda a, b: (a == b).all(), state, same))


def test_shelves_are_taken_and_put_down_in_storage_only():
    taken, _ = after(place([0, 7]), [TOGGLE, TOGGLE])
    assert (taken.load.tolist(), taken.stored.tolist()) == ([0, -1], [-1, 1, 2, 3, 4, 5])
    back, _ = after(taken, [TOGGLE, NOOP])
    assert (back.load.tolist(), back.stored.tolist()) == ([-1, -1], [0, 1, 2, 3, 4, 5])
    highway, _ = after(place([2, 7], load=(0, -1)), [TOGGLE, NOOP])
    assert highway.load.tolist() == [0, -1]
    other, _ = after(
        place([1, 7], load=(0, -1))._replace(stored=jnp.array([-1, -1, 2, 3, 4, 5], jnp.int16)), [TOGGLE, 0]
    )
    assert (other.load.tolist(), other.stored.tolist()) == ([-1, -1], [-1, 0, 2, 3, 4, 5])


@pytest.mark.parametrize(
    ("cells", "load", "then"),
    [
        ((2, 7), (-1, -1), 1),  # empty-handed, under a shelf
        ((2, 7), (2, -1), 2),  # loaded, a shelf stands there
        ((2, 1), (2, -1), 2),  # and an agent with empty hands, which leaves
        ((2, 1), (2, 1), 1),  # loaded, after a loaded agent that leaves
    ],
)
def test_a_loaded_agent_enters_no_cell_with_a_shelf_that_stays(cells, load, then):
    found, _ = after(place(cells, (WEST, DOWN), load), [FORWARD, FORWARD])
    assert found.agent_cell.tolist() == [then, 5 if cells[1] == 1 else 11]


@pytest.mark.parametrize(
    ("reward_type", "rewards"), [("individual", [0, 1]), ("global", [1, 1]), ("two_stage", [0, 0.5])]
)
def test_a_delivery_is_paid_and_requested_anew(reward_type, rewards):
    state = place([4, 5], (UP, DOWN), load=(-1, 0))
    then, paid = after(state, [NOOP, FORWARD], nth=(2, 0), reward_type=reward_type)
    assert paid.tolist() == rewards
    assert then.request.tolist() == [3]  # the third of shelves 1 to 5
    assert (then.load.tolist(), int(then.idle)) == ([-1, 0], 0)
    assert then.delivered.tolist() == [False, reward_type == "two_stage"]
    again, paid = after(then, [NOOP, NOOP], reward_type=reward_type)
    assert (paid.tolist(), int(again.idle)) == ([0, 0], 1)


def test_a_shelf_on_the_second_goal_may_be_requested_by_the_first():
    state = place([9, 10], load=(0, 4), request=0)
    then, paid = after(state, [NOOP, NOOP], nth=(3, 1))  # of 1 to 5 the fourth is 4, of all but 4 the second is 1
    assert (paid.tolist(), then.request.tolist()) == ([1, 1], [1])
    then, paid = after(state, [NOOP, NOOP], nth=(2, 1))
    assert (paid.tolist(), then.request.tolist()) == ([1, 0], [3])


def test_two_stages_pay_once_when_a_shelf_is_put_down():
    state = place([0, 2], load=(0, 1), request=5, delivered=(True, True))
    then, paid = after(state, [TOGGLE, TOGGLE], reward_type="two_stage")
    assert (paid.tolist(), then.delivered.tolist()) == ([0.5, 0], [False, True])  # agent 1 is on the highway
    back, paid = after(then, [TOGGLE, NOOP], reward_type="two_stage")
    back, paid = after(back, [TOGGLE, NOOP], reward_type="two_stage")
    assert paid.tolist() == [0, 0]


def test_resets_draw_cells_headings_and_requests_uniformly_and_each_by_itself():
    env = make("rware", n_agents=3, layout=[*FLOOR, "xx.x"], requests=2)
    start = jax.device_get(jax.jit(jax.vmap(env.reset))(jax.random.split(KEY, 6000)))
    cell, heading, request = start.agent_cell, start.heading, start.request
    alone = [(one, below) for drawn_of, below in ((cell, 20), (heading, 4), (request, 5)) for one in drawn_of.T]
    pairs = ((cell[:, 0], heading[:, 0], 4), (cell[:, 1], heading[:, 1], 4), (cell[:, 0], request[:, 0], 5))
    together = [(a * below + b, 20 * below) for a, b, below in pairs]
    for one, below in (*alone, *together, (heading[:, 0] * 5 + request[:, 0], 20)):
        counts = np.bincount(one, minlength=below)
        chi2 = ((counts - 6000 / below) ** 2 / (6000 / below)).sum()
        assert len(counts) == below
        assert chi2 < below - 1 + 5 * np.sqrt(2 * (below - 1))
    for cells in (start.agent_cell, start.request):
        assert np.diff(np.sort(cells, 1), axis=1).all()
    assert (start.load == -1).all()
    assert (start.stored == np.arange(5)).all()


def test_a_new_request_is_any_shelf_that_is_not_requested():
    env = make("rware", n_agents=2, layout=[*FLOOR, "xxxx"], requests=1)
    state = place([9, 4], load=(0, -1))
    ask = jax.jit(jax.vmap(lambda key: env.step(key, state, jnp.array([NOOP, NOOP])).state.request[0]))
    # Five standard deviations.
    shares = np.bincount(ask(jax.random.split(KEY, 1000)), minlength=6) / 1000
    np.testing.assert_allclose(shares, [0, *[0.2] * 5], atol=0.064)


def test_notable_states_carry_what_they_say():
    env = make("rware")
    assert env.notable is not None
    plan = rware_play.rules_of(env).floor
    for phrase, state in jax.device_get(jax.jit(env.notable)(KEY)).items():
        asked = [shelf in state.request for shelf in state.load if shelf >= 0]
        wanted = {
            "in which requested shelves are carried by agents beside the goals": [True, True],
            "in which one agent beside the goals carries a requested shelf": [True],
            "in which agents beside the goals carry shelves that nobody asks for": [False, False],
            "in which all agents are beside the goals with empty hands": [],
        }[phrase]
        assert asked == wanted
        assert sorted([*state.stored, *state.load])[2:] == list(range(32)), phrase
        ways = plan.pos(state.agent_cell)[:, None] - plan.pos(plan.goals)[None]
        assert (np.abs(ways).sum(-1).min(1) == 1).all()


@pytest.mark.parametrize(("name", "state_dim"), [("tiny_2ag", 22), ("tiny_4ag", 44), ("small_4ag", 44)])
def test_configured_tasks_have_rwares_sizes(name, state_dim):
    settings = config.load([f"env=rware_{name}"])
    spec = experiment.make_env(settings.env, settings.n_agents).spec
    assert spec.task == f"rware_{name}"
    assert (spec.obs_dim, spec.n_actions, spec.horizon, spec.state_dim) == (71, 5, 500, state_dim)


@pytest.mark.parametrize(
    ("options", "task"),
    [
        ({"n_agents": 4, "size": "large", "difficulty": "hard"}, "rware_large_4ag_hard"),
        ({"column_height": 3, "requests": 5}, "rware_tiny_h3_2ag_5req"),
        ({"layout": FLOOR, "requests": 1, "reward_type": "two_stage"}, "rware_4x4_2ag_1req_two_stage"),
    ],
)
def test_names_of_tasks(options, task):
    assert make("rware", **options).spec.task == task


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"n_agents": 0}, "n_agents must be an integer of at least 1, got 0"),
        (
            {"n_agents": 17, "layout": FLOOR, "requests": 1},
            "n_agents must be at most 16, the cells of the floor, got 17",
        ),
        ({"size": "tinny"}, "size 'tinny' does not exist: did you mean 'tiny'"),
        ({"shelf_columns": 2}, "shelf_columns must be odd, got 2"),
        ({"shelf_rows": 0}, "shelf_rows must be an integer of at least 1, got 0"),
        ({"shelf_columns": 1}, "a floor needs at least 2 shelves, one requested and one not, got 0"),
        ({"shelf_rows": 10**9}, "a floor has at most 32767 cells, got 90000000020"),
        ({"layout": ["x.", "g"]}, "layout must have lines of one length, one a row"),
        (
            {"layout": ["xa", "g."]},
            r"layout must have the signs x \(shelf\), . \(highway\) and g \(goal\) alone, not 'a'",
        ),
        ({"layout": ["xx"]}, r"layout must have at least one goal \(g\)"),
        ({"difficulty": "medium"}, "difficulty 'medium' does not exist: choose from easy, hard, normal"),
        ({"n_agents": 1, "difficulty": "hard"}, "1 agents at difficulty 'hard' make no request: set requests=1 or"),
        ({"requests": 32}, "requests must be at most 31, one less than shelves; requests=32 make 32"),
        ({"sensor_range": 11}, "sensor_range must be an integer of at most 10, got 11"),
        ({"reward_type": "team"}, "reward_type 'team' does not exist: choose from global, individual, two_stage"),
        ({"max_inactivity": 0}, "max_inactivity must be an integer of at least 1, got 0"),
        ({"horizon": 0}, "horizon must be an integer of at least 1, got 0"),
    ],
)
def test_a_bad_value_is_named(options, sentence):
    with pytest.raises(ValueError, match=f"^rware: {sentence}"):
        make("rware", **options)


@st.composite
def any_options(draw):
    width, height = draw(st.integers(3, 7)), draw(st.integers(3, 7))
    cells = draw(
        st.lists(st.sampled_from("x..g" if width % 2 else "xx."), min_size=width * height, max_size=width * height)
    )
    cells[:3] = "xxg"
    layout = ["".join(cells[y * width : (y + 1) * width]) for y in range(height)]
    return {
        "n_agents": draw(st.integers(1, 7)),
        "layout": layout,
        "requests": draw(st.integers(1, cells.count("x") - 1)),
        "sensor_range": draw(st.integers(0, 2)),
        "reward_type": draw(st.sampled_from(["individual", "global", "two_stage"])),
        "max_inactivity": draw(st.none() | st.integers(1, 9)),
        "horizon": 20,
    }


def play(env, key):
    """200 steps, also after the end, half of them forward; states have one row more than steps."""
    key_reset, key_actions, key_turns = jax.random.split(key, 3)
    chances = jnp.log(jnp.array([0.05, 0.5, 0.1, 0.1, 0.25]))
    actions = jax.random.categorical(key_actions, chances, shape=(200, env.spec.n_agents))

    def turn(state, given):
        step = env.step(given[0], state, given[1])
        return step.state, (step, env.view(step.state))

    start = env.reset(key_reset)
    _, (steps, views) = jax.lax.scan(turn, start, (jax.random.split(key_turns, 200), actions))
    return jax.tree.map(lambda first, rest: jnp.concatenate([first[None], rest]), start, steps.state), steps, views


def assert_lawful(options):
    """Check conservation, cells, moves and that deliveries are paid once, in random play; return the rewards."""
    env = make("rware", **options)
    rules = rware_play.rules_of(env)
    states, steps, views = jax.device_get(jax.jit(jax.vmap(functools.partial(play, env)))(jax.random.split(KEY, 32)))
    for name, field in env.spec.fields.items():
        assert ((views.fields[name] >= field.low) & (views.fields[name] <= field.high)).all(), name
    held = np.sort(np.concatenate([states.stored, states.load], -1), -1)
    shelves = np.concatenate([np.full(options["n_agents"], -1), np.arange(rules.floor.n_shelves)])
    np.testing.assert_array_equal(held, np.broadcast_to(shelves, held.shape), "shelves are conserved")
    assert np.diff(np.sort(states.agent_cell, -1), axis=-1).all(), "two agents share a cell"
    assert np.diff(np.sort(states.request, -1), axis=-1).all(), "a shelf is requested twice"
    before, pos = env_pos(rules, states.agent_cell[:, :-1]), env_pos(rules, states.agent_cell[:, 1:])
    assert (np.abs(pos - before).sum(-1) <= 1).all()
    under = np.isin(states.agent_cell, rules.floor.storage) & (states.load >= 0)
    stands = np.concatenate([states.stored, np.full((*states.stored.shape[:2], 1), -1)], -1)
    below = np.take_along_axis(stands, rules.floor.index_of_storage[states.agent_cell], -1)
    assert (below[under] == -1).all(), "a loaded agent is in the cell of another shelf"
    changed = (states.request[:, 1:] != states.request[:, :-1]).sum(-1)
    on_goals = (np.isin(states.agent_cell[:, 1:], rules.floor.goals) & (states.load[:, 1:] >= 0)).sum(-1)
    pays = {"individual": 1, "global": options["n_agents"], "two_stage": 0.5}[options["reward_type"]]
    puts_down = ((states.load[:, :-1] >= 0) & (states.load[:, 1:] < 0)).sum(-1)
    extra = 0.5 * puts_down if options["reward_type"] == "two_stage" else 0
    assert (steps.reward >= pays * changed).all(), "a delivery is not paid"
    # With several on goals one may bring back the request of another, and what is requested does not change.
    deliveries = np.where(on_goals > 1, on_goals, changed)
    assert (steps.reward <= pays * deliveries + extra).all(), "paid without a delivery"
    limit = options["max_inactivity"] or np.inf
    np.testing.assert_array_equal(steps.terminated, states.idle[:, 1:] >= limit)
    np.testing.assert_array_equal(steps.truncated, np.broadcast_to(np.arange(1, 201) >= 20, (32, 200)))
    return steps.reward


def env_pos(rules, cells):
    return np.stack([cells % rules.floor.width, cells // rules.floor.width], -1)


def test_a_crowded_floor_with_all_options_changed_is_lawful():
    layout = ["xx.x", ".g.x", "x..g", ".xx."]
    options = {"n_agents": 6, "layout": layout, "requests": 3, "sensor_range": 2, "max_inactivity": 5, "horizon": 20}
    assert assert_lawful(options | {"reward_type": "two_stage"}).any()


@pytest.mark.slow
@settings(max_examples=30, deadline=None, derandomize=True)
@given(any_options())
def test_any_floor_and_options_are_lawful(options):
    assert_lawful(options)


@pytest.mark.slow
def test_a_crowded_floor_with_all_options_changed_keeps_the_contract():
    options = {"layout": [*FLOOR, "xxxx"], "requests": 2, "sensor_range": 2, "max_inactivity": 5, "horizon": 20}
    check_env(make("rware", n_agents=5, reward_type="two_stage", **options))


def test_every_shelf_is_where_it_stands_or_with_its_carrier():
    env = make("rware", n_agents=4, size="small")
    state = env.reset(jax.random.key(0))
    # Shelf 5 is carried, shelf 7 has changed places with shelf 0, which is carried too.
    stored = np.array(state.stored)
    stored[[0, 5, 7]] = [7, -1, -1]
    state = state._replace(stored=jnp.asarray(stored), load=jnp.array([-1, 5, -1, 0]))
    width, storage = env.step.args[0].floor.width, env.step.args[0].floor.storage  # pyright: ignore
    where = {shelf: cell for cell, shelf in zip(storage, stored.tolist(), strict=True) if shelf >= 0}
    where |= {5: int(state.agent_cell[1]), 0: int(state.agent_cell[3])}
    wanted = [(cell % width, cell // width) for _, cell in sorted(where.items())]
    np.testing.assert_array_equal(env.view(state).fields["shelf_pos"], wanted)


def test_the_scene_shows_loads_requests_and_headings():
    env = make("rware", n_agents=2, layout=FLOOR, requests=1)
    state = place([2, 15], (WEST, DOWN), load=(0, -1), request=0)._replace(stored=jnp.array([-1, 1], jnp.int16))
    scene = env.scene(state)
    agents = [shape for shape in scene.shapes if shape.agent is not None]
    assert [(shape.label, shape.color) for shape in agents] == [("0", "tab:orange"), ("1", "tab:blue")]
    assert [shape.center for shape in agents] == [(2.5, 3.5), (3.5, 0.5)]
    assert [shape.center for shape in scene.shapes if shape.color == "tab:green"] == [(2.5, 3.5)]  # with its carrier
    assert len(scene.shapes) == 16 + 2 + 2
    assert scene.lines[0].end[0] < scene.lines[0].start[0] < 2.5  # agent 0 faces left
    assert scene.lines[1].end[1] < scene.lines[1].start[1] < 0.5  # agent 1 faces down
