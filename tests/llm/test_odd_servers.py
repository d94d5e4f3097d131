"""Odd answers that servers give and addresses that people set: which of them is a reply, a failed call or a mistake.

A redirect is followed on its server alone.
"""

import gzip
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from asking import GOOD, KEY, REQUEST, asked, llm
from chat_server import Answer, completion, serving

from qllm_jax.errors import UserError
from qllm_jax.llm import http
from qllm_jax.llm.types import NoAnswerError

TEXT = "caf\u00e9"
BODY = str(completion(TEXT).body).replace("caf\\u00e9", TEXT)


pytestmark = pytest.mark.usefixtures("loopback")


def typed(body: bytes, charset: str, status: int = 200) -> Answer:
    return Answer(body, status, {"Content-Type": f"application/json; charset={charset}"})


def choices(*found: dict[str, Any], **top: Any) -> Answer:
    return Answer(json.dumps({"choices": found, **top}))


def choice(text: Any, **fields: Any) -> dict[str, Any]:
    return {"message": {"content": text}, **fields}


REPLIES = {
    "latin_1": (typed(BODY.encode("latin-1"), "latin-1"), TEXT),
    "windows": (typed(BODY.encode("cp1252"), "Windows-1252"), TEXT),
    "utf_16": (typed(BODY.encode("utf-16"), "utf-16"), TEXT),
    "utf_16_that_no_header_names": (typed(BODY.encode("utf-16"), "utf-8"), TEXT),
    "utf_8_that_a_header_denies": (typed(BODY.encode(), "latin-1"), TEXT),
    "a_codec_of_no_text": (typed(BODY.encode(), "hex"), TEXT),
    "a_codec_of_quadratic_time": (typed(b"\xff" * 2 + BODY.encode("latin-1") + b" " * 10**6, "punycode"), None),
    "gzip": (Answer(gzip.compress(BODY.encode()), headers={"Content-Encoding": "gzip"}), TEXT),
    "a_web_page_of_json": (Answer(BODY, headers={"Content-Type": "text/html; charset=x"}), TEXT),
    "output_text": (completion([{"type": "output_text", "text": "code"}]), "code"),
    "thoughts_of_another_type": (completion([{"type": "reasoning", "text": "hm"}, {"type": "text", "text": "a"}]), "a"),
    "a_refusal_in_a_chunk": (completion([{"type": "refusal", "refusal": "I cannot"}]), "I cannot"),
    "an_empty_choice_first": (choices(choice(""), choice("code")), "code"),
    "no_choice_first": (choices({}, choice("code")), "code"),
    "two_choices": (choices(choice("first"), choice("second")), "first"),
    "no_error": (choices(choice("code"), error=None), "code"),
}  # fmt: skip


@pytest.mark.parametrize(("answer", "text"), REPLIES.values(), ids=REPLIES)
def test_an_odd_answer_is_read(answer: Answer, text: str | None, tmp_path: Path):
    reply, problem, _ = asked(tmp_path, answer)
    assert (reply and reply.text) == text, problem


BROKEN = {
    "a_choice_with_an_error": (choices(choice("co", finish_reason="error", error={"message": "no host"})), "no host"),
    "an_answer_with_an_error": (choices(choice("co"), error={"message": "no upstream", "code": 502}), "no upstream"),
    "stopped_for_an_error": (choices(choice("co", finish_reason="ERROR")), "broke the answer off"),
    "aborted": (completion("co", finish="abort"), "broke the answer off"),
    "a_codec_in_an_error": (typed(b'{"error": {"message": "busy"}}', "hex", 500), "HTTP 500: busy"),
    "another_codec_in_an_error": (typed(b'{"error": {"message": "busy"}}', "rot13", 503), "HTTP 503: busy"),
}  # fmt: skip


@pytest.mark.parametrize(("answer", "sentence"), BROKEN.values(), ids=BROKEN)
def test_an_answer_that_is_not_whole_is_asked_for_again(answer: Answer, sentence: str, tmp_path: Path):
    reply, problem, records = asked(tmp_path, answer, GOOD)
    assert reply is not None
    assert sentence in problem
    assert [record["kind"] for record in records] == ["failure", "reply"]


