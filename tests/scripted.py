"""Scripted models and gates for tests of generation: words in a function decide its verdict."""

import json
from pathlib import Path
from typing import Any

from chat_server import Answer, Server, completion

from qllm_jax.generation.prompts import MESSAGES, Prompts, read
from qllm_jax.llm.types import Reply, Usage
from qllm_jax.tfcaf.static import igm as igm_gate
from qllm_jax.tfcaf.verdict import Verdict, sha256

PROMPTS = Prompts("the coder's system text", "the evaluator's system text", {name: read(name) for name in MESSAGES})


def function(mark: str, igm: str | None = "True") -> str:
    """A credit function with the docstring `mark`."""
    gate = "" if igm is None else f"IGM = {igm}\n\n\n"
    return f'{gate}def credit(state):\n    """{mark}"""\n    return state["w"], 0.0\n'


def reply(text: str = "", reasoning: str = "", finish: str | None = "stop") -> Reply:
    """A reply of the model m."""
    return Reply(text, reasoning, finish, Usage(1, 1, None, None), "m", "2026-06-01")


def fenced(text: str) -> str:
    return f"Here it is:\n\n```python\n{text}```\n"


def gates(text: str, file: str, env: dict[str, Any] | None = None, kind: str = "value") -> Verdict:
    """Refuse a function with the word bad, and one with the word negative while IGM is on."""
    del file, env, kind
    if "bad" in text:
        return Verdict("NANGRAD", "L6", "the gradient is nan", 2, "bound what you divide by", sha256(text), {})
    if "negative" in text and igm_gate.read(text):
        return Verdict("NONMONO", "L6", "a weight is negative", 2, "make it positive", sha256(text), {})
    return Verdict("OK", "L8", "", None, "", sha256(text), {"weights": {"negative_share": 0.25}})


def judgement(**changes: Any) -> str:
    """An evaluator's answer."""
    return json.dumps({"choice": 1, "reason": "r", "advice": "a", "igm": True, "igm_reason": "i"} | changes)


def is_evaluator(request: dict[str, Any]) -> bool:
    """True if a request is to the evaluator."""
    return request["messages"][0]["content"].startswith("You review")


def numbered(request: dict[str, Any], n: int) -> Answer:
    """Answer request `n` with a function that has its number, or with the evaluator's choice of the first."""
    return completion(judgement() if is_evaluator(request) else fenced(function(f"function {n}")))


def arguments(server: Server, path: Path, *more: str) -> list[str]:
    """Arguments of the command: two rounds of two, which take six calls if nothing is refused."""
    base = ["llm=ollama", "llm.model=m", f"llm.base_url={server.url}", "llm.backoff_s=0.001", f"run_dir={path}"]
    return [*base, "n_agents=3", "k=2", "rounds=2", "repairs=2", *more]
