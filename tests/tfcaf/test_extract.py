"""L0: the function in a reply, and the reasoning that is split off it."""

import ast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tfcaf.candidates.replies import CODE, REPLIES, extract

from qllm_jax.tfcaf import TfcafError
from qllm_jax.tfcaf.static import syntax
from qllm_jax.tfcaf.static.check import check
from qllm_jax.tfcaf.static.extract import split_reasoning
from qllm_jax.tfcaf.verdict import Verdict


@pytest.mark.parametrize(("reply", "code"), REPLIES.values(), ids=REPLIES.keys())
def test_extraction(reply: str, code: str):
    found = extract(reply)
    if isinstance(found, Verdict):
        assert (found.code, found.layer, code) == ("EXTRACT", "L0", "EXTRACT")
        assert found.problem in found.feedback()
    elif code == "OK":
        assert ast.dump(syntax.parse(found, "f")) == ast.dump(syntax.parse(CODE, "f"))  # the program, and nothing else
        assert check(found, "f").entry == "credit"
    else:
        with pytest.raises(TfcafError) as caught:
            check(found, "f")
        assert caught.value.code == code


TASKS = "TASKS = 2\n\n\ndef assign(state):\n    return jnp.zeros(3, int)\n"


@pytest.mark.parametrize("code", [CODE, TASKS], ids=["value", "task"])
def test_functions_of_every_kind_are_found_alike(code: str):
    entry = code[code.index("def ") :].split(":")[0]
    assert extract(f"```python\n{code}") == code  # never closed, and complete
    assert extract(f"```python\n{code}```\nLater:\n```python\n{entry}:\n    ...\n```\n") == code
    quoted = code.replace(":\n    return", ':\n    """Not <think> about it."""\n    return')
    assert extract(f"```python\n{quoted}```\n") == quoted


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("code", ("", "code", False)),
        ("<think>a</think>co<Thinking>b</THINKING>de", ("a\nb", "code", False)),
        ("a draft</reasoning>code", ("a draft", "code", False)),
        ("co<think>a</think>de</think>f", ("a\ncode", "f", False)),
        ("<think>a<think>b</think>c</think>code", ("a<think>b\nc", "code", False)),
        ("code<think> a draft ", ("a draft", "code", True)),
        ("<think>\n</think>code", ("", "code", False)),
    ],
)
def test_reasoning_is_split_off(text: str, parts: tuple[str, str, bool]):
    assert split_reasoning(text) == parts


def test_a_reply_that_was_cut_off_is_said_so():
    found = extract(CODE, truncated=True)
    assert isinstance(found, Verdict)
    assert "cut off" in found.problem


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.sampled_from(["```", "```python\n", "~~~", "<think>", "</think>", CODE, "def f(", "\n", "x", "{", "  "])
    )
)
def test_extraction_never_raises(parts: list[str]):
    assert isinstance(extract("".join(parts)), str | Verdict)
