"""One request to a server on loopback that misbehaves: its reply, its failures and what the transcript holds."""

from pathlib import Path
from typing import Any

from chat_server import Answer, completion, serving

from qllm_jax.llm import providers, transcript
from qllm_jax.llm.client import Budget, Client, ask
from qllm_jax.llm.types import Reply, Request, StoppedError

REQUEST = Request((1, "coder", 1, 0), "the system", "the question")
GOOD = completion("code")
KEY = "sk-0123456789abcdefghijklmnop"  # TEST_KEY must hold it


def llm(url: str = "http://127.0.0.1:9/v1", **changes: Any):
    plain = {
        "provider": "openai", "model": "m", "base_url": url, "api_key_env": "TEST_KEY", "timeout_s": 30, "retries": 1,
        "backoff_s": 0.001, "params": {}, "usd_per_1m_input": 1, "usd_per_1m_output": 2,
    }  # fmt: skip
    return providers.make(plain | changes)


def asked(folder: Path, *answers: Answer, **changes: Any) -> tuple[Reply | None, str, list[dict[str, Any]]]:
    """Reply to one request, the sentence of its failure, and the records. The last answer is repeated."""
    with (
        serving(lambda request, n: answers[min(n, len(answers) - 1)]) as server,
        transcript.opened(folder / transcript.NAME) as lines,
    ):
        if not lines.records:
            transcript.append(lines, "start")
        before, reply, problems = len(lines.records), None, []
        try:
            reply = ask(Client(llm(server.url, **changes), lines, Budget(), folder, lambda line: None), REQUEST)
        except StoppedError as stop:
            problems = [str(stop)]
        records = lines.records[before:]
        assert len(records) >= len(server.requests)  # each request has its line
        problems = [record["problem"] for record in records if record["kind"] == "failure"] + problems
        return reply, "; ".join(problems), records
