"""Rounds of questions: a server that misbehaves, budgets, orders, resumes; all of one compiled program of two runs."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from chat_server import Answer, Server, completion, error, serving

from qllm_jax import config
from qllm_jax.critic import answers, faults, opening, questions, report
from qllm_jax.critic.rounds import MAX_UNANSWERED
from qllm_jax.errors import UserError
from qllm_jax.llm import transcript as transcripts
from qllm_jax.program import experiment
from qllm_jax.program.experiment import Experiment
from qllm_jax.run.between import Between, PausedError
from qllm_jax.run.checkpoint import TrainState

pytestmark = pytest.mark.thorough

T, N, RUNS, ASKED = 3, 2, 2, 2  # steps, agents, runs, questions of a run in a round
SMALL = [
    "env=duty", "n_agents=2", "env.horizon=3", "algo=matched_mca", "algo.learner.critic=llm", "algo.hidden_dim=4",
    "algo.n_envs=2", "algo.batch_episodes=4", "algo.buffer_episodes=6", "seeds=2", "devices=1",
    "algo.learner.asking.episodes=2", "algo.learner.asking.unlabelled=skip",
]  # fmt: skip
OPTIONS = {"model": "m", "api_key_env": None, "timeout_s": 20.0, "retries": 0, "backoff_s": 0.001}


@pytest.fixture(scope="module")
def exp() -> Experiment:
    return experiment.build(config.load(SMALL))


def with_options(exp: Experiment, **changes: Any) -> Experiment:
    """The experiment with other options of the critic, of the same compiled program."""
    learner = dict(exp.config.algo.learner)
    asking = {**learner["asking"], "llm": "ollama", **changes}
    algo = type(exp.config.algo)(**{**vars(exp.config.algo), "learner": {**learner, "asking": asking}})
    return exp._replace(config=type(exp.config)(**{**vars(exp.config), "algo": algo}))


def fresh(exp: Experiment) -> TrainState:
    """Two runs with two episodes each."""
    return TrainState(*exp.program.warmup(*experiment.init(exp), exp.hp))


class Round(NamedTuple):
    state: TrainState
    lines: list[str]
    summary: dict[str, Any]


@contextmanager
def critic_of(exp: Experiment, folder: Path, server: Server | None, **changes: Any) -> Iterator[Between]:
    base = {"llm_options": OPTIONS | {"base_url": server.url}} if server else {}
    with opening.opened(with_options(exp, **{**base, **changes}), folder) as between:
        assert between is not None
        yield between


def one_round(exp: Experiment, folder: Path, answer: Callable[[dict[str, Any], int], Answer], **changes: Any) -> Round:
    """The first round of a training with a server."""
    lines: list[str] = []
    with serving(answer) as server, critic_of(exp, folder, server, **changes) as between:
        state = between.work(fresh(exp), lines.append, lambda: False)
    assert state is not None
    return Round(state, lines, json.loads((folder / opening.FOLDER / report.SUMMARY).read_text()))


def asked_for(request: dict[str, Any]) -> str:
    return request["messages"][1]["content"]


def credit_of(request: dict[str, Any]) -> list[list[float]]:
    """Credit that tells agents apart: 1 for actions that are 0, and 0.25 plus a step's number for others."""
    steps = re.findall(r"actions=\[(\d+),(\d+)\]", asked_for(request))
    return [[1.0 if int(step[i]) == 0 else 0.25 + t for t, step in enumerate(steps)] for i in range(N)]


def good(request: dict[str, Any], n: int) -> Answer:
    return completion(json.dumps({"explanation": f"answer {n}", "credit": credit_of(request)}))


def expected(action_t: np.ndarray) -> np.ndarray:
    return np.where(action_t == 0, 1.0, 0.25 + np.arange(T)[:, None])


def assert_sound(state: TrainState) -> int:
    """Each labelled episode has the credit of its own actions, and each other one the equal split. Return how many."""
    storage, labels = jax.device_get((state.runs.storage, state.runs.labels))
    for r, row in np.argwhere(labels.number >= 0):
        split = np.repeat(storage.reward_t[r, row][:, None] / N, N, 1)
        own = expected(storage.action_t[r, row]) if labels.labelled[r, row] else split
        np.testing.assert_allclose(storage.credit_t[r, row], own, rtol=1e-5)
    return int(labels.labelled.sum())


