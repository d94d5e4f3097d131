"""Replies and settings that are wrong in ways that servers, models and machines have: a sentence, recorded and counted.

Every request goes to a server on loopback. What takes longer than a linear time would takes minutes here, and fails.
"""

import gzip
import json
import signal
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asking import GOOD, KEY, REQUEST, asked, llm
from chat_server import Answer, completion, error, serving
from scripted import arguments, fenced, function, gates

from qllm_jax.commands.generate import generate
from qllm_jax.errors import UserError
from qllm_jax.llm import transcript
from qllm_jax.llm.client import Budget, Client, ask
from qllm_jax.llm.providers import manual
from qllm_jax.llm.types import Reply, Request, Usage, WaitingError
from qllm_jax.tfcaf.static.extract import split_reasoning

CODE = 'def credit(state):\n    return state["landmark_pos"], 0.0\n'
SECONDS = 60  # for one test

pytestmark = pytest.mark.usefixtures("loopback")


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("QLLM_JAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("qllm_jax.tfcaf.gates.verify", gates)
    before = signal.signal(signal.SIGALRM, lambda *_: pytest.fail(f"it takes more than {SECONDS} s"))
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def deep(start: str, middle: str, end: str, depth: int) -> str:
    return start * depth + middle + end * depth


def bomb(size: int = 2**26) -> bytes:
    """A body of `size` bytes, compressed to a thousandth."""
    packer = zlib.compressobj(9, wbits=31)
    return b"".join([*(packer.compress(b" " * 2**20) for _ in range(size // 2**20)), packer.flush()])


def with_content(raw: str) -> Answer:
    """A completion whose content is this text of JSON."""
    return Answer(str(completion("@").body).replace('"@"', raw))


GZIP = {"Content-Encoding": "gzip"}
NO_ANSWERS = {
    "lists_200000_deep": (Answer("[" * 200_000), "nested too deep"),
    "objects_100000_deep": (Answer('{"a":' * 100_000), "nested too deep"),
    "content_of_lists_900_deep": (with_content(deep("[", '"x"', "]", 900)), "nested too deep"),
    "content_of_objects_5000_deep": (with_content(deep('{"text":', '"x"', "}", 5000)), "nested too deep"),
    "error_2000_deep": (Answer('{"error": ' + deep("[", "1", "]", 2000) + "}", 500), "HTTP 500"),
    "error_900_deep": (Answer('{"error": ' + deep("[", "1", "]", 900) + "}", 503), "HTTP 503"),
    "error_of_a_wrong_shape": (Answer('{"error": {"message": {"a": "\x1b[2J"}, "code": [1]}}', 500), "HTTP 500"),
    "gzip_of_64_MiB": (Answer(bomb(), headers=GZIP), "longer than 8 MiB"),
    "gzip_of_64_MiB_in_an_error": (Answer(bomb(), 500, GZIP), "longer than 8 MiB"),
    "gzip_twice": (Answer(gzip.compress(bomb()), headers={"Content-Encoding": "gzip, gzip"}), "longer than 8 MiB"),
    "20_MB_of_text": (with_content('"' + "x" * 20_000_000 + '"'), "longer than 8 MiB"),
    "events_of_a_stream": (
        Answer('data: {"choices": [{"delta": {"content": "x"}}]}\n\n'),
        "the server streams its answer",
    ),
    "informal_status": (Answer("", 299), "is not JSON"),
    "choices_of_nothing": (Answer('{"choices": [null]}'), "no message"),
}  # fmt: skip


@pytest.mark.parametrize(("answer", "sentence"), NO_ANSWERS.values(), ids=NO_ANSWERS)
def test_what_is_no_answer_is_a_failed_call(answer: Answer, sentence: str, tmp_path: Path):
    reply, problem, records = asked(tmp_path, answer)
    assert reply is None
    assert sentence in problem
    assert [record["kind"] for record in records] == ["failure", "failure"]
    assert len(problem) < 2000
    assert problem.isprintable()
    assert asked(tmp_path, answer, GOOD)[0]  # a later process goes on


@pytest.mark.parametrize("body", ["[" * 200_000, '{"choices": [{"message": {"content": ' + deep("[", "", "]", 900)])
def test_resuming_makes_no_call_more_than_the_budget_has(body: str, tmp_path: Path):
    path = tmp_path / "run"
    with serving(lambda request, n: Answer(body)) as server:
        assert generate(arguments(server, path, "max_calls=1")) == 3
        for _ in range(3):
            assert generate([f"resume={path}"]) == 3
        assert len(server.requests) == 1


def usage(**counts: str) -> Answer:
    names = {name: name if name.endswith("_details") else f"{name}_tokens" for name in counts}
    plain = ", ".join(f'"{names[name]}": {count}' for name, count in counts.items())
    return Answer(str(completion("x", usage=None).body)[:-1] + f', "usage": {{{plain}}}}}')


USAGES = {
    "400_digits": (usage(prompt="9" * 400, completion="1"), None),
    "4300_digits": (usage(prompt="9" * 4300, completion="9" * 4300), None),
    "5000_digits": (usage(prompt="9" * 5000, completion="20", total="9" * 5000), None),
    "18_digits": (usage(prompt="9" * 18, completion="20"), None),
    "an_infinite_number": (usage(prompt="1e999", completion="20"), None),
    "no_number": (usage(prompt="NaN", completion="20"), None),
    "total_alone": (usage(total="50120"), 50120),
    "total_above_the_sum": (usage(prompt="100", completion="20", total="50120"), 50120),
    "total_and_prompt": (usage(prompt="100", total="150"), 150),
    "total_and_completion": (usage(completion="100", total="150"), 150),
    "sum_above_the_total": (usage(prompt="100", completion="20", total="7"), 120),
    "a_total_that_cannot_be": (usage(prompt="100", completion="20", total="9" * 400), 120),
    "floats": (usage(prompt="100.0", completion="20.0"), 120),
    "reasoning_apart": (
        usage(prompt="100", completion="20", completion_tokens_details='{"reasoning_tokens": 900}'), 1000,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("answer", "total"), USAGES.values(), ids=USAGES)
def test_the_larger_count_of_tokens_counts_and_an_impossible_one_is_unknown(answer: Answer, total: int, tmp_path: Path):
    reply, problem, _ = asked(tmp_path, answer)
    assert reply is not None, problem
    assert reply.usage.total == total


def test_a_limit_on_tokens_counts_the_larger_number(tmp_path: Path):
    path = tmp_path / "run"
    body = json.loads(str(completion(fenced(function("x"))).body)) | {"usage": {"total_tokens": 900}}
    answer = Answer(json.dumps(body))
    with serving(lambda request, n: answer) as server:
        assert generate(arguments(server, path, "max_tokens=1000")) == 3
        assert len(server.requests) == 1


def test_a_transcript_with_an_impossible_count_can_be_resumed(tmp_path: Path, capsys: pytest.CaptureFixture):
    path = tmp_path / "run"
    with serving(lambda request, n: completion(fenced(function(f"function {n}")), usage=(12345678, 1))) as server:
        assert generate(arguments(server, path, "max_calls=1")) == 3
        text = (path / transcript.NAME).read_text()
        (path / transcript.NAME).write_text(text.replace('"prompt": 12345678', '"prompt": ' + "9" * 4301))
        assert generate([f"resume={path}"]) == 3
    assert "1 replies report none" in capsys.readouterr().out


WAITS = [
    "Fri, 31 Dec 99999 23:59:59 GMT", "Mon, 01 Jan 0001 00:00:00 GMT", "Mon, 01 Jan 0001 00:00:00 +1400",
    "Sat, 01 Jan 2022 00:00:00 +9999", "Sat, 99 Foo 2022 77:00:00 GMT", "Sat, 01 Jan 0000 00:00:00 -0000",
    "9" * 5000, "-5", "1e3", "nan", "Mon, , :: +", "\u00b2\u00b3",
]  # fmt: skip


@pytest.mark.parametrize("wait", WAITS, ids=range(len(WAITS)))
def test_a_wait_that_cannot_be_is_none(wait: str, tmp_path: Path):
    reply, problem, _ = asked(tmp_path, error(503, "busy", Retry_After=wait), GOOD)
    assert reply is not None, problem


@pytest.mark.parametrize("key", ["k", "x", "pos", "landmark_pos", "1"])
def test_a_short_key_changes_no_reply(key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TEST_KEY", key)
    reply, _, _ = asked(tmp_path, completion(CODE, reasoning="xk1"))
    assert reply is not None
    assert (reply.text, reply.reasoning) == (CODE.strip(), "xk1")


@pytest.mark.parametrize("before", range(250, 305, 6))
def test_no_part_of_a_key_is_left_where_an_error_is_cut(before: int, tmp_path: Path):
    for answer in (error(400, "x" * before + KEY), Answer("<p>" + "x" * before + KEY), Answer("y" * before + KEY, 500)):
        _, problem, _ = asked(tmp_path, answer)
        assert KEY[:6] not in problem
        assert KEY[:6] not in (tmp_path / transcript.NAME).read_text()


SETTINGS = {
    "certificates_that_are_missing": ({"SSL_CERT_FILE": "/nowhere/ca.pem"}, "SSL_CERT_FILE='/nowhere/ca.pem'"),
    "certificates_that_are_none": ({"SSL_CERT_FILE": __file__}, "SSL_CERT_FILE="),
    "a_proxy_of_gnome": ({"ALL_PROXY": "socks://me:secret@127.0.0.1:9"}, "ALL_PROXY=socks://... is no proxy"),
    "a_proxy_in_lower_case": ({"all_proxy": "socks4://127.0.0.1:9"}, "all_proxy=socks4://... is no proxy"),
    "a_proxy_of_another_kind": ({"HTTPS_PROXY": "ftp://me:secret@127.0.0.1:9"}, "HTTPS_PROXY=ftp://... is no proxy"),
    "a_proxy_with_a_wrong_port": ({"HTTP_PROXY": "http://me:secret@127.0.0.1:port"}, "HTTP_PROXY"),
    "a_blank_proxy": ({"HTTP_PROXY": "  "}, "HTTP_PROXY is blank"),
    "a_log_of_keys_that_cannot_be": ({"SSLKEYLOGFILE": "/nowhere/log"}, "SSLKEYLOGFILE='/nowhere/log' cannot be"),
    "a_letter_in_a_header": ({"OPENAI_ORG_ID": "caf\u00e9"}, "the header 'OpenAI-Organization' holds"),
    "a_line_break_in_a_header": ({"OPENAI_PROJECT_ID": "a\nb"}, "the header 'OpenAI-Project' holds"),
    "headers_of_any_name": ({"OPENAI_CUSTOM_HEADERS": "a b: c"}, "the header 'a b' holds"),
    "a_letter_in_the_key": ({"TEST_KEY": "sk-\u00e9"}, "the key in TEST_KEY holds"),
    "a_line_break_in_the_key": ({"TEST_KEY": "sk-secret\nsecret"}, "the key in TEST_KEY holds"),
}


@pytest.mark.parametrize(("variables", "sentence"), SETTINGS.values(), ids=SETTINGS)
def test_a_setting_of_the_machine_is_one_sentence(variables: dict[str, str], sentence: str, tmp_path, monkeypatch):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with serving(lambda request, n: GOOD) as server, pytest.raises(UserError) as caught:
        generate(arguments(server, tmp_path / "run", "llm.api_key_env=TEST_KEY"))
    assert sentence in str(caught.value)
    assert "secret" not in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("url", ["http://h:99999/v1", "http://[::1/v1", "http://a b/v1", "http://\x7f/v1", "https://"])
def test_an_address_that_is_none_is_one_sentence(url: str):
    with pytest.raises(UserError, match=r"^llm\.base_url must be of the form"):
        llm(url)


def test_a_request_that_cannot_be_written_is_one_sentence(tmp_path: Path):
    assert "the request cannot be written" in asked(tmp_path, GOOD, params={"temperature": float("nan")})[1]


TAGS = ["<think>", "</think>", "<think></think>", "<think>x</reasoning><Thinking>", "</think>\n<think>", "<thinking><"]


@pytest.mark.parametrize("tag", TAGS)
def test_reasoning_tags_take_linear_time(tag: str, tmp_path: Path):
    text = tag * (2_000_000 // len(tag))
    split_reasoning(text)
    reply, problem, _ = asked(tmp_path, completion(text + "\ncode"))
    assert reply is not None, problem


def tool(arguments: Any) -> dict[str, Any]:
    return {"tool_calls": [{"id": "1", "type": "function", "function": {"name": "write", "arguments": arguments}}]}


TOOLS = {
    "arguments": ("", tool(json.dumps({"code": CODE}))),
    "arguments_after_prose": ("I write the file.", tool(json.dumps({"path": "credit.py", "content": CODE}))),
    "arguments_that_are_no_text": (None, tool({"files": [{"lines": CODE.split("\n")}]})),
    "function_call": (None, {"function_call": {"name": "write", "arguments": json.dumps({"code": CODE})}}),
    "custom": (None, {"tool_calls": [{"type": "custom", "custom": {"name": "write", "input": CODE}}]}),
    "calls_of_no_known_kind": (
        fenced(CODE),
        {"tool_calls": [3, None, {"function": 3}, {"function": {"name": None}}]},
    ),
}


@pytest.mark.parametrize(("content", "fields"), TOOLS.values(), ids=TOOLS)
def test_a_function_in_the_arguments_of_a_tool_is_found(content: Any, fields: dict[str, Any], tmp_path: Path):
    path = tmp_path / "run"
    with serving(lambda request, n: completion(content, **fields)) as server:
        assert generate(arguments(server, path, "k=1", "rounds=1", "evaluator=off")) == 0
    assert CODE in (path / "tfcaf.py").read_text()


@pytest.mark.parametrize("finish", ["length", "max_tokens", "MAX_TOKENS", "model_length"])
def test_a_reply_that_a_limit_cut_is_said_so(finish: str, tmp_path: Path):
    path = tmp_path / "run"
    with serving(lambda request, n: completion(fenced(CODE), finish=finish)) as server:
        assert generate(arguments(server, path, "k=1", "rounds=1", "repairs=0")) == 1
    assert "cut off" in (path / "candidates" / "round_1_candidate_1_try_0.json").read_text()


def test_control_characters_of_a_reply_reach_no_terminal(tmp_path: Path, capsys: pytest.CaptureFixture):
    path, evil = tmp_path / "run", "\x1b[2J\x1b]0;title\x07\u202eno\r\x08 code \u2066"
    with serving(lambda request, n: completion(evil, finish=evil, reasoning=evil)) as server:
        generate(arguments(server, path, "k=1", "rounds=1", "repairs=1"))
    written = [file.read_text() for file in path.rglob("*") if file.is_file()]
    for text in (capsys.readouterr().out, *written):
        assert all(char.isprintable() or char == "\n" for char in text)


ANSWERS = {
    "utf_16": ("caf\u00e9 code".encode("utf-16"), "caf\u00e9 code"),
    "byte_order_mark": (b"\xef\xbb\xbfcode", "code"),
    "latin_1": ("caf\u00e9".encode("latin-1"), "caf\ufffd"),
    "nul": (b"co\0de", "code"),
}


@pytest.mark.parametrize(("data", "text"), ANSWERS.values(), ids=ANSWERS)
def test_answers_that_a_person_saved_are_read_in_any_encoding(data: bytes, text: str, tmp_path: Path):
    by_hand = manual.make(model="a chat window")
    with pytest.raises(WaitingError):
        by_hand.ask(Request("r", "s", "u"), tmp_path, None)  # pyright: ignore
    (tmp_path / "replies" / "r.md").write_bytes(data)
    assert by_hand.ask(Request("r", "s", "u"), tmp_path, None).text == text  # pyright: ignore


def test_a_saved_answer_that_is_too_long_for_one_is_a_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(manual, "MAX_BYTES", 10)
    (tmp_path / "replies").mkdir()
    (tmp_path / "replies" / "r.md").write_text("x" * 11)
    with pytest.raises(UserError, match="it is to hold an answer alone"):
        manual.make(model="m").ask(Request("r", "s", "u"), tmp_path, None)  # pyright: ignore


def test_an_interrupted_request_counts(tmp_path: Path):
    def interrupted(*_: Any) -> Reply:
        raise KeyboardInterrupt

    with transcript.opened(tmp_path / transcript.NAME) as lines:
        transcript.append(lines, "start")
        with pytest.raises(KeyboardInterrupt):
            ask(Client(llm()._replace(ask=interrupted), lines, Budget(), tmp_path, lambda line: None), REQUEST)
        assert lines.records[-1]["kind"] == "failure"


def line(kind: str, **fields: Any) -> str:
    return json.dumps({"kind": kind, "elapsed_s": 1, **fields})


def stored(place: Any = (1, "coder", 1, 0), **changes: Any) -> str:
    unknown = dict.fromkeys(("prompt", "completion", "reasoning", "cached"))
    reply = {"text": "x", "reasoning": "", "finish": None, "usage": unknown, "model": "m", "date": "2026-01-01"}
    return line("reply", place=place, reply=reply | changes)


LINES = {
    "deep": "[" * 100_000,
    "no_reply": line("reply"),
    "no_time": '{"kind": "device", "elapsed_s": 1e999}',
    "no_text": stored(text=None),
    "no_counts": stored(usage={"prompt": "x", "completion": 1, "reasoning": None, "cached": None}),
    "no_seconds": stored(seconds="long"),
    "no_place": stored(place="abcd"),
    "no_device_time": line("device", work="gates"),
    "device_time_of_text": line("device", work="gates", device_s="long"),
}


def test_a_line_that_is_whole_is_read(tmp_path: Path):
    (tmp_path / "t.jsonl").write_text('{"kind": "start", "elapsed_s": 0}\n' + stored(seconds=1) + "\n")
    assert len(transcript.read(tmp_path / "t.jsonl")[0]) == 2


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_a_damaged_line_of_a_transcript_is_named(line: str, tmp_path: Path):
    (tmp_path / "t.jsonl").write_text('{"kind": "start", "elapsed_s": 0}\n' + line + "\n")
    with pytest.raises(UserError, match=r"t\.jsonl:2 is no line of a transcript"):
        transcript.read(tmp_path / "t.jsonl")


def test_an_unknown_usage_stays_unknown():
    assert Usage(None, None, None, None).total is None
