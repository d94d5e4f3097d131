"""Kinds of written functions: what each must give, what is reported of it, and that each is asked for by its kind."""

import numpy as np
import pytest
from tfcaf.warm import WarmGates

from qllm_envs import make
from qllm_jax.errors import UserError
from qllm_jax.generation import settings
from qllm_jax.tfcaf import find, names, reward_from_source, task_from_source
from qllm_jax.tfcaf.loading.signatures import REWARD as REWARD_OF_STEP
from qllm_jax.tfcaf.semantics import report, rollouts, sizes_of_rewards
from qllm_jax.tfcaf.semantics.trial import Outcome
from qllm_jax.tfcaf.static.check import check
from qllm_jax.tfcaf.static.vocabulary import Kind
from qllm_jax.tfcaf.verdict import TfcafError, Verdict

HEAD = "import jax.numpy as jnp\n\n\n"
REWARD = HEAD + "def credit(state, actions, reward, next_state):\n    n = actions.shape[0]\n    return {}\n"
TASK = HEAD + "TASKS = {}\n\n\ndef assign(state):\n    return {}\n"
DUTY = {"name": "duty", "n_agents": 3}


def verdict_on(warm: WarmGates, text: str, kind: Kind, env: dict = DUTY) -> Verdict:
    return warm.verify(text, "mine.py", rollouts.from_config(env, kind))


REWARDS = {
    "no credit where the team is paid": ("jnp.zeros(n)", "ZEROCREDIT", "steps in which the team is paid"),
    "drowns the reward": ("1e3 * reward * jnp.ones(n)", "SCALE", "the credit of an agent is 1.0e+03"),
    "next to nothing": ("1e-3 * reward * jnp.ones(n)", "SCALE", "sum to 0.003 on average"),
    "not finite": ("reward / (jnp.sum(state['on_duty']) - 1.0) * jnp.ones(n)", "NONFINITE", "the credit is"),
    "of the team": ("reward", "SHAPE", "the credit is of shape (), not (3,)"),
    "one factor": ("reward * jnp.ones((n, 1))", "SHAPE", "not (3,), or 3 rows of 2 to 32 factors"),
    "whole numbers": ("actions", "DTYPE", "the credit is int32"),
    "an index out of range": ("reward * state['on_duty'][actions]", "OOB", "an index is negative or too large"),
}


@pytest.mark.parametrize("name", REWARDS)
def test_a_bad_function_of_reward_credit_is_refused_for_what_it_does(name: str, warm: WarmGates):
    returned, code, problem = REWARDS[name]
    verdict = verdict_on(warm, REWARD.format(returned), "reward")
    assert (verdict.code, problem in verdict.problem) == (code, True), verdict


def test_what_is_measured_of_reward_credit(warm: WarmGates):
    verdict = verdict_on(warm, REWARD.format("reward * state['on_duty']"), "reward")
    found = verdict.report["credit"]
    assert (verdict.ok, found["factors"], found["dense_share"]) == (True, 1, 0.0)
    assert (found["sum_where_paid"], found["reward_where_paid"], found["largest_share_where_paid"]) == (1.0, 1.0, 1.0)
    assert 3 in verdict.report["traces_for_n_agents"]
    assert 25 in verdict.report["traces_for_n_agents"]
    of_all = verdict_on(warm, REWARD.format("reward * jnp.ones(n)"), "reward").report
    assert (of_all["treats_agents_alike"], of_all["credit"]["largest_share_where_paid"]) == (True, pytest.approx(1 / 3))
    assert any(note.startswith("all agents get the same") for note in of_all["notes"])
    first = verdict_on(warm, REWARD.format("reward * (jnp.arange(n) == 0)"), "reward").report
    assert first["treats_agents_alike"] is False
    two = "jnp.stack([1e-6 * reward + state['on_duty'], actions * 1.0], -1)"
    factors = verdict_on(warm, REWARD.format(two), "reward")
    assert (factors.ok, factors.report["credit"]["factors"]) == (True, 2)


@pytest.mark.parametrize(
    ("tasks", "returned", "code", "problem"),
    [
        (2, "state['on_duty'].astype(jnp.int32)", "OK", ""),
        (2, "state['symbol'].astype(jnp.int32)", "OOB", "and TASKS is 2"),
        (2, "state['on_duty'].astype(jnp.int32) - 1", "OOB", "an agent's task is -1 on a state"),
        (2, "state['on_duty']", "DTYPE", "the tasks are float32"),
        (2, "1", "SHAPE", "`assign` returns a int"),
        (1, "state['on_duty'].astype(jnp.int32)", "STATIC", "TASKS, the number of tasks, is missing or out of range"),
    ],
)
def test_tasks_are_numbers_below_their_number(tasks: int, returned: str, code: str, problem: str, warm: WarmGates):
    verdict = verdict_on(warm, TASK.format(tasks, returned), "task")
    assert (verdict.code, problem in verdict.problem) == (code, True), verdict


