"""The openai provider against a misbehaving server on loopback: retries, stops, and the request itself."""

import asyncio
import email.utils
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from asking import GOOD, KEY, REQUEST
from chat_server import Answer, Server, completion, error, serving

from qllm_jax.errors import UserError
from qllm_jax.llm import providers, transcript
from qllm_jax.llm.client import Budget, Client, ask
from qllm_jax.llm.types import NoAnswerError, Price, RefusedRequestError, Reply, StoppedError

pytestmark = pytest.mark.usefixtures("loopback")


def config(url: str, **changes: Any) -> dict[str, Any]:
    plain = {
        "provider": "openai", "model": "m", "base_url": url, "api_key_env": "TEST_KEY", "timeout_s": 20, "retries": 3,
        "backoff_s": 0.001, "params": {}, "usd_per_1m_input": 1, "usd_per_1m_output": 2,
    }  # fmt: skip
    return plain | changes


class Asked(NamedTuple):
    """Outcome of one request."""

    reply: Reply | None
    stop: str | None
    server: Server
    records: list[dict[str, Any]]
    logged: list[str]

    @property
    def calls(self) -> int:
        return len(self.server.requests)


def asked_of(folder: Path, answers: list[Answer], budget: Budget | None = None, **changes: Any) -> Asked:
    """One question to a server that gives `answers` in turn, and the last of them for ever."""
    logged, reply, stop = [], None, None
    with (
        serving(lambda request, n: answers[min(n, len(answers) - 1)]) as server,
        transcript.opened(folder / transcript.NAME) as lines,
    ):
        if not lines.records:
            transcript.append(lines, "start")
        client = Client(providers.make(config(server.url, **changes)), lines, budget or Budget(), folder, logged.append)
        try:
            reply = ask(client, REQUEST)
        except StoppedError as error:
            stop = str(error)
        return Asked(reply, stop, server, lines.records[1:], logged)


TRANSIENT = {
    "429": error(429, "slow down"),
    "500": error(500, "oops"),
    "503_web_page": Answer("<html>busy</html>", 503, {"Content-Type": "text/html"}),
    "529": error(529, "overloaded"),
    "408": error(408, "too slow"),
    "409": error(409, "a conflict"),
    "425": error(425, "too early"),
    "web_page_with_status_200": Answer("<html>maintenance</html>", 200, {"Content-Type": "text/html"}),
    "error_with_status_200": Answer('{"error": {"message": "overloaded"}, "choices": null}'),
    "json_that_is_none": Answer("{{{"),
    "empty_body": Answer(""),
    "dropped": Answer("", how="drop"),
    "cut_off": Answer(GOOD.body, how="cut"),
    "gzip_that_is_none": Answer(b"\x1f\x8b broken", headers={"Content-Encoding": "gzip"}),
}


@pytest.mark.parametrize("bad", TRANSIENT.values(), ids=TRANSIENT.keys())
def test_transient_failures_are_retried(bad: Answer, tmp_path: Path):
    asked = asked_of(tmp_path, [bad, bad, GOOD])
    assert asked.reply is not None
    assert asked.reply.text == "code"
    assert asked.calls == 3
    assert [record["kind"] for record in asked.records] == ["failure", "failure", "reply"]
    assert len(asked.logged) == 2
    assert all("\n" not in line for line in asked.logged)


def test_a_failure_that_lasts_stops_after_the_retries(tmp_path: Path):
    asked = asked_of(tmp_path, [error(500, "oops")])
    assert asked.stop == f"no answer after 4 attempts, the last one: {asked.records[0]['problem']}"
    assert asked.calls == 4


def test_what_answers_that_broke_off_cost_counts_for_the_budget(tmp_path: Path):
    asked = asked_of(tmp_path, [completion("x", finish="error", usage=(1000, 200))], Budget(max_tokens=2500))
    assert [record["usage"]["prompt"] for record in asked.records] == [1000, 1000]
    assert asked.stop == "max_tokens=2500 would be exceeded (2,400 are used)"