def test_credit_is_written_in_the_order_of_the_agents_whatever_order_was_asked(exp: Experiment, tmp_path: Path):
    found = one_round(exp, tmp_path, good)
    assert assert_sound(found.state) == RUNS * ASKED
    assert found.summary["questions"] == found.summary["answered"] == RUNS * ASKED
    assert found.summary["tokens"] == RUNS * ASKED * 120
    assert not found.lines
    text = (tmp_path / opening.FOLDER / report.EXPLANATIONS).read_text()
    assert all(f"answer {n}" in text for n in range(RUNS * ASKED))
    records = transcripts.read(tmp_path / opening.FOLDER / transcripts.NAME)[0]
    asked = {(record["place"][0], record["place"][1]) for record in records if record["kind"] == "reply"}
    assert asked == {(r, number) for r in range(RUNS) for number in range(ASKED)}


def refuses(request: dict[str, Any], n: int) -> Answer:
    raise AssertionError(f"the transcript has all answers, and request {n} asks again: {request}")


def bad(credit: Any) -> Callable[..., Answer]:
    return lambda request, n: completion(json.dumps({"credit": credit}))


SERVERS = {
    "no JSON": (lambda request, n: completion("I would rather not."), answers.NO_JSON),
    "wrong lengths": (bad([[1.0] * (T + 1)] * N), answers.LENGTHS),
    "one agent": (bad([[1.0] * T]), answers.AGENTS),
    "NaN": (bad([[float("nan")] * T] * N), answers.NOT_FINITE),
    "too large": (bad([[1e6] * T] * N), answers.TOO_LARGE),
    "text": (bad([["high"] * T] * N), answers.NO_NUMBER),
    "cut off": (lambda request, n: completion('{"credit": [[1, 1', finish="length"), answers.CUT_OFF),
    "stall": (lambda request, n: Answer("", how="stall"), faults.TIMEOUT),
    "drip": (lambda request, n: Answer("{}", how="drip"), faults.TIMEOUT),
    "drop": (lambda request, n: Answer("", how="drop"), faults.LOST),
    "half a body": (lambda request, n: completion("x" * 500)._replace(how="cut"), faults.LOST),
    "refused": (lambda request, n: error(401, "who are you?"), faults.REFUSED),
    "busy": (lambda request, n: error(503, "later"), faults.BUSY),
    "a web page": (lambda request, n: Answer("<html>busy</html>"), faults.BAD_REPLY),
    "no message": (lambda request, n: Answer('{"choices": []}'), faults.BAD_REPLY),
}


@pytest.mark.parametrize("name", SERVERS)
def test_each_fault_of_a_server_is_counted_and_labels_nothing(name: str, exp: Experiment, tmp_path: Path):
    answer, label = SERVERS[name]
    options: dict[str, Any] = {"max_calls": None}
    with serving(answer) as server:
        options["llm_options"] = OPTIONS | {
            "base_url": server.url,
            "timeout_s": 0.2 if label == faults.TIMEOUT else 20.0,
        }
        with critic_of(exp, tmp_path, None, **options) as between:
            state = between.work(fresh(exp), lambda line: None, lambda: False)
        n_requests = len(server.requests)
    assert state is not None
    assert assert_sound(state) == 0
    summary = json.loads((tmp_path / opening.FOLDER / report.SUMMARY).read_text())
    served = label in answers.FAULTS
    n_questions = RUNS * ASKED if served else MAX_UNANSWERED  # a round is given up when nobody answers
    assert summary["faults"] == {label: n_questions}
    assert n_requests <= n_questions * (2 if served else 1)  # one repair
    assert int(state.runs.labels.asked.sum()) == n_questions  # pyright: ignore[reportOptionalMemberAccess]


def test_faults_and_answers_in_turns_label_the_answered_episodes_alone(exp: Experiment, tmp_path: Path):
    """Every second question gets a fault and then a good answer; the others get two faults."""
    faulty = [make for make, label in SERVERS.values() if label in answers.FAULTS]

    def answer(request: dict[str, Any], n: int) -> Answer:
        return good(request, n) if n % 4 == 3 else faulty[n % len(faulty)](request, n)

    found = one_round(exp, tmp_path, answer)
    assert assert_sound(found.state) == found.summary["repaired"] == RUNS * ASKED // 2
    assert sum(found.summary["faults"].values()) == RUNS * ASKED // 2


def test_a_repair_is_asked_once_with_what_is_wrong(exp: Experiment, tmp_path: Path):
    seen: list[str] = []

    def answer(request: dict[str, Any], n: int) -> Answer:
        seen.append(asked_for(request))
        return good(request, n) if n % 2 else completion('{"credit": [[1]]}')

    found = one_round(exp, tmp_path, answer)
    assert found.summary["repaired"] == RUNS * ASKED
    assert assert_sound(found.state) == RUNS * ASKED
    assert seen[0] in seen[1]
    assert "must be a list of 2 lists" in seen[1]
    assert '{"credit": [[1]]}' in seen[1]


