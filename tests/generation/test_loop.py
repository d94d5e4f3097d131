"""The loop with a scripted model and scripted gates: who is asked what, what is kept, and what becomes of the gate."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from scripted import fenced, function, gates

from qllm_jax.generation import evaluator, loop
from qllm_jax.generation.coder import Coder
from qllm_jax.generation.loop import Shape
from qllm_jax.generation.prompts import MESSAGES, Prompts, read
from qllm_jax.llm import transcript
from qllm_jax.llm.asking import Desk
from qllm_jax.llm.budget import Budget
from qllm_jax.llm.records import Choice, Llm, Place, Reply, Request, Try, Usage
from qllm_jax.tfcaf.static import igm as igm_gate
from qllm_jax.tfcaf.verdict import Verdict

PROMPTS = Prompts("the coder's system text", "the evaluator's system text", {name: read(name) for name in MESSAGES})
Script = Callable[[Request], str]


class Played(NamedTuple):
    requests: list[Request]
    tries: list[Try]
    choices: list[tuple[int, Choice]]
    said: list[str]
    verified: list[str]

    @property
    def best(self) -> str:
        return self.choices[-1][1].candidate.source


@pytest.fixture
def play(tmp_path: Path) -> Callable[..., Played]:
    def run(script: Script, k: int = 2, rounds: int = 1, repairs: int = 1, judged: bool = True) -> Played:
        played = Played([], [], [], [], [])

        def answer(request: Request, folder: Path, seconds: float | None) -> Reply:
            del folder, seconds
            played.requests.append(request)
            return Reply(script(request), "", "stop", Usage(1, 1, None, None), "m", "2026-06-01")

        def verify(text: str, file: str) -> Verdict:
            played.verified.append(text)
            return gates(text, file)

        with transcript.opened(tmp_path / transcript.NAME) as lines:
            desk = Desk(Llm("m", {}, answer), lines, Budget(), tmp_path, played.said.append)
            coder = Coder(desk, PROMPTS, verify, "credit", repairs, played.tries.append)
            select = evaluator.make(desk, PROMPTS, rounds) if judged else evaluator.newest
            loop.run(coder, select, Shape(k, rounds), lambda round_, choice: played.choices.append((round_, choice)))
        return played

    return run


def verdict(choice: int, igm: bool | None = None, **said: str) -> str:
    return json.dumps({"choice": choice, "reason": "r", "advice": "use distances", "igm": igm, **said})


def scripted(answers: dict[str, str]) -> Script:
    """Answers by place; a candidate that has none gets a function that says where it is from."""

    def script(request: Request) -> str:
        place = str(request.place)
        return answers.get(place, fenced(function(place)) if request.place.role == "coder" else verdict(1))

    return script


def places(played: Played) -> list[str]:
    return [str(request.place) for request in played.requests]


def test_a_round_asks_k_times_the_same_and_then_the_evaluator(play):
    played = play(scripted({}), k=3)
    coders, judge = played.requests[:3], played.requests[3]
    assert [request.place for request in coders] == [Place(1, "coder", number, 0) for number in (1, 2, 3)]
    assert {(request.system, request.user) for request in coders} == {(PROMPTS.coder, PROMPTS.messages["coder_first"])}
    assert (judge.place, judge.system) == (Place(1, "evaluator", 0, 0), PROMPTS.evaluator)
    for number in (1, 2, 3):
        assert f"## Function {number}\n" in judge.user
        assert f"round_1_candidate_{number}_try_0" in judge.user
    assert "25% of the weights are negative" in judge.user
    assert len(played.requests) == 4


def test_a_refused_function_goes_back_with_its_code_and_the_reason(play):
    answers = {
        "round_1_candidate_1_try_0": fenced(function("bad one")),
        "round_1_candidate_1_try_1": "I would rather not.",
        "round_1_candidate_1_try_2": fenced(function("mended")),
    }
    played = play(scripted(answers), k=1, repairs=2)
    first, second, third = (request.user for request in played.requests[:3])
    assert second.startswith(first)
    assert function("bad one").strip() in second
    assert "NANGRAD" in second
    assert "the gradient is nan" in second
    assert "bound what you divide by" in second
    assert "I would rather not." in third
    assert "EXTRACT" in third
    assert "bad one" not in third
    assert [tried.verdict.code for tried in played.tries] == ["NANGRAD", "EXTRACT", "OK"]
    assert played.best.strip() == function("mended").strip()


def test_repairs_are_bounded_and_what_is_left_over_is_not_shown(play):
    answers = {f"round_1_candidate_2_try_{i}": fenced(function(f"bad {i}")) for i in range(9)}
    played = play(scripted(answers), k=2, repairs=2)
    assert places(played)[1:4] == [f"round_1_candidate_2_try_{i}" for i in range(3)]
    judge = played.requests[-1]
    assert "## Function 1\n" in judge.user
    assert "## Function 2" not in judge.user


def test_a_reply_that_was_cut_off_is_not_read(play, monkeypatch):
    cut = Reply(fenced(function("half")), "", "length", Usage(1, 1, None, None), "m", "2026-06-01")
    monkeypatch.setattr("qllm_jax.generation.coder.ask", lambda desk, request: cut)
    played = play(scripted({}), k=1, repairs=0)
    assert played.tries[0].verdict.code == "EXTRACT"
    assert "cut off" in played.tries[0].verdict.problem
    assert (played.choices, played.verified) == ([], [])


def test_the_choice_is_the_next_rounds_reference_with_the_advice(play):
    played = play(scripted({"round_1_evaluator_try_0": verdict(2)}), k=2, rounds=2)
    user = next(request.user for request in played.requests if request.place == Place(2, "coder", 1, 0))
    assert "round_1_candidate_2_try_0" in user
    assert "use distances" in user
    assert "round_1_candidate_1_try_0" not in user


def test_the_best_of_all_rounds_is_kept_and_not_the_last(play):
    answers = {"round_1_evaluator_try_0": verdict(2), "round_2_evaluator_try_0": verdict(0, reason="the old one")}
    played = play(scripted({**answers, "round_3_evaluator_try_0": verdict(0)}), k=2, rounds=3)
    judge = next(request.user for request in played.requests if request.place == Place(2, "evaluator", 0, 0))
    assert "## Function 0 (the choice of earlier rounds)" in judge
    assert "round_1_candidate_2_try_0" in played.best
    assert [choice.candidate.round for _, choice in played.choices] == [1, 1, 1]


def test_a_round_in_which_nothing_passes_keeps_the_best_and_asks_no_evaluator(play):
    bad = {f"round_2_candidate_{n}_try_{i}": fenced(function(f"bad {n} {i}")) for n in (1, 2) for i in (0, 1)}
    played = play(scripted(bad), k=2, rounds=3)
    assert "round_2_evaluator_try_0" not in places(played)
    assert "round_3_evaluator_try_0" in places(played)
    user = next(request.user for request in played.requests if request.place == Place(3, "coder", 1, 0))
    assert "round_1_candidate_1_try_0" in user
    assert "use distances" in user  # the advice of round 1 still stands


def test_nothing_passes_at_all(play):
    played = play(lambda request: fenced(function(f"bad {request.place}")), k=2, rounds=2, repairs=1)
    assert played.choices == []
    assert len(played.tries) == 8
    assert not any(request.place.role == "evaluator" for request in played.requests)


def test_equal_functions_are_verified_and_shown_once(play):
    played = play(scripted({f"round_1_candidate_{n}_try_0": fenced(function("same")) for n in (1, 2, 3)}), k=3)
    judge = played.requests[-1].user
    assert judge.count("## Function") == 1
    assert len(played.verified) == 1
    assert len(played.tries) == 3


def test_the_other_signature_is_refused(play):
    other = "def QLLMNetwork(agents_q, global_state):\n    return agents_q\n"
    played = play(scripted({"round_1_candidate_1_try_0": fenced(other)}), k=1)
    assert [tried.verdict.code for tried in played.tries] == ["STATIC", "OK"]
    assert "define credit(state)" in played.requests[1].user


def test_a_function_that_leaves_no_room_for_the_header_is_refused(play):
    long = function("x" * (12 * 1024))
    played = play(scripted({"round_1_candidate_1_try_0": fenced(long)}), k=1)
    assert [tried.verdict.code for tried in played.tries] == ["STATIC", "OK"]
    assert "longer than 12 KiB" in played.requests[1].user


@pytest.mark.parametrize("unusable", ["The first.", verdict(7), "", "[1, 0]"])
def test_an_unusable_answer_is_asked_for_again_once(play, unusable: str):
    answers = {"round_1_evaluator_try_0": unusable, "round_1_evaluator_try_1": verdict(2)}
    played = play(scripted(answers), k=2)
    again = played.requests[-1]
    assert again.place == Place(1, "evaluator", 0, 1)
    assert played.requests[-2].user in again.user
    assert (unusable or "nothing") in again.user
    assert "round_1_candidate_2_try_0" in played.best


def test_after_two_unusable_answers_a_rule_decides(play):
    answers = {
        "round_1_candidate_1_try_0": fenced(function("bad")),
        "round_1_evaluator_try_0": "?",
        "round_1_evaluator_try_1": "?",
        "round_2_evaluator_try_0": "?",
        "round_2_evaluator_try_1": "?",
    }
    played = play(scripted(answers), k=2, rounds=2)
    (_, first), (_, second) = played.choices
    assert "round_1_candidate_2_try_0" in first.candidate.source  # it needed no repair
    assert first.by == "rule"
    assert "no usable answer" in first.reason
    assert second.candidate == first.candidate  # nobody said that a newer one is better
    assert any("there is no JSON object" in line for line in played.said)


def test_qllm_c_is_one_call_to_the_coder(play):
    played = play(scripted({}), k=1, rounds=1, judged=False)
    assert places(played) == ["round_1_candidate_1_try_0"]
    assert "round_1_candidate_1_try_0" in played.best


def test_without_an_evaluator_each_round_replaces_the_one_before(play):
    bad = {f"round_3_candidate_{n}_try_{i}": fenced(function(f"bad {n} {i}")) for n in (1, 2) for i in (0, 1)}
    played = play(scripted(bad), k=2, rounds=3, judged=False)
    assert [choice.candidate.round for _, choice in played.choices] == [1, 2, 2]
    assert not any(request.place.role == "evaluator" for request in played.requests)


@pytest.mark.parametrize("written", ["True", "False", None])
@pytest.mark.parametrize("decided", [True, False, None])
def test_the_gate_is_set_as_it_was_decided(play, written: str | None, decided: bool | None):
    answers = {"round_1_candidate_1_try_0": fenced(function("plain", written))}
    played = play(scripted({**answers, "round_1_evaluator_try_0": verdict(1, decided, igm_reason="why")}), k=1)
    as_written = written != "False"
    assert igm_gate.read(played.best) is (as_written if decided is None else decided)
    assert played.best in played.verified
    assert len(played.requests) == 2


def test_igm_on_and_negative_weights_go_back_to_the_coder(play):
    answers = {
        "round_1_candidate_1_try_0": fenced(function("negative", "False")),
        "round_1_evaluator_try_0": verdict(1, True, igm_reason="the reward is a sum"),
        "round_1_candidate_1_try_1": fenced(function("still negative", "False")),
        "round_1_candidate_1_try_2": fenced(function("positive", "False")),
    }
    played = play(scripted(answers), k=1, repairs=2)
    first, second = played.requests[2].user, played.requests[3].user
    assert "The reason: the reward is a sum" in first
    assert function("negative", "True").strip() in first
    assert "NONMONO" in first
    assert function("still negative", "True").strip() in second
    assert "positive" in played.best
    assert igm_gate.read(played.best)
    assert played.choices[-1][1].note == ""


def test_a_function_that_cannot_be_made_monotone_keeps_the_gate_that_it_passed_with(play):
    answers = {
        "round_1_candidate_1_try_0": fenced(function("negative", "False")),
        "round_1_evaluator_try_0": verdict(1, True, igm_reason="a sum"),
        "round_1_candidate_1_try_1": fenced(function("negative too", "False")),
        "round_2_evaluator_try_0": verdict(0, True, igm_reason="a sum"),
        "round_2_candidate_0_try_1": fenced(function("negative again", "False")),
    }
    played = play(scripted(answers), k=1, rounds=2, repairs=1)
    choice = played.choices[-1][1]
    assert igm_gate.read(choice.candidate.source) is False
    assert choice.note == "the evaluator wanted it on (a sum), but the function could not be made to pass with it"
    assert places(played)[2] == "round_1_candidate_1_try_1"
    assert places(played)[-1] == "round_2_candidate_0_try_1"
