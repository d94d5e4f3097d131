"""The chosen file: setting its gate changes nothing else, and the model's words stay in comments of the header."""

import ast

import pytest

from qllm_jax.generation import source
from qllm_jax.generation.types import Attempt, Candidate, Choice, RequestId
from qllm_jax.llm.types import Reply, Usage
from qllm_jax.tfcaf.static import check
from qllm_jax.tfcaf.static import igm as igm_gate
from qllm_jax.tfcaf.static.text import MAX_BYTES
from qllm_jax.tfcaf.verdict import Verdict

BODY = 'def credit(state):\n    """IGM = True\nIGM = True"""\n    return state["w"], 0.0\n'
TEXTS = {
    "plain": ("IGM = True\n\n" + BODY, True),
    "off": ("IGM = False  # because\n\n" + BODY, False),
    "absent": ("import jax\n\n\n" + BODY, True),
    "odd_spaces": ("IGM   =   (False)\n" + BODY, False),
    "annotated": ("IGM: bool = False\n" + BODY, False),
    "after_the_function": (BODY + "IGM = False\n", False),
    "after_another": ("CLOSE = 'é'; IGM = False\n" + BODY, False),
    "paper": (
        "def helper(x):\n    return x\n\n\ndef QLLMNetwork(agents_q, global_state):\n    return agents_q\n",
        True,
    ),
}


def functions(text: str) -> list[str]:
    return [ast.unparse(node) for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]


@pytest.mark.parametrize(("text", "igm"), TEXTS.values(), ids=TEXTS.keys())
def test_the_gate_is_read_and_set_and_the_function_stays(text: str, igm: bool):
    assert igm_gate.read(text) is igm
    for value in (True, False):
        changed = igm_gate.write(text, value)
        assert igm_gate.read(changed) is value
        assert igm_gate.write(changed, igm_gate.read(changed)) == changed
        functions = lambda text: [
            ast.unparse(node) for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)
        ]
        assert functions(changed) == functions(text)
        assert len(changed.split("\n")) - len(text.split("\n")) in (0, 3)


def test_the_gate_that_is_read_is_the_one_that_is_checked():
    for text in ("IGM = True\n" + BODY, "IGM = False\n" + BODY, BODY):
        assert check.check(text, "f").igm is igm_gate.read(text)


def test_the_signature_is_told_by_the_function():
    assert source.signature(BODY) == "credit"
    assert source.signature(TEXTS["paper"][0]) == "paper"


def chosen(text: str = BODY, model: str = "m", reason: str = "r", igm_reason: str = "i", note: str = "") -> Choice:
    reply = Reply("", "", None, Usage(None, None, None, None), model, "2026-06-01")
    tried = Attempt(RequestId(2, "coder", 1, 1), reply, text, Verdict("OK", "L8", "", None, "", "", {}))
    return Choice(Candidate(2, 1, (tried,)), "the evaluator", reason, igm_reason=igm_reason, note=note)


def test_the_header_says_who_when_and_why():
    assert source.compose(chosen(), "mpe_spread, 3 agents", "abc") == (
        "# A credit function (TFCAF) for mpe_spread, 3 agents, written by a language model.\n"
        "# Model: m\n"
        "# Date: 2026-06-01, round_2_candidate_1_try_1 of qllm_jax.generate.\n"
        "# Prompts: sha256 abc.\n"
        "# Chosen by the evaluator: r\n"
        "# IGM on: i\n"
        "\n" + BODY
    )
    assert "# Prompts: sha256 abc, with hints=paper.\n" in source.compose(chosen(), "t", "abc", "paper")
    unexplained = source.compose(chosen("IGM = False\n" + BODY, igm_reason=""), "t", "abc")
    assert "# IGM off: as its author set it\n" in unexplained
    assert "# IGM off: but\n" in source.compose(chosen("IGM = False\n" + BODY, note="but"), "t", "abc")


@pytest.mark.parametrize(
    "evil", ["a\nimport os", "a\r\nimport os", "a\u2028import os\x0b\x0cb", "\x00", "\U0001f600" * 9999, ""]
)
def test_no_words_of_a_model_get_out_of_the_header(evil: str):
    text = source.compose(chosen(reason=evil, igm_reason=evil, model=evil), "t", "0" * 64)
    head = text.partition("\n\n")[0]
    assert all(line.startswith("# ") and line.isprintable() and len(line) <= 120 for line in head.split("\n"))
    assert ast.unparse(ast.parse(text)) == ast.unparse(ast.parse(BODY))
    assert len(text.encode()) - len(BODY.encode()) < source.HEADER_BYTES <= MAX_BYTES / 4
    check.check(text, "f")
