"""Verdicts of attempts: stored in the transcript, and each text verified once."""

from pathlib import Path

import pytest
from scripted import fenced, function, gates, reply

from qllm_jax.generation import attempts
from qllm_jax.generation.types import RequestId
from qllm_jax.llm import transcript
from qllm_jax.tfcaf.verdict import Verdict, sha256

VERDICT = Verdict("SHAPE", "L6", "of shape (3,)", 4, "sum", sha256("src"), {"shape": (3,), "weights": {"min": 0.5}})
READ_BACK = VERDICT._replace(report={"shape": [3], "weights": {"min": 0.5}})  # JSON has no tuples


def test_a_verdict_is_found_by_its_text(tmp_path: Path):
    with transcript.opened(tmp_path / transcript.NAME) as lines:
        transcript.append(lines, "start", settings={})
        attempts.add_verdict(lines, "src", VERDICT)
    with transcript.opened(tmp_path / transcript.NAME) as lines:
        assert attempts.find_verdict(lines, "src") == READ_BACK
        assert attempts.find_verdict(lines, "src ") is None


def test_a_text_is_verified_once_and_the_first_answer_is_as_the_stored_one(tmp_path: Path):
    verified = []
    with transcript.opened(tmp_path / transcript.NAME) as lines:
        verify = attempts.recorded(lambda source, file: verified.append((source, file)) or VERDICT, lines)
        assert verify("src", "a.py") == verify("src", "b.py") == READ_BACK
    assert verified == [("src", "a.py")]


@pytest.mark.parametrize(
    ("reasoning", "finish", "problem"),
    [
        ("", "content_filter", "a filter of the server has removed the reply (finish_reason content_filter)"),
        ("hm " * 500, "stop", "the reply is empty after 1,500 characters of reasoning: the server may take the answer"),
        ("", "stop", "the reply is empty"),
    ],
)
def test_a_reply_without_text_is_refused_with_the_reason_that_the_server_gives(reasoning, finish, problem):
    found = attempts.examine(gates, "credit", RequestId(1, "coder", 1, 0), reply(" ", reasoning, finish), None)
    assert found.verdict.code == "EXTRACT"
    assert found.verdict.problem.startswith(problem)


@pytest.mark.parametrize(("wanted", "returned", "code"), [(True, 1, "SHAPE"), (False, 3, "SHAPE"), (True, 3, "OK")])
def test_factors_are_refused_where_credit_was_asked_for_and_the_other_way_round(wanted: bool, returned: int, code: str):
    passed = Verdict("OK", "L8", "", None, "", sha256("src"), {"credit": {"factors": returned}})
    found = attempts.with_factors(lambda source, file: passed, wanted)("src", "a.py")
    assert found.code == code
    if code != "OK":
        assert found.problem == (
            "the function returns credit and not factors" if wanted else "the function returns factors"
        )
    refused = attempts.with_factors(lambda source, file: VERDICT, wanted)("src", "a.py")
    assert refused == VERDICT


def test_of_several_functions_in_a_reply_the_last_that_passes_counts():
    texts = [function("first"), function("second"), function("bad third")]
    for given, expected in ((texts, texts[1]), (texts[::-1], texts[0]), (texts[2:], texts[2])):
        answer = reply("".join(map(fenced, given)))
        found = attempts.examine(gates, "credit", RequestId(1, "coder", 1, 0), answer, None)
        assert found.source == expected


def test_a_function_that_leaves_no_room_for_the_header_gives_way_to_the_one_before():
    texts = [function("fits"), function("x" * (12 * 1024))]
    answer = reply("".join(map(fenced, texts)))
    found = attempts.examine(gates, "credit", RequestId(1, "coder", 1, 0), answer, None)
    assert (found.source, found.verdict.code) == (texts[0], "OK")
