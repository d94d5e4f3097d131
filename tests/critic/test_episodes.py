"""Episodes in words: what changed, the numbers of the question, and agents back in their own order."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import qllm_envs
from qllm_jax.critic import episodes, texts
from qllm_jax.critic.episodes import PlayedEpisode

LBF = qllm_envs.make("lbf", rows=5, cols=5, coop=True, horizon=5).spec
FIELDS = {
    "agent_pos": np.array([[[0, 1], [4, 4]], [[0, 2], [4, 4]], [[0, 2], [4, 4]]], np.int32),
    "agent_level": np.array([[1, 2]] * 3, np.int32),
    "food_pos": np.array([[[1, 2], [3, 3]], [[1, 2], [3, 3]], [[1, 2], [-1, -1]]], np.int32),
    "food_level": np.array([[3, 3], [3, 3], [3, 0]], np.int32),
    "last_action": np.array([[-1, -1], [4, 0], [0, 5]], np.int32),
}
EPISODE = PlayedEpisode(FIELDS, np.array([[4, 0], [0, 5]]), np.array([0, 0.5], np.float32))

IN_ORDER = """\
state 0: agent_pos=[[0,1],[4,4]] agent_level=[1,2] food_pos=[[1,2],[3,3]] food_level=[3,3] last_action=[-1,-1]
step 0: actions=[4,0] reward=0
state 1: agent_pos=[[0,2],[4,4]] last_action=[4,0]
step 1: actions=[0,5] reward=0.5
state 2: food_pos=[[1,2],[-1,-1]] food_level=[3,0] last_action=[0,5]"""

SWAPPED = """\
state 0: agent_pos=[[4,4],[0,1]] agent_level=[2,1] food_pos=[[1,2],[3,3]] food_level=[3,3] last_action=[-1,-1]
step 0: actions=[0,4] reward=0
state 1: agent_pos=[[4,4],[0,2]] last_action=[0,4]
step 1: actions=[5,0] reward=0.5
state 2: food_pos=[[1,2],[-1,-1]] food_level=[3,0] last_action=[5,0]"""


@pytest.mark.parametrize(("order", "text"), [([0, 1], IN_ORDER), ([1, 0], SWAPPED)])
def test_an_episode_in_words(order: list[int], text: str):
    assert episodes.describe(EPISODE, LBF, np.array(order)) == text


def test_padding_is_left_out():
    longer = {name: np.concatenate([values, values[-1:], values[-1:]]) for name, values in FIELDS.items()}
    action, reward = np.array([[4, 0], [0, 5], [0, 0], [0, 0]]), np.array([0, 0.5, 0, 0])
    found = episodes.trimmed(longer, action, reward, np.array([1, 1, 0, 0]))
    assert episodes.describe(found, LBF, np.arange(2)) == IN_ORDER
    assert found.is_paid


@settings(max_examples=50, deadline=None)
@given(st.permutations(range(6)))
def test_the_order_of_a_question_is_undone(order: list[int]):
    own = np.arange(18.0).reshape(3, 6)
    asked = own[..., order]  # agent j of the question is agent order[j]
    np.testing.assert_array_equal(episodes.undone(asked, np.array(order)), own)


@pytest.mark.parametrize(("value", "text"), [(3, "3"), (0.5, "0.5"), (1 / 3, "0.333"), (-0.0, "0"), (True, "1")])
def test_numbers_are_short(value: float, text: str):
    assert episodes.compact(np.asarray(value)) == text


def test_agents_keep_their_numbers_where_the_task_names_some():
    """In spectators, agents 0 to 2 are the movers: no order is drawn there, and every order is in others."""
    rng = np.random.default_rng(0)
    named = qllm_envs.make("spectators").spec
    assert all((episodes.draw_order(named, "", rng) == np.arange(named.n_agents)).all() for _ in range(20))
    task = texts.build(LBF, "lbf", 10.0).task
    assert {tuple(episodes.draw_order(LBF, task, rng)) for _ in range(30)} == {(0, 1), (1, 0)}


@pytest.mark.parametrize("words", ["agent 0 is the scout", "Agents 0 and 1 are scouts", "no numbers"])
def test_what_a_question_says_about_numbers_is_so(words: str):
    assert episodes.renumbers(LBF, words) is (words == "no numbers")


def test_agents_keep_their_numbers_in_games_of_others():
    riddle = qllm_envs.make("jaxmarl", id="switch_riddle").spec  # agent_in_room holds the number of an agent
    assert not episodes.renumbers(riddle, "")
    assert texts.KEPT in texts.build(riddle, "jaxmarl", 10.0).system
    assert texts.DRAWN in texts.build(LBF, "lbf", 10.0).system


@pytest.mark.parametrize("name", ["couriers", "duty", "lbf", "matrix", "mpe_spread", "relay", "rware", "smax"])
def test_questions_exist_for_all_tasks_and_begin_alike(name: str):
    spec = qllm_envs.make(name).spec
    built = texts.build(spec, name, 10.0)
    assert spec.reward in built.system
    assert all(f"- {field}, shape" in built.system for field in spec.fields)
    assert f"{spec.n_agents} lists in all" in built.system


def test_a_repair_says_what_is_wrong_and_what_was_answered():
    built = texts.build(LBF, "lbf", 10.0)
    asked = texts.question(built, EPISODE, LBF, np.arange(2))
    assert IN_ORDER in asked
    assert "2 lists of 2 numbers" in asked
    again = texts.again(built, asked, "{{nonsense}}", "there is no JSON object")
    assert all(part in again for part in (IN_ORDER, "{{nonsense}}", "there is no JSON object"))