def test_nothing_is_asked_twice_and_the_same_credit_comes_back(exp: Experiment, tmp_path: Path):
    first = one_round(exp, tmp_path, good)

    again = one_round(exp, tmp_path, refuses)
    same = jax.tree.map(lambda x, y: bool(jnp.all(x == y)), first.state.runs.storage, again.state.runs.storage)
    assert all(jax.tree.leaves(same))
    # Killed after replies and before their outcomes: the replies answer.
    file = tmp_path / opening.FOLDER / transcripts.NAME
    lines = [line for line in file.read_text().splitlines() if json.loads(line)["kind"] != questions.KIND]
    file.write_text("\n".join(lines) + "\n")
    assert assert_sound(one_round(exp, tmp_path, refuses).state) == RUNS * ASKED


def test_a_replay_labels_no_episode_that_was_played_otherwise(exp: Experiment, tmp_path: Path):
    one_round(exp, tmp_path / "first", good)
    file = tmp_path / "first" / opening.FOLDER / transcripts.NAME
    options = {"llm": "replay", "llm_options": {"transcript": str(file)}}
    with critic_of(exp, tmp_path / "same", None, **options) as between:
        state = between.work(fresh(exp), print, lambda: False)
    assert state is not None
    assert assert_sound(state) == RUNS * ASKED
    other = exp._replace(seeds=exp.seeds[::-1])  # the episodes of the two runs, the other way round
    with critic_of(other, tmp_path / "other", None, **options) as between:
        state = between.work(fresh(other), lambda line: None, lambda: False)
    assert state is not None
    assert assert_sound(state) == 0
    summary = json.loads((tmp_path / "other" / opening.FOLDER / report.SUMMARY).read_text())
    assert summary["faults"] == {questions.ANOTHER: RUNS * ASKED}


@pytest.mark.parametrize(
    ("limit", "answered"), [({"max_calls": 3}, 3), ({"max_tokens": 300}, 2), ({"max_minutes": 1e-9}, 0)]
)
def test_a_budget_ends_questions_and_training_goes_on(limit: dict, answered: int, exp: Experiment, tmp_path: Path):
    found = one_round(exp, tmp_path, good, **limit)
    assert assert_sound(found.state) == answered
    (name,) = limit
    assert name in found.summary["ended"]
    assert "training goes on" in found.lines[-1]
    assert found.state.runs.labels is not None
    assert not found.state.runs.labels.only.any()  # with unlabelled=skip, batches hold all episodes from now on


def test_a_person_answers_all_questions_of_a_round_at_once(exp: Experiment, tmp_path: Path):
    options = {"llm": "manual", "llm_options": None}
    with critic_of(exp, tmp_path, None, **options) as between, pytest.raises(PausedError, match="paste each prompt"):
        between.work(fresh(exp), print, lambda: False)
    prompts = sorted((tmp_path / opening.FOLDER / "prompts").glob("*.md"))
    assert len(prompts) == RUNS * ASKED
    for prompt in prompts:
        request = {"messages": [{}, {"content": prompt.read_text()}]}
        (prompt.parents[1] / "replies" / prompt.name).write_text(json.dumps({"credit": credit_of(request)}))
    with critic_of(exp, tmp_path, None, **options) as between:
        state = between.work(fresh(exp), print, lambda: False)
    assert state is not None
    assert assert_sound(state) == RUNS * ASKED


def test_an_interrupt_keeps_the_answers_and_nothing_of_the_round(exp: Experiment, tmp_path: Path):
    seen: list[int] = []
    with serving(good) as server, critic_of(exp, tmp_path, server) as between:
        assert between.work(fresh(exp), print, lambda: bool(seen.append(1)) or len(seen) > 2) is None
        assert len(server.requests) == 2
        state = between.work(fresh(exp), print, lambda: False)
        assert len(server.requests) == RUNS * ASKED
    assert state is not None
    assert assert_sound(state) == RUNS * ASKED


def test_groups_and_models_that_do_not_exist_are_refused_before_training(exp: Experiment):
    with pytest.raises(UserError, match=r"all 2 runs at once, and they would be 2 groups"):
        opening.check(exp, 2)
    with pytest.raises(UserError, match=r"algo\.learner\.asking\.llm=ollama .*model"):
        opening.check(with_options(exp), 1)
    with pytest.raises(UserError, match="max_usd needs prices"):
        opening.check(with_options(exp, llm="manual", max_usd=1.0), 1)
    with pytest.raises(UserError, match=r"algo\.learner\.asking\.episodes"):
        opening.check(with_options(exp, episodes=0), 1)