def test_an_error_that_lasts_is_not_retried(tmp_path: Path):
    answer = Answer(json.dumps({"error": {"message": "wrong key", "code": 401}}))
    assert len(asked(tmp_path, answer)[2]) == 1


@pytest.mark.parametrize("finish", ["max_output_tokens", "model_context_window_exceeded"])
def test_more_words_for_a_limit_on_tokens(finish: str, tmp_path: Path):
    reply = asked(tmp_path, completion("co", finish))[0]
    assert reply is not None
    assert reply.is_cut_off


@pytest.mark.parametrize("key", [KEY, "".join(f"\\u{ord(char):04x}" for char in KEY)], ids=["plain", "escaped"])
def test_a_key_is_in_no_part_of_a_reply(key: str, tmp_path: Path):
    body = str(completion("@", finish="@", reasoning_content="@").body).replace("loopback-1", "@" * 3)
    _, _, records = asked(tmp_path, Answer(body.replace("@", key)))
    assert json.dumps(records).count("<TEST_KEY>") >= 6
    assert KEY[:6] not in json.dumps(records)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_another_server_sends_it_nothing(status: int, tmp_path: Path):
    with serving(lambda request, n: GOOD) as other:
        for host in (other.url, other.url.replace("127.0.0.1", "localhost")):
            to = Answer("", status, {"Location": f"{host}/chat/completions"})
            reply, problem, _ = asked(tmp_path, to)
            assert reply is None
            assert f"the server redirects to {host}/chat/completions" in problem
        assert other.headers == []


def test_a_redirect_on_the_server_is_followed_and_not_for_ever(tmp_path: Path):
    again = Answer("", 307, {"Location": "/v1/chat/completions"})
    with serving(lambda request, n: GOOD if n else again) as server:
        assert llm(server.url).ask(REQUEST, tmp_path, None).text == "code"
        assert server.requests[0] == server.requests[1]
    with serving(lambda request, n: again) as server, pytest.raises(NoAnswerError, match="redirects more than 3 times"):
        llm(server.url).ask(REQUEST, tmp_path, None)


def test_a_redirect_from_http_to_https_on_the_same_host_is_followed():
    at = lambda scheme, host, port=None: SimpleNamespace(scheme=scheme, host=host, port=port)
    to = lambda here, there, status=308: SimpleNamespace(
        status_code=status, request=SimpleNamespace(url=here), next_request=SimpleNamespace(url=there)
    )
    followed: Any = to(at("http", "h"), at("https", "h"))
    assert http._redirected(followed) is followed.next_request
    others: list[Any] = [
        to(at("http", "h"), at("https", "other")),
        to(at("https", "h"), at("http", "h")),
        to(at("http", "h", 8000), at("https", "h")),
        to(at("http", "h"), at("https", "h"), 302),
    ]
    for response in others:
        with pytest.raises(NoAnswerError, match="the server redirects to"):
            http._redirected(response)


ADDRESSES = {
    "a_query": ("http://h/v1?api-version=2", "parameters go into llm.params.extra_query"),
    "a_fragment": ("http://h/v1#x", "must hold no '[?]' and no '#'"),
    "the_whole_endpoint": ("http://h/v1/chat/completions/", "must end before /chat/completions"),
    "a_megabyte": ("http://h/" + "a" * 2**20, "must be of the form"),
    "letters_that_no_host_has": ("http://xn--a-\u0130/v1", "must be of the form"),
}


@pytest.mark.parametrize(("url", "sentence"), ADDRESSES.values(), ids=ADDRESSES)
def test_an_address_that_would_go_elsewhere_is_one_short_sentence(url: str, sentence: str):
    with pytest.raises(UserError, match=rf"^llm\.base_url .*{sentence}") as caught:
        llm(url)
    assert len(str(caught.value)) < 900
