"""Labels of failed requests: each fault of a server has its own, whatever the server says."""

from pathlib import Path

import pytest
from chat_server import Answer, completion, error, serving

from qllm_jax.critic import faults
from qllm_jax.llm import providers, transcript
from qllm_jax.llm.client import Budget, Client, ask
from qllm_jax.llm.types import Request, StoppedError

SAID = "no answer within a day, no connection, busy or broken: the server refuses the answer, out of credit"
STATUS = {
    **dict.fromkeys((400, 401, 403, 404, 413, 422, 451), faults.REFUSED),
    **dict.fromkeys((408, 409, 425, 429, 500, 502, 503, 504, 529, 599), faults.BUSY),
    402: faults.REFUSED,
}
ANSWERS = {
    **{f"HTTP {code}": (error(code, SAID), label) for code, label in STATUS.items()},
    "no credit": (error(429, SAID, code="insufficient_quota"), faults.REFUSED),
    "redirect": (Answer("", 302, {"Location": "http://127.0.0.1:9/v1"}), faults.REFUSED),
    "text": (Answer(SAID), faults.BAD_REPLY),
    "another object": (Answer(f'{{"detail": "{SAID}"}}'), faults.BAD_REPLY),
    "an error beside choices": (Answer(f'{{"error": {{"message": "{SAID}"}}, "choices": []}}'), faults.BAD_REPLY),
    "no message": (Answer(f'{{"choices": [{{"text": "{SAID}"}}]}}'), faults.BAD_REPLY),
    "nested": (Answer("[" * 100_000), faults.BAD_REPLY),
    "broken off": (completion("half", finish="error"), faults.BAD_REPLY),
    "too long": (Answer(" " * (9 * 2**20)), faults.BAD_REPLY),
    "stall": (Answer("", how="stall"), faults.TIMEOUT),
    "drip": (Answer("", how="drip"), faults.TIMEOUT),
    "drop": (Answer("", how="drop"), faults.LOST),
    "cut": (Answer("x" * 500, how="cut"), faults.LOST),
}


def label_of(folder: Path, url: str, timeout_s: float) -> str:
    """Label of the failure of one request."""
    settings = {"provider": "openai", "model": "m", "base_url": url, "api_key_env": None, "retries": 0}
    settings |= {"timeout_s": timeout_s, "backoff_s": 0.001, "params": {}}
    settings |= {"usd_per_1m_input": None, "usd_per_1m_output": None}
    with transcript.opened(folder / transcript.NAME) as lines:
        client = Client(providers.make(settings), lines, Budget(), folder, lambda line: None)
        with pytest.raises(StoppedError):
            ask(client, Request((0, 0, 0), "the system", "the question"))
        return faults.label(lines.records[-1]["problem"])


@pytest.mark.parametrize("name", ANSWERS)
def test_each_failure_of_a_server_has_its_label(name: str, tmp_path: Path):
    answer, label = ANSWERS[name]
    with serving(lambda request, n: answer) as server:
        assert label_of(tmp_path, server.url, 0.2 if label == faults.TIMEOUT else 20.0) == label


def test_no_server_is_a_lost_connection_and_a_transcript_without_an_answer_has_a_label(tmp_path: Path):
    assert label_of(tmp_path, "http://127.0.0.1:9/v1", 20.0) == faults.LOST
    assert faults.label("the transcript has no answer to this request") == faults.NOT_STORED
    assert faults.label("something else") == faults.OTHER