def test_a_request_in_a_running_event_loop_is_answered_as_in_a_notebook(tmp_path: Path):
    async def cell() -> Asked:
        return asked_of(tmp_path, [GOOD])

    assert asyncio.run(cell()).reply is not None


def test_what_the_call_sets_and_what_is_secret_cannot_be_a_parameter():
    for params, sentence in (
        ({"model": "other"}, r"llm.params cannot set 'model': model, messages, stream, n, timeout are reserved"),
        ({"extra_body": {"stream": True}}, r"llm.params.extra_body cannot set 'stream': "),
        (
            {"extra_headers": {"Authorization": "k"}},
            r"llm.params.extra_headers cannot hold 'Authorization': it would be",
        ),
    ):
        with pytest.raises(UserError, match=sentence):
            providers.make(config("http://127.0.0.1:9/v1", params=params))
    providers.make(
        config("http://127.0.0.1:9/v1", params={"extra_body": {"top_k": 3}, "extra_headers": {"X-Team": "a"}})
    )


PERMANENT = {
    "401": (error(401, "no"), "the server refuses the key (HTTP 401: "),
    "402": (error(402, "Insufficient Balance"), "out of credit (HTTP 402: "),
    "403": (error(403, "region"), "refuses the key (HTTP 403: "),
    "404": (error(404, "no model m"), "no such model or address (llm.model, llm.base_url) (HTTP 404: "),
    "400": (error(400, "temperature is not supported"), "temperature is not supported"),
    "422": (error(422, "bad field"), "refuses the request (HTTP 422: "),
    "code_in_words": (Answer('{"error": {"message": "no", "code": "401"}}'), "the answer has no message but"),
    "429_quota": (error(429, "quota", code="insufficient_quota"), "out of credit (HTTP 429: "),
}


@pytest.mark.parametrize(("bad", "sentence"), PERMANENT.values(), ids=PERMANENT.keys())
def test_permanent_failures_stop_at_once(bad: Answer, sentence: str, tmp_path: Path):
    asked = asked_of(tmp_path, [bad])
    assert asked.stop is not None
    assert sentence in asked.stop
    assert asked.calls == 1


@pytest.mark.parametrize("how", ["stall", "drip"])
def test_a_silent_server_or_one_that_sends_blank_lines_times_out(how: str, tmp_path: Path):
    # Blank lines keep a read timeout from ever striking: only a limit on the whole request helps.
    asked = asked_of(tmp_path, [Answer("", how=how)], timeout_s=0.1, retries=1)
    assert asked.stop == "no answer after 2 attempts, the last one: no answer within 0.1 s"
    assert asked.logged == [f"{REQUEST.id}: no answer within 0.1 s"] * 2


