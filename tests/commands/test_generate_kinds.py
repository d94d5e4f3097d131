"""The command for each kind of function: what it asks of the gates, and how training is to use what it wrote."""

from pathlib import Path
from typing import Any

import pytest
from chat_server import completion, serving
from scripted import arguments, fenced, function, gates

from qllm_jax.commands.generate import generate
from qllm_jax.tfcaf.verdict import Verdict, sha256

OF_STEP = "def credit(state, actions, reward, next_state):\n    return actions * reward, 0.0\n"
OF_TASK = "TASKS = 2\n\n\ndef assign(state):\n    return state\n"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("QLLM_JAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def generated(text: str, path: Path, *more: str) -> int:
    """Code with which a generation on duty ends whose model writes this text."""
    with serving(lambda request, n: completion(fenced(text))) as server:
        return generate(arguments(server, path, "env=duty", "k=1", "rounds=1", "repairs=0", "evaluator=off", *more))


def test_factors_are_asked_of_the_gates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def passed(text: str, *_: Any, **__: Any) -> Verdict:
        return Verdict("OK", "L8", "", None, "", sha256(text), {"credit": {"factors": 1}})

    monkeypatch.setattr("qllm_jax.tfcaf.gates.verify", passed)
    assert generated(OF_STEP, tmp_path / "credit", "kind=reward") == 0
    assert generated(OF_STEP, tmp_path / "factors", "kind=reward", "factors=true") == 1


@pytest.mark.parametrize(
    ("kind", "text", "use"),
    [
        ("value", function("x"), "algo.mixer.function={}"),
        ("reward", OF_STEP, "algo=matched_mca algo.learner.function={}"),
        ("task", OF_TASK, "algo=matched_taca algo.learner.task={}"),
    ],
    ids=["value", "reward", "task"],
)
def test_the_command_that_trains_with_the_function_is_printed(kind, text, use, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setattr("qllm_jax.tfcaf.gates.verify", gates)
    path = tmp_path / "run"
    assert generated(text, path, f"kind={kind}") == 0
    command = f"train with it: python -m qllm_jax.train n_agents=3 env=duty {use.format(path / 'tfcaf.py')}\n"
    assert command in capsys.readouterr().out
