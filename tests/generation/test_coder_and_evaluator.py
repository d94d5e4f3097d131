"""Coder and evaluator without the loop: what a request quotes of an answer, and which attempt of a candidate counts."""

from pathlib import Path
from typing import Any

from scripted import PROMPTS, fenced, function, gates, reply

from qllm_jax.generation import coder as coders
from qllm_jax.generation import evaluator, loop
from qllm_jax.generation.archive import SAME_TREE
from qllm_jax.generation.coder import Coder
from qllm_jax.generation.types import Attempt, Candidate, Choice, Likeness, Pool, RequestId
from qllm_jax.llm import transcript
from qllm_jax.llm.client import Budget, Client
from qllm_jax.llm.types import Llm, Reply, Request
from qllm_jax.tfcaf.verdict import Verdict


class Scripted:
    """A model that gives `answers` in turn, the last for ever, and its requests."""

    def __init__(self, folder: Path, lines: transcript.Transcript, *answers: str, finish: str = "stop") -> None:
        self.requests: list[Request] = []

        def answer(request: Request, folder: Path, seconds: float | None) -> Reply:
            del folder, seconds
            text = answers[min(len(self.requests), len(answers) - 1)]
            self.requests.append(request)
            return reply(text, finish=finish)

        self.client = Client(Llm("m", {}, answer), lines, Budget(), folder, lambda line: None)


def written(source: str, try_: int = 0, **changes: Any) -> Attempt:
    passed = Verdict("OK", "L8", "", None, "", "", {})
    return Attempt(RequestId(1, "coder", 1, try_), reply(), source, passed)._replace(**changes)


def test_a_long_reply_and_a_long_answer_are_shown_in_part(tmp_path: Path):
    with transcript.opened(tmp_path / transcript.NAME) as lines:
        model = Scripted(tmp_path, lines, "I would rather not. " * 10_000, fenced(function("good")), "?" * 100_000)
        coder = Coder(model.client, PROMPTS, gates, "credit", 1, lambda attempt: None)
        (candidate,) = coders.write_candidates(coder, 1, 1, "Write.")
        assert 30_000 < len(model.requests[1].user) < 40_000
        evaluator.make(model.client, PROMPTS, 1)(Pool(1, None, (candidate,)))
        assert 8_000 < len(model.requests[3].user) < 10_000


def test_an_answer_of_the_evaluator_that_was_cut_off_is_said_so(tmp_path: Path):
    with transcript.opened(tmp_path / transcript.NAME) as lines:
        model = Scripted(tmp_path, lines, '{"choice": 1, "reason": "it ', finish="length")
        evaluator.make(model.client, PROMPTS, 1)(Pool(1, None, (Candidate(1, 1, (written(function("a")),)),)))
    assert "the answer was cut off at a limit on tokens; " in model.requests[1].user


def test_a_function_that_is_rewritten_for_its_gate_may_repeat_the_chosen_one(tmp_path: Path):
    with transcript.opened(tmp_path / transcript.NAME) as lines:
        model = Scripted(tmp_path, lines, fenced(function("positive")))
        judge = lambda attempt: attempt._replace(like=Likeness("round_1_candidate_1_try_0", SAME_TREE))
        coder = Coder(model.client, PROMPTS, gates, "credit", 3, lambda attempt: None, judge)
        candidate = Candidate(1, 1, (written(function("negative", "False")),))
        found = coders.set_igm(coder, 1, Choice(candidate, "the evaluator", "r", igm=True))
    assert len(model.requests) == 1
    assert (found.candidate.last.like, found.note) == (None, "")


def test_of_a_stopped_candidate_the_last_attempt_that_passed_counts():
    first = written(function("old"), like=Likeness("round_1_candidate_2_try_0", SAME_TREE))
    refused = written(function("bad"), 2, verdict=gates("bad", ""))
    chosen = loop.best_when_stopped(None, [first, written(function("new"), 1), refused])
    assert chosen is not None
    assert chosen.candidate.source == function("new")
