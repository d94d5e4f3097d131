"""Measurements of reward credit and of tasks in words, for the evaluator and for the table."""

from typing import Any

from qllm_jax.generation.measurements import measurements
from qllm_jax.tfcaf.verdict import Verdict


def said(**report: Any) -> list[str]:
    return measurements(Verdict("OK", "L8", "", None, "", "", report))


def test_measurements_of_reward_credit_and_of_tasks_in_words():
    credit = {"factors": 1, "min": -1.0, "max": 2.0, "paid_share": 0.5, "dense_share": 0.25}
    paid = {"sum_where_paid": 3.0, "reward_where_paid": 1.5, "largest_share_where_paid": 0.6}
    assert said(credit=credit | paid, traces_for_n_agents=[2, 3], notes=["a note"]) == [
        "credit from -1 to 2 in steps of play",
        "25% of the steps in which the team is not paid give some agent credit",
        "in steps that pay the team 1.5 on average, all credit sums to 3, and the agent with most of it has 60%",
        "its shapes also fit teams of 2, 3 agents, which were not tried",
        "a note",
    ]
    assert said(credit=credit | {"factors": 2})[0] == "2 factors from -1 to 2 in steps of play"
    assert said(task_shares=[0.75, 0.25]) == ["shares of the tasks, task 0 first: 75%, 25%"]
    assert said() == ["nothing"]