SHIPPED = [name if name.startswith("duty") else pytest.param(name, marks=pytest.mark.slow) for name in names("reward")]


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_reward_credit_passes(name: str, warm: WarmGates):
    env = name.removesuffix("_by_rule")
    verdict = verdict_on(warm, find(name, "reward").text, "reward", {"name": env, "n_agents": 2})
    assert (verdict.code, verdict.problem) == ("OK", "")
    assert verdict.report["credit"]["paid_share"] > 0


def test_a_function_is_of_the_kind_that_is_asked_for():
    spec = make("duty", n_agents=3).spec
    for load, text in (
        (reward_from_source, "def credit(state):\n    return state['on_duty'], 0.0\n"),
        (task_from_source, REWARD.format("reward * jnp.ones(n)")),
    ):
        with pytest.raises(TfcafError, match=r"a function of kind \w+ is asked for, and this is one of kind"):
            load(text, "mine.py", spec)
    assert reward_from_source(REWARD.format("reward * jnp.ones(n)"), "mine.py", spec).n_factors == 1
    assert task_from_source(TASK.format(4, "state['on_duty'].astype(jnp.int32)"), "mine.py", spec).n_tasks == 4


@pytest.mark.parametrize("given", [["signature=paper"], ["select=train"], ["hints=paper"], ["archive=on"]])
def test_what_is_of_value_credit_alone_is_refused(given: list[str]):
    with pytest.raises(UserError, match="is of kind=value: with kind=reward it must be"):
        settings.load(["kind=reward", *given])
    with pytest.raises(UserError, match="factors=true is of kind=reward, not of kind=task"):
        settings.load(["kind=task", "factors=true"])


def test_agents_that_swap_their_actions_swap_their_credit(warm: WarmGates):
    verdict = verdict_on(warm, REWARD.format("reward * (1.0 + (actions == 0))"), "reward")
    assert verdict.report["treats_agents_alike"] is True


def test_the_sum_of_credit_may_be_ten_times_the_reward_for_each_agent(warm: WarmGates):
    passed = verdict_on(warm, REWARD.format("5.0 * reward * jnp.ones(n)"), "reward")
    assert passed.report["credit"]["sum_where_paid"] == 15.0
    refused = verdict_on(warm, REWARD.format("15.0 * reward * jnp.ones(n)"), "reward")
    assert (refused.code, "the sizes of all agents' credit sum to 45" in refused.problem) == ("SCALE", True)


def test_one_task_for_all_is_noted(warm: WarmGates):
    one = verdict_on(warm, TASK.format(3, "jnp.ones(state['on_duty'].shape[0], jnp.int32)"), "task").report
    assert one["task_shares"] == [0.0, 1.0, 0.0]
    assert "all agents have one task in all states of rollouts" in one["notes"]
    two = verdict_on(warm, TASK.format(3, "state['on_duty'].astype(jnp.int32)"), "task").report
    assert two["task_shares"] == pytest.approx([2 / 3, 1 / 3, 0.0], abs=1e-5)
    assert not [note for note in two["notes"] if "one task" in note]


def test_statistics_of_reward_credit_by_hand():
    given = np.array([[[3.0], [1.0]], [[0.0], [0.0]], [[-1.0], [0.0]]])  # (steps, agents, 1)
    found, notes = report._of_credit(given, np.array([2.0, 0.0, 0.0]))
    assert found == {
        "factors": 1, "min": -1.0, "max": 3.0, "paid_share": 0.333333, "dense_share": 0.5, "sum_where_paid": 4.0,
        "reward_where_paid": 2.0, "largest_share_where_paid": 0.75,
    }  # fmt: skip
    assert notes == []
    assert report._of_credit(given, np.zeros(3))[1][0].startswith("no step that was tried pays the team")


@pytest.mark.parametrize(("reward", "pay", "most"), [(0.25, "0.25", "100"), (-4.0, "4", "400")])
def test_credit_that_is_too_large_is_told_with_the_largest_reward(reward: float, pay: str, most: str):
    spec = make("duty", n_agents=2).spec
    outcome = Outcome(np.full((3, 2), 500.0), np.zeros(3), np.ones(3, bool), [])
    states = {REWARD_OF_STEP: np.array([0.0, reward, reward / 2])}
    checked = check(REWARD.format("reward * jnp.ones(n)"), "mine.py", "reward")
    with pytest.raises(TfcafError) as caught:
        sizes_of_rewards.verify_credit(checked, spec, states, outcome, 3)
    assert caught.value.problem.endswith(f"is 5.0e+02 in a step of play, where the team is paid {pay} at most")
    assert caught.value.hint.startswith(f"keep each agent's credit below {most}: ")