def test_no_server_at_all_is_told_with_its_address(tmp_path: Path):
    with transcript.opened(tmp_path / transcript.NAME) as lines:
        llm = providers.make(config("http://127.0.0.1:9/v1", retries=0))
        with pytest.raises(StoppedError, match="no answer after 1 attempts"):
            ask(Client(llm, lines, Budget(), tmp_path, lambda line: None), REQUEST)
        assert "no connection to http://127.0.0.1:9/v1" in lines.records[0]["problem"]


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds of each sleep, which is skipped."""
    slept: list[float] = []
    monkeypatch.setattr("qllm_jax.llm.client.time.sleep", slept.append)
    return slept


def test_waits_double_unless_the_server_names_one(tmp_path: Path, waits: list[float]):
    soon = email.utils.formatdate(time.time() + 100, usegmt=True)
    answers = [
        error(500, "a"), error(429, "b", Retry_After="7"), error(503, "c"), error(429, "d", retry_after_ms="1500"),
        error(429, "e", Retry_After="nonsense"), error(429, "f", Retry_After=soon), GOOD,
    ]  # fmt: skip
    asked = asked_of(tmp_path, answers, retries=6, backoff_s=1.0)
    assert asked.reply is not None
    assert waits[:5] == [1.0, 7.0, 4.0, 1.5, 16.0]
    assert 90 < waits[5] <= 100


def test_a_wait_of_nothing_is_the_usual_one(tmp_path: Path, waits: list[float]):
    past = email.utils.formatdate(time.time() - 100, usegmt=True)
    answers = [error(429, "a", Retry_After="0"), error(429, "b", Retry_After=past), GOOD]
    assert asked_of(tmp_path, answers, backoff_s=1.0).reply is not None
    assert waits == [1.0, 2.0]


def test_the_usual_wait_is_five_minutes_at_most(tmp_path: Path, waits: list[float]):
    assert asked_of(tmp_path, [error(500, "a"), error(500, "b"), GOOD], backoff_s=250.0).reply is not None
    assert waits == [250.0, 300.0]


def test_a_wait_that_is_too_long_stops_instead(tmp_path: Path, waits: list[float]):
    asked = asked_of(tmp_path, [error(429, "a", Retry_After="86400")])
    assert asked.stop == "the server asks for a wait of 86,400 s"
    (tmp_path / "2").mkdir()
    asked = asked_of(tmp_path / "2", [error(429, "a", Retry_After="60")], Budget(max_minutes=1.0))
    assert asked.stop == "max_minutes=1 does not leave the 60 s to wait"
    assert waits == []


def test_the_request_is_the_portable_one_and_carries_what_the_user_set(tmp_path: Path):
    asked = asked_of(tmp_path, [GOOD])
    messages = [{"role": "system", "content": "the system"}, {"role": "user", "content": "the question"}]
    assert asked.server.requests == [{"model": "m", "messages": messages}]
    assert asked.server.headers[0]["authorization"] == f"Bearer {KEY}"
    (tmp_path / "2").mkdir()
    params = {"temperature": 0.5, "top_p": None, "extra_body": {"thinking": {"type": "enabled"}}}
    asked = asked_of(tmp_path / "2", [GOOD], params=params, api_key_env=None)
    extra = {"temperature": 0.5, "thinking": {"type": "enabled"}}
    assert asked.server.requests == [{"model": "m", "messages": messages, **extra}]
    assert asked.server.headers[0]["authorization"] == "Bearer EMPTY"


def test_a_name_that_the_openai_package_does_not_know_is_told(tmp_path: Path):
    asked = asked_of(tmp_path, [GOOD], params={"top_k": 3})
    assert "unexpected keyword argument 'top_k'; other names go into llm.params.extra_body" in str(asked.stop)
    assert asked.calls == 0


@pytest.mark.parametrize(
    "bad", [error(401, f"Incorrect API key provided: {KEY}"), error(500, KEY), Answer(f"<p>{KEY}")]
)
def test_the_key_is_never_written_or_printed(bad: Answer, tmp_path: Path):
    asked = asked_of(tmp_path, [bad, completion(f"your key is {KEY}")], retries=1)
    text = (tmp_path / transcript.NAME).read_text() + "".join(asked.logged) + str(asked.stop)
    assert KEY not in text
    assert "<TEST_KEY>" in text


def test_an_answered_question_is_never_asked_again(tmp_path: Path):
    first = asked_of(tmp_path, [completion("one")])
    second = asked_of(tmp_path, [completion("two")])
    assert first.reply == second.reply
    assert second.calls == 0


BUDGETS: dict[str, tuple[Budget, Callable[[Asked], bool], str]] = {
    "calls": (Budget(max_calls=1), lambda asked: asked.calls == 1, "max_calls=1 is reached"),
    "minutes": (Budget(max_minutes=1e-9), lambda asked: asked.calls == 0, "max_minutes=1e-09 is reached"),
}


@pytest.mark.parametrize(("budget", "holds", "sentence"), BUDGETS.values(), ids=BUDGETS.keys())
def test_a_retry_needs_the_budget_too(budget: Budget, holds: Callable, sentence: str, tmp_path: Path):
    asked = asked_of(tmp_path, [error(500, "oops")], budget)
    assert asked.stop == sentence
    assert holds(asked)


WRONG = [
    ({"api_key_env": "NOT_SET_ANYWHERE"}, "set the environment variable NOT_SET_ANYWHERE to it"),
    ({"api_key_env": KEY}, "llm.api_key_env must be the name of an environment variable, not a key"),
    ({"base_url": "localhost:8000"}, "llm.base_url must be of the form https://host/v1, got 'localhost:8000'"),
    ({"base_url": "https://me:pass@host/v1"}, "llm.base_url must not hold a user or a password"),
    ({"params": {"stream": True}}, "llm.params cannot set 'stream'"),
    ({"params": {"n": 3}}, "llm.params cannot set 'n'"),
    ({"model": None}, "llm.model must be a valid string, got None"),
    ({"timeout_s": 0}, "llm.timeout_s must be greater than 0, got 0"),
    ({"retries": -1}, "llm.retries must be greater than or equal to 0, got -1"),
    ({"usd_per_1m_input": "cheap"}, "llm.usd_per_1m_input must be a valid number, got 'cheap'"),
    ({"modle": "m"}, "llm.provider 'openai' has no option 'modle': did you mean 'model'?"),
    ({"provider": "opnai"}, "llm.provider 'opnai' does not exist: did you mean 'openai'?"),
]


@pytest.mark.parametrize(("changes", "sentence"), WRONG)
def test_a_wrong_setting_is_one_sentence_without_the_key(changes: dict[str, Any], sentence: str):
    with pytest.raises(UserError) as caught:
        providers.make(config("http://localhost/v1", **changes))
    assert sentence in str(caught.value)
    assert KEY not in str(caught.value)


def test_a_missing_setting_is_named():
    settings = config("http://localhost/v1")
    del settings["model"]
    with pytest.raises(UserError, match=r"^llm.provider 'openai' needs the option 'model', which has no default$"):
        providers.make(settings)
    with pytest.raises(UserError, match="llm needs a provider: choose from manual, openai, replay"):
        providers.make({"model": "m"})


def test_the_price_is_known_only_if_both_parts_are():
    assert providers.make(config("http://localhost/v1")).price == Price(1, 2)
    assert providers.make(config("http://localhost/v1", usd_per_1m_output=None)).price is None


def test_a_replay_asks_nobody(tmp_path: Path):
    (tmp_path / transcript.NAME).write_text("")
    llm = providers.make({"provider": "replay", "transcript": str(tmp_path)})
    with pytest.raises(StoppedError, match="the transcript has no answer to "):
        llm.ask(REQUEST, tmp_path, None)
    with pytest.raises(UserError, match=r"llm=replay needs llm\.transcript=FOLDER"):
        providers.make({"provider": "replay", "transcript": None})
    with pytest.raises(UserError, match="there is no file"):
        providers.make({"provider": "replay", "transcript": str(tmp_path / "nowhere")})


@pytest.mark.parametrize(("status", "of_request"), [(400, True), (413, True), (422, True), (401, False), (404, False)])
def test_a_request_that_is_refused_is_told_from_a_server_that_refuses_all(
    status: int, of_request: bool, tmp_path: Path
):
    with serving(lambda request, n: error(status, "no")) as server, transcript.opened(tmp_path / "t.jsonl") as lines:
        client = Client(providers.make(config(server.url)), lines, Budget(), tmp_path, lambda line: None)
        with pytest.raises(StoppedError) as stop:
            ask(client, REQUEST)
    assert isinstance(stop.value, RefusedRequestError) == of_request


def test_a_request_ends_when_the_seconds_that_are_left_do(tmp_path: Path):
    with (
        serving(lambda request, n: Answer("", how="stall")) as server,
        pytest.raises(NoAnswerError, match=r"no answer within 0\.1 s"),
    ):
        providers.make(config(server.url)).ask(REQUEST, tmp_path, 0.1)


@pytest.mark.parametrize("size", [7, 8, 19, 20])
def test_a_key_of_8_characters_leaves_errors_and_one_of_20_replies(size: int, tmp_path: Path, monkeypatch):
    key = "sk-0123456789abcdefghij"[:size]
    monkeypatch.setenv("TEST_KEY", key)
    asked = asked_of(tmp_path, [error(503, f"busy {key}."), completion(f"a {key} b")])
    assert asked.reply is not None
    assert (key in asked.records[0]["problem"], key in asked.reply.text) == (size < 8, size < 20)
