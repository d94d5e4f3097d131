"""Answers of an evaluator: the JSON object is found in any surrounding text, or the problem is one sentence."""

import json
from typing import Any

import pytest

from qllm_jax.generation.evaluator import parse
from qllm_jax.generation.types import Candidate

SHOWN = {number: Candidate(1, number, ()) for number in (0, 1, 3)}
FULL = {"choice": 3, "reason": "r", "advice": "a", "igm": False, "igm_reason": "i"}


def answer(**changes: Any) -> str:
    return json.dumps(FULL | changes)


USABLE = {
    "plain": answer(),
    "fenced": f"```json\n{answer()}\n```",
    "prose_around": f"I compared {{all}} of them, f(x) = {{x: 1}}.\n{answer()}\nGood luck {{!",
    "draft_first": f"{answer(choice=1)} No, rather: {answer()}",
    "nested": json.dumps({"scores": {"choice": "x"}, **FULL}),
    "number_as_text": answer(choice="3"),
    "number_with_name": answer(choice="Function 3"),
    "line_breaks_in_strings": answer(reason="r").replace('"r"', '"\n r\n"'),
    "other_keys": answer(confidence=0.9),
    "number_as_float": answer(choice=3.0),
    "number_with_name_and_round": answer(choice="Function 3 (round 1)"),
    "one_level_down": json.dumps({"result": FULL}),
    "trailing_comma": answer().replace("}", ",\n}"),
    "literals_of_python": answer().replace("false", "False"),
}


@pytest.mark.parametrize("text", USABLE.values(), ids=USABLE.keys())
def test_usable_answers(text: str):
    choice, problem = parse(text, SHOWN)
    assert problem == ""
    assert choice is not None
    assert choice.candidate is SHOWN[3]
    assert (choice.by, choice.reason, choice.advice) == ("the evaluator", "r", "a")
    assert (choice.igm, choice.igm_reason) == (False, "i")


UNUSABLE = {
    "empty": ("", 'there is no JSON object with the key "choice"'),
    "prose": ("The third one is best.", 'there is no JSON object with the key "choice"'),
    "the_papers_list": ("[0, 0, 1]", 'there is no JSON object with the key "choice"'),
    "cut_off": (answer()[:20], 'the object with the key "choice" is no valid JSON'),
    "comments": (answer().replace("{", "{ // my choice\n"), 'the object with the key "choice" is no valid JSON'),
    "not_shown": (answer(choice=2), "choice is 2, which is none of the numbers 0, 1, 3"),
    "none": (answer(choice=None), "choice is None, which is none of the numbers 0, 1, 3"),
    "true": (answer(choice=True), "choice is True, which is none of"),
    "two": (answer(choice="1 or 3"), "choice is '1 or 3', which is none of"),
    "list": (answer(choice=[3]), "choice is [3], which is none of"),
    "deep_choice": (answer(choice=0).replace("0", "[" * 900 + "]" * 900, 1), "choice is "),
    "long_number": (answer(choice=0).replace("0", "9" * 9000, 1), "choice is None, which is none of"),
    "control_characters": (answer(choice="\x1b[2J\u202e"), "choice is '\\x1b[2J\\u202e', which is none of"),
    "deep": ('{"a":' * 100_000, 'there is no JSON object with the key "choice"'),
}


@pytest.mark.parametrize(("text", "sentence"), UNUSABLE.values(), ids=UNUSABLE.keys())
def test_unusable_answers(text: str, sentence: str):
    choice, problem = parse(text, SHOWN)
    assert choice is None
    assert problem.startswith(sentence)
    assert problem.isprintable()
    assert len(problem) < 300


@pytest.mark.parametrize(
    ("igm", "decided"),
    [(True, True), ("on", True), ("yes", True), ("IGM on", True), ("True.", True), ("False", False), ("OFF", False),
     (None, None), ("maybe", None), ("not on", None), (1, None)],
)  # fmt: skip
def test_the_gate_is_parsed_leniently_and_unchanged_without_a_decision(igm: Any, decided: bool | None):
    choice, _ = parse(answer(igm=igm), SHOWN)
    assert choice is not None
    assert choice.igm is decided
    assert choice.igm_reason == ("" if decided is None else "i")
    is_unclear = decided is None and igm is not None
    unclear = f"as its author set it: the evaluator's igm, {igm!r}, is neither true nor false"
    assert choice.note == (unclear if is_unclear else "")


def test_words_of_another_shape_are_no_words():
    deep = "[" * 900 + "]" * 900
    text = f'{{"choice": 3, "reason": {deep}, "advice": ["a", "b"], "igm": {deep}, "igm_reason": 3}}'
    choice, _ = parse(text, SHOWN)
    assert choice is not None
    assert (choice.reason, choice.advice, choice.igm, choice.igm_reason) == ("", "a b", None, "")


def test_words_are_kept_on_one_line_and_short():
    choice, _ = parse(json.dumps({"choice": 1, "reason": "a\x1b[2J\n\u2028b", "advice": "x" * 9999}), SHOWN)
    assert choice is not None
    assert choice.reason == "a [2J b"
    assert len(choice.advice) < 2100
    assert (choice.igm, choice.igm_reason) == (None, "")
