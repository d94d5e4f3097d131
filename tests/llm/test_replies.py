"""Bodies of chat completions as servers send them: text, reasoning and usage are found, or a sentence says why not."""

import json
import time
from typing import Any

import pytest
from chat_server import completion

from qllm_jax.llm import replies
from qllm_jax.llm.types import NoAnswerError, Usage


def read(text: Any, **fields: Any):
    return replies.parse(str(completion(text, **fields).body), "asked-for")


MESSAGES = {
    "plain": ("code", {}, "code", ""),
    "deepseek_and_llama_cpp": ("code", {"reasoning_content": "hm"}, "code", "hm"),
    "vllm_and_openrouter": ("code", {"reasoning": "hm"}, "code", "hm"),
    "the_same_twice": ("code", {"reasoning": "hm", "reasoning_content": "hm"}, "code", "hm"),
    "think_tags": ("<think>a draft\n```python\nbad\n```</think>\n\ncode", {}, "code", "a draft\n```python\nbad\n```"),
    "two_thoughts": ("<think>a</think>co<think>b</think>de", {}, "code", "a\nb"),
    "opening_tag_in_the_prompt": ("a draft</think>code", {}, "code", "a draft"),
    "thought_that_was_cut_off": ("<think>a draft", {}, "", "a draft"),
    "empty_thought": ("<think>\n</think>code", {}, "code", ""),
    "mistral_chunks": (
        [
            {"type": "thinking", "thinking": [{"type": "text", "text": "h"}, {"type": "text", "text": "m"}]},
            {"type": "text", "text": "co"},
            {"type": "thinking", "thinking": "!"},
            {"type": "text", "text": "de"},
        ],
        {}, "code", "hm!",
    ),
    "list_of_strings": (["co", "de"], {}, "code", ""),
    "chunks_of_no_known_kind": ([{"type": "image"}, {"text": 3}, None, 7], {}, "", ""),
    "none": (None, {}, "", ""),
    "none_with_reasoning": (None, {"reasoning_content": "hm"}, "", "hm"),
    "refusal": (None, {"refusal": "I cannot"}, "I cannot", ""),
    "number": (3, {}, "", ""),
    "surrogates_and_nul": ("a\ud800b\0c", {}, "a?bc", ""),
}  # fmt: skip


@pytest.mark.parametrize(("content", "fields", "text", "reasoning"), MESSAGES.values(), ids=MESSAGES.keys())
def test_text_and_reasoning_are_told_apart(content: Any, fields: dict[str, Any], text: str, reasoning: str):
    reply = read(content, **fields)
    assert (reply.text, reply.reasoning) == (text, reasoning)
    reply.text.encode()


def with_usage(usage: Any) -> Usage:
    body = json.loads(str(completion("x", usage=None).body)) | {"usage": usage}
    return replies.parse(json.dumps(body), "m").usage


def test_tokens_are_counted_as_reported_and_unknown_is_not_zero():
    details = {"completion_tokens_details": {"reasoning_tokens": 7}, "prompt_tokens_details": {"cached_tokens": 5}}
    assert with_usage({"prompt_tokens": 10, "completion_tokens": 8, **details}) == Usage(10, 8, 7, 5)
    deepseek = {"prompt_tokens": 10, "completion_tokens": 8, "prompt_cache_hit_tokens": 4}
    assert with_usage(deepseek) == Usage(10, 8, None, 4)
    assert with_usage({"prompt_tokens": 10, "completion_tokens": 8}).total == 18
    nothing = Usage(None, None, None, None)
    for usage in (None, {}, [], "12", {"prompt_tokens": None}, {"prompt_tokens": -1}, {"prompt_tokens": True}):
        assert with_usage(usage) == nothing
        assert with_usage(usage).total is None
    assert with_usage({"prompt_tokens": 3}).total is None


@pytest.mark.parametrize(
    "usage",
    [
        {"completion_tokens": 8, "prompt_tokens_details": {"cached_tokens": 0}},
        {"prompt_tokens": 9e18, "completion_tokens": 20, "prompt_tokens_details": {"cached_tokens": 5}},
        {"prompt_tokens": 10, "completion_tokens_details": {"reasoning_tokens": 0}},
    ],
)
def test_a_part_of_a_count_is_not_the_count(usage: dict[str, Any]):
    assert with_usage(usage).total is None


