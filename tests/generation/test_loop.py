"""The loop with a scripted model and scripted gates: requests, choices, and the IGM gate of the choice."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from scripted import PROMPTS, fenced, function, gates, reply

from qllm_jax.generation import attempts, evaluator, loop
from qllm_jax.generation.coder import Coder
from qllm_jax.generation.types import Attempt, Choice, RequestId
from qllm_jax.llm import transcript
from qllm_jax.llm.client import Budget, Client
from qllm_jax.llm.types import Llm, NoAnswerError, Reply, Request, StoppedError
from qllm_jax.tfcaf.static import igm as igm_gate
from qllm_jax.tfcaf.verdict import Verdict

Script = Callable[[Request], str]


class History(NamedTuple):
    requests: list[Request]
    attempts: list[Attempt]
    choices: list[tuple[int, Choice]]
    logged: list[str]
    verified: list[str]

    @property
    def best(self) -> str:
        return self.choices[-1][1].candidate.source


@pytest.fixture
def run_loop(tmp_path: Path) -> Callable[..., History]:
    def run(script: Script, k: int = 2, rounds: int = 1, repairs: int = 1, judged: bool = True,
            choices: list[tuple[int, Choice]] | None = None) -> History:  # fmt: skip
        history = History([], [], [] if choices is None else choices, [], [])

        def answer(request: Request, folder: Path, seconds: float | None) -> Reply:
            del folder, seconds
            history.requests.append(request)
            return reply(script(request))

        def verify(text: str, file: str) -> Verdict:
            history.verified.append(text)
            return gates(text, file)

        with transcript.opened(tmp_path / transcript.NAME) as lines:
            client = Client(Llm("m", {}, answer), lines, Budget(), tmp_path, history.logged.append)
            gated = attempts.recorded(verify, lines)
            coder = Coder(client, PROMPTS, gated, "credit", repairs, history.attempts.append)
            select = evaluator.make(client, PROMPTS, rounds) if judged else evaluator.newest
            loop.run(coder, select, k, rounds, lambda round_, choice: history.choices.append((round_, choice)))
        return history

    return run


def verdict(choice: int, igm: bool | None = None, **more: str) -> str:
    return json.dumps({"choice": choice, "reason": "r", "advice": "use distances", "igm": igm, **more})


def scripted(answers: dict[str, str]) -> Script:
    """Answers by request ID; a candidate without one gets a function that names its request."""

    def script(request: Request) -> str:
        name = str(request.id)
        return answers.get(name, fenced(function(name)) if request.id[1] == "coder" else verdict(1))

    return script


def ids(history: History) -> list[str]:
    return [str(request.id) for request in history.requests]


def test_a_round_asks_k_times_the_same_and_then_the_evaluator(run_loop):
    history = run_loop(scripted({}), k=3)
    coders, judge = history.requests[:3], history.requests[3]
    assert [request.id for request in coders] == [RequestId(1, "coder", number, 0) for number in (1, 2, 3)]
    assert {(request.system, request.user) for request in coders} == {(PROMPTS.coder, PROMPTS.messages["coder_first"])}
    assert (judge.id, judge.system) == (RequestId(1, "evaluator", 0, 0), PROMPTS.evaluator)
    for number in (1, 2, 3):
        assert f"## Function {number}\n" in judge.user
        assert f"round_1_candidate_{number}_try_0" in judge.user
    assert "25% of the weights are negative" in judge.user
    assert len(history.requests) == 4


def test_a_refused_function_goes_back_with_its_code_and_the_reason(run_loop):
    answers = {
        "round_1_candidate_1_try_0": fenced(function("bad one")),
        "round_1_candidate_1_try_1": "I would rather not.",
        "round_1_candidate_1_try_2": fenced(function("mended")),
    }
    history = run_loop(scripted(answers), k=1, repairs=2)
    first, second, third = (request.user for request in history.requests[:3])
    assert second.startswith(first)
    assert function("bad one").strip() in second
    assert "NANGRAD" in second
    assert "the gradient is nan" in second
    assert "bound what you divide by" in second
    assert "I would rather not." in third
    assert "EXTRACT" in third
    assert "bad one" not in third
    assert [attempt.verdict.code for attempt in history.attempts] == ["NANGRAD", "EXTRACT", "OK"]
    assert history.best.strip() == function("mended").strip()


def test_repairs_are_bounded_and_what_is_left_over_is_not_shown(run_loop):
    answers = {f"round_1_candidate_2_try_{i}": fenced(function(f"bad {i}")) for i in range(9)}
    history = run_loop(scripted(answers), k=2, repairs=2)
    assert ids(history)[1:4] == [f"round_1_candidate_2_try_{i}" for i in range(3)]
    judge = history.requests[-1]
    assert "## Function 1\n" in judge.user
    assert "## Function 2" not in judge.user


def test_a_reply_that_was_cut_off_is_not_read(run_loop, monkeypatch):
    cut = reply(fenced(function("half")), finish="length")
    monkeypatch.setattr("qllm_jax.generation.coder.ask", lambda client, request: cut)
    history = run_loop(scripted({}), k=1, repairs=0)
    assert history.attempts[0].verdict.code == "EXTRACT"
    assert "cut off" in history.attempts[0].verdict.problem
    assert (history.choices, history.verified) == ([], [])


def refusing(names: set[str], answers: dict[str, str]) -> Script:
    """`scripted`, on a server that refuses some requests for what is in them."""

    def script(request: Request) -> str:
        if str(request.id) in names:
            raise NoAnswerError("the server refuses the request (HTTP 400: too long)", transient=False, of_request=True)
        return scripted(answers)(request)

    return script


def test_a_repair_that_the_server_refuses_ends_the_repairs_of_its_candidate(run_loop):
    bad = {"round_1_candidate_1_try_0": fenced(function("bad"))}
    bad["round_1_evaluator_try_0"] = verdict(2)
    history = run_loop(refusing({"round_1_candidate_1_try_1"}, bad), k=2, repairs=3)
    assert [attempt.verdict.code for attempt in history.attempts] == ["NANGRAD", "OK"]
    assert "## Function 1" not in history.requests[-1].user
    assert "round_1_candidate_2_try_0" in history.best
    assert history.logged == ["round_1_candidate_1_try_1: the server refuses the request (HTTP 400: too long)"]


def test_an_assignment_that_the_server_refuses_stops(run_loop):
    with pytest.raises(StoppedError, match="HTTP 400"):
        run_loop(refusing({"round_1_candidate_1_try_0"}, {}), k=2)


def test_a_rule_decides_where_the_server_refuses_to_show_the_functions_to_the_evaluator(run_loop):
    history = run_loop(refusing({"round_1_evaluator_try_0"}, {}), k=2)
    (choice,) = [choice for _, choice in history.choices]
    assert choice.reason.endswith("gave no usable answer (the server refuses the request (HTTP 400: too long))")


def test_a_stop_before_the_first_choice_takes_the_function_with_the_fewest_repairs(run_loop):
    bad = {f"round_1_candidate_1_try_{i}": fenced(function(f"bad {i}")) for i in (0, 1)}
    history = run_loop(scripted(bad), k=2, repairs=2)
    chosen = loop.best_when_stopped(None, history.attempts)
    assert chosen is not None
    assert str(chosen.candidate.last.id) == "round_1_candidate_2_try_0"
    assert chosen.reason.endswith("with the fewest repairs; it stopped before a choice was made")
    assert loop.best_when_stopped(None, history.attempts[:2]) is None
    assert loop.best_when_stopped(None, history.attempts, lambda pool: None) == chosen
    first = loop.best_when_stopped(None, history.attempts, lambda pool: Choice(pool.new[0], "rule", "trained"))
    assert first is not None
    assert len(first.candidate.attempts) == 3


def test_the_choice_is_the_next_rounds_reference_with_the_advice(run_loop):
    history = run_loop(scripted({"round_1_evaluator_try_0": verdict(2)}), k=2, rounds=2)
    user = next(request.user for request in history.requests if request.id == RequestId(2, "coder", 1, 0))
    assert "round_1_candidate_2_try_0" in user
    assert "use distances" in user
    assert "round_1_candidate_1_try_0" not in user


def test_the_best_of_all_rounds_is_kept_and_not_the_last(run_loop):
    answers = {"round_1_evaluator_try_0": verdict(2), "round_2_evaluator_try_0": verdict(0, reason="the old one")}
    history = run_loop(scripted({**answers, "round_3_evaluator_try_0": verdict(0)}), k=2, rounds=3)
    judge = next(request.user for request in history.requests if request.id == RequestId(2, "evaluator", 0, 0))
    assert "## Function 0 (the choice of earlier rounds)" in judge
    assert "round_1_candidate_2_try_0" in history.best
    assert [choice.candidate.round for _, choice in history.choices] == [1, 1, 1]


def test_a_round_in_which_nothing_passes_keeps_the_best_and_asks_no_evaluator(run_loop):
    bad = {f"round_2_candidate_{n}_try_{i}": fenced(function(f"bad {n} {i}")) for n in (1, 2) for i in (0, 1)}
    history = run_loop(scripted(bad), k=2, rounds=3)
    assert "round_2_evaluator_try_0" not in ids(history)
    assert "round_3_evaluator_try_0" in ids(history)
    user = next(request.user for request in history.requests if request.id == RequestId(3, "coder", 1, 0))
    assert "round_1_candidate_1_try_0" in user
    assert "use distances" in user  # the advice of round 1 still stands


def test_nothing_passes_at_all(run_loop):
    history = run_loop(lambda request: fenced(function(f"bad {request.id}")), k=2, rounds=2, repairs=1)
    assert history.choices == []
    assert len(history.attempts) == 8
    assert not any(request.id.role == "evaluator" for request in history.requests)


def test_equal_functions_are_verified_and_shown_once(run_loop):
    history = run_loop(scripted({f"round_1_candidate_{n}_try_0": fenced(function("same")) for n in (1, 2, 3)}), k=3)
    judge = history.requests[-1].user
    assert judge.count("## Function") == 1
    assert len(history.verified) == 1
    assert len(history.attempts) == 3


def test_the_other_signature_is_refused(run_loop):
    other = "def QLLMNetwork(agents_q, global_state):\n    return agents_q\n"
    history = run_loop(scripted({"round_1_candidate_1_try_0": fenced(other)}), k=1)
    assert [attempt.verdict.code for attempt in history.attempts] == ["STATIC", "OK"]
    assert "define credit(state)" in history.requests[1].user


def test_a_function_that_leaves_no_room_for_the_header_is_refused(run_loop):
    long = function("x" * (12 * 1024))
    history = run_loop(scripted({"round_1_candidate_1_try_0": fenced(long)}), k=1)
    assert [attempt.verdict.code for attempt in history.attempts] == ["STATIC", "OK"]
    assert "longer than 12 KiB" in history.requests[1].user


@pytest.mark.parametrize("unusable", ["The first.", verdict(7), "", "[1, 0]"])
def test_an_unusable_answer_is_asked_for_again_once(run_loop, unusable: str):
    answers = {"round_1_evaluator_try_0": unusable, "round_1_evaluator_try_1": verdict(2)}
    history = run_loop(scripted(answers), k=2)
    again = history.requests[-1]
    assert again.id == RequestId(1, "evaluator", 0, 1)
    assert history.requests[-2].user in again.user
    assert (unusable or "nothing") in again.user
    assert "round_1_candidate_2_try_0" in history.best


def test_after_two_unusable_answers_a_rule_decides(run_loop):
    answers = {
        "round_1_candidate_1_try_0": fenced(function("bad")),
        "round_1_evaluator_try_0": "?",
        "round_1_evaluator_try_1": "?",
        "round_2_evaluator_try_0": "?",
        "round_2_evaluator_try_1": "?",
    }
    history = run_loop(scripted(answers), k=2, rounds=2)
    (_, first), (_, second) = history.choices
    assert "round_1_candidate_2_try_0" in first.candidate.source  # it needed no repair
    assert first.by == "rule"
    assert "no usable answer" in first.reason
    assert second.candidate == first.candidate  # no answer calls a newer one better
    assert any("there is no JSON object" in line for line in history.logged)


def test_qllm_c_is_one_call_to_the_coder(run_loop):
    history = run_loop(scripted({}), k=1, rounds=1, judged=False)
    assert ids(history) == ["round_1_candidate_1_try_0"]
    assert "round_1_candidate_1_try_0" in history.best


def test_without_an_evaluator_each_round_replaces_the_one_before(run_loop):
    bad = {f"round_3_candidate_{n}_try_{i}": fenced(function(f"bad {n} {i}")) for n in (1, 2) for i in (0, 1)}
    history = run_loop(scripted(bad), k=2, rounds=3, judged=False)
    assert [choice.candidate.round for _, choice in history.choices] == [1, 2, 2]
    assert not any(request.id.role == "evaluator" for request in history.requests)


@pytest.mark.parametrize("written", ["True", "False", None])
@pytest.mark.parametrize("decided", [True, False, None])
def test_the_gate_is_set_as_it_was_decided(run_loop, written: str | None, decided: bool | None):
    answers = {"round_1_candidate_1_try_0": fenced(function("plain", written))}
    history = run_loop(scripted({**answers, "round_1_evaluator_try_0": verdict(1, decided, igm_reason="why")}), k=1)
    as_written = written != "False"
    assert igm_gate.read(history.best) is (as_written if decided is None else decided)
    assert history.best in history.verified
    assert len(history.requests) == 2


def test_igm_on_and_negative_weights_go_back_to_the_coder(run_loop):
    answers = {
        "round_1_candidate_1_try_0": fenced(function("negative", "False")),
        "round_1_evaluator_try_0": verdict(1, True, igm_reason="the reward is a sum"),
        "round_1_candidate_1_try_1": fenced(function("still negative", "False")),
        "round_1_candidate_1_try_2": fenced(function("positive", "False")),
    }
    history = run_loop(scripted(answers), k=1, repairs=2)
    first, second = history.requests[2].user, history.requests[3].user
    assert "The reason: the reward is a sum" in first
    assert function("negative", "True").strip() in first
    assert "NONMONO" in first
    assert function("still negative", "True").strip() in second
    assert "positive" in history.best
    assert igm_gate.read(history.best)
    assert history.choices[-1][1].note == ""


def test_a_stop_while_the_gate_is_set_keeps_the_evaluators_choice(run_loop):
    def script(request: Request) -> str:
        if str(request.id) == "round_1_candidate_2_try_1":  # the rewrite
            raise StoppedError("max_calls=3 is reached")
        answers = {"round_1_candidate_2_try_0": fenced(function("negative", "False"))}
        return scripted({**answers, "round_1_evaluator_try_0": verdict(2, True, igm_reason="a sum")})(request)

    choices: list[tuple[int, Choice]] = []
    with pytest.raises(StoppedError):
        run_loop(script, choices=choices)
    ((round_, choice),) = choices
    assert (round_, choice.candidate.number, choice.by, choice.reason) == (1, 2, "the evaluator", "r")
    assert igm_gate.read(choice.candidate.source) is False
    assert choice.note == "the generation stopped before the gate was as the evaluator wanted it"


def test_a_function_that_cannot_be_made_monotone_keeps_the_gate_that_it_passed_with(run_loop):
    answers = {
        "round_1_candidate_1_try_0": fenced(function("negative", "False")),
        "round_1_evaluator_try_0": verdict(1, True, igm_reason="a sum"),
        "round_1_candidate_1_try_1": fenced(function("negative too", "False")),
        "round_2_evaluator_try_0": verdict(0, True, igm_reason="a sum"),
        "round_2_candidate_0_try_1": fenced(function("negative again", "False")),
    }
    history = run_loop(scripted(answers), k=1, rounds=2, repairs=1)
    choice = history.choices[-1][1]
    assert igm_gate.read(choice.candidate.source) is False
    assert choice.note == "the evaluator wanted it on (a sum), but the function could not be made to pass with it"
    assert ids(history)[2] == "round_1_candidate_1_try_1"
    assert ids(history)[-1] == "round_2_candidate_0_try_1"