def test_a_total_tells_the_part_that_is_missing():
    details = {"completion_tokens_details": {"reasoning_tokens": 7}, "prompt_tokens_details": {"cached_tokens": 5}}
    assert with_usage({"prompt_tokens": 10, "total_tokens": 40, **details}) == Usage(10, 30, 7, 5)
    assert with_usage({"completion_tokens": 8, "total_tokens": 40, **details}) == Usage(32, 8, 7, 5)
    assert with_usage({"total_tokens": 40, **details}) == Usage(None, None, 7, 5, 40)
    assert with_usage({"prompt_tokens": 10, "total_tokens": 10, **details}) == Usage(10, 7, 7, 5)


BODIES = {
    "web_page": ("<html><body>Sign in</body></html>", "is not JSON but '<html>"),
    "empty": ("", "is not JSON"),
    "cut_off": ('{"choices": [{"mess', "is not JSON"),
    "a_number": ("3", "is no chat completion but '3'"),
    "error_with_status_200": ('{"error": {"message": "overloaded"}}', 'no message but \'{"message": "overloaded"}'),
    "error_and_no_choices": ('{"error": "x", "choices": null}', "no message"),
    "no_choices": ('{"choices": []}', "no message"),
    "choice_is_no_object": ('{"choices": ["x"]}', "no message"),
    "no_message": ('{"choices": [{"message": null}]}', "no message"),
    "choices_is_an_object": ('{"choices": {"0": 1}}', "no message"),
}


@pytest.mark.parametrize(("body", "sentence"), BODIES.values(), ids=BODIES.keys())
def test_what_is_no_answer_is_told_on_one_short_line(body: str, sentence: str):
    with pytest.raises(NoAnswerError) as caught:
        replies.parse(body + " " * 5000, "m")
    assert sentence in caught.value.problem
    assert caught.value.transient
    assert "\n" not in caught.value.problem
    assert len(caught.value.problem) < 500


@pytest.mark.parametrize(("code", "lasts"), [(400, True), ("402", True), (404, True), (429, False), (500, False)])
def test_an_error_of_a_request_that_would_fail_again_lasts(code: int | str, lasts: bool):
    with pytest.raises(NoAnswerError) as caught:
        replies.parse(json.dumps({"error": {"message": "no", "code": code}}), "m")
    assert caught.value.transient != lasts


def test_what_a_broken_answer_cost_is_told():
    with pytest.raises(NoAnswerError, match="broke the answer off") as caught:
        replies.parse(str(completion("x", finish="error", usage=(1000, 200)).body), "m")
    assert caught.value.usage == Usage(1000, 200, None, None)


def test_blank_lines_and_a_byte_order_mark_before_the_json_do_not_matter():
    body = str(completion("code").body)
    for head in ("\n" * 100, "\ufeff", "\r\n \n"):
        assert replies.parse(head + body, "m").text == "code"


def test_model_and_day_are_the_servers_where_it_tells():
    reply = read("x")
    assert (reply.model, reply.date, reply.finish) == ("loopback-1", "2026-06-01", "stop")
    body = json.loads(str(completion("x").body)) | {"model": None, "created": None}
    reply = replies.parse(json.dumps(body), "asked-for")
    assert (reply.model, reply.date) == ("asked-for", replies.date())
    assert replies.date(float("nan")) == replies.date("1780272000") == replies.date(-5) == replies.date()


def test_a_terminal_gets_no_control_characters():
    assert replies.brief("a\x1b[31m\u2028b\r\n\tc\u202e") == "a [31m b c"
    assert replies.brief("x" * 1000) == "x" * 300 + " ..."


def test_the_day_is_that_of_utc(monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC-14")  # 14 hours ahead
        time.tzset()
        found = replies.date(1_780_272_000 + 86_399)
    time.tzset()
    assert found == "2026-06-01"
