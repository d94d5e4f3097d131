"""Whatever stops a generation: it keeps what it has, asks nothing twice, and ends with the same file when resumed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from chat_server import Answer, Server, completion, error, serving
from scripted import arguments, fenced, function, gates, numbered

from qllm_jax.errors import UserError
from qllm_jax.generate import generate
from qllm_jax.generation import play
from qllm_jax.llm import transcript

ROOT = Path(__file__).resolve().parent.parent.parent
# A process of its own with the scripted gates: what is tested with it is not what the gates say.
PROCESS = """
import sys
from scripted import gates
from qllm_jax import cli, generate
from qllm_jax.llm import play
play.gates.verify = gates
cli.main(generate.generate, None)
"""


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("QLLM_JAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("TEST_KEY", "one")


@pytest.fixture
def scripted_gates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(play.gates, "verify", gates)


@contextmanager
def held(at: int) -> Iterator[tuple[Server, threading.Event]]:
    """A server that answers `at` requests, then holds one for ever, and answers all that come later."""
    reached = threading.Event()

    def answer(request: dict[str, Any], n: int) -> Answer:
        if n == at:
            reached.set()
            return Answer("", how="stall")
        return numbered(request, n - (n > at))

    with serving(answer) as server:
        yield server, reached


def process(*overrides: str) -> subprocess.Popen:
    paths = [str(ROOT), str(ROOT / "envs"), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", PROCESS, *overrides]
    # A shell that starts the tests in the background has them ignore Ctrl-C, and their children with them.
    heed = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, env=environment, preexec_fn=heed, **pipes)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generation that nobody stopped: 2 rounds of 2, 6 calls."""
    path = tmp_path_factory.mktemp("generations") / "whole"
    with pytest.MonkeyPatch.context() as patch, serving(numbered) as server:
        patch.setattr(play.gates, "verify", gates)
        patch.setenv("NO_PROXY", "127.0.0.1")
        assert generate(arguments(server, path)) == 0
    assert len(server.requests) == 6
    return path


# 1: inside of round 1; 3: between the rounds, as the first question of round 2 is under way; 5: the last evaluation.
@pytest.mark.usefixtures("scripted_gates")
@pytest.mark.parametrize("at", [1, 3, 5])
def test_killed_and_resumed_equals_never_stopped(whole: Path, tmp_path: Path, at: int):
    path = tmp_path / "killed"
    with held(at) as (server, reached):
        child = process(*arguments(server, path))
        assert reached.wait(60)
        child.send_signal(signal.SIGKILL)
        child.wait()
        with open(path / transcript.NAME, "a") as file:
            file.write('{"kind": "reply", "place": [2, "co')  # the line that was being written
        assert generate([f"resume={path}"]) == 0
    assert (path / "tfcaf.py").read_bytes() == (whole / "tfcaf.py").read_bytes()
    # Six answers were needed and one question had none: no answered one was asked again.
    assert len(server.requests) == 7
    assert server.requests[at] == server.requests[at + 1]
    assert summary_of(path)["tries"] == summary_of(whole)["tries"]


def summary_of(path: Path) -> dict[str, Any]:
    found = json.loads((path / "summary.json").read_text())
    for tried in found["tries"]:
        del tried["seconds"]
    return found


@pytest.mark.usefixtures("scripted_gates")
def test_ctrl_c_keeps_what_there_is_and_says_how_to_go_on(whole: Path, tmp_path: Path):
    path = tmp_path / "stopped"
    with held(4) as (server, reached):
        child = process(*arguments(server, path))
        assert reached.wait(60)
        child.send_signal(signal.SIGINT)
        printed, _ = child.communicate(timeout=60)
        assert child.returncode == 130
        assert f"stopped: interrupted; go on: python -m qllm_jax.generate resume={path}" in printed
        assert '"""function 0"""' in (path / "tfcaf.py").read_text()  # the choice of round 1
        assert generate([f"resume={path}"]) == 0
    assert (path / "tfcaf.py").read_bytes() == (whole / "tfcaf.py").read_bytes()


@pytest.mark.usefixtures("scripted_gates")
def test_a_finished_generation_can_be_resumed_for_nothing(whole: Path, tmp_path: Path):
    path = tmp_path / "again"
    shutil.copytree(whole, path)
    (path / "tfcaf.py").unlink()
    assert generate([f"resume={path}"]) == 0
    assert (path / "tfcaf.py").read_bytes() == (whole / "tfcaf.py").read_bytes()
    assert (path / transcript.NAME).read_bytes() == (whole / transcript.NAME).read_bytes()


# Every call takes 120 tokens: at 1 USD a million in and out, 0.00012 USD.
LIMITS = [
    ("max_calls=1", 1, "max_calls=1 is reached", "max_calls=50"),
    ("max_tokens=479", 3, "max_tokens=479 would be exceeded (360 are used)", "max_tokens=10000"),
    ("max_usd=0.00025", 2, "max_usd=0.00025 would be exceeded (0.0002 are used)", "max_usd=5"),
]


@pytest.mark.usefixtures("scripted_gates")
@pytest.mark.parametrize(("limit", "calls", "sentence", "more"), LIMITS)
def test_a_limit_stops_cleanly_and_more_goes_on(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture, limit: str, calls: int, sentence: str, more: str
):
    path = tmp_path / "run"
    prices = ("llm.usd_per_1m_input=1", "llm.usd_per_1m_output=1")
    with serving(numbered) as server:
        assert generate(arguments(server, path, limit, *prices)) == 3
        assert len(server.requests) == calls
        assert f"stopped: {sentence}; go on: python -m qllm_jax.generate resume={path}" in capsys.readouterr().out
        assert '"""function 0"""' in (path / "tfcaf.py").read_text()  # what passed by then
        assert summary_of(path)["stopped"] == sentence
        assert generate([f"resume={path}"]) == 3
        assert len(server.requests) == calls
        assert generate([f"resume={path}", more]) == 0
        assert len(server.requests) == 6
        name, _, value = more.partition("=")
        assert f"{name}: {value}" in (path / "generate.yaml").read_text()
    assert (path / "tfcaf.py").read_bytes() == (whole / "tfcaf.py").read_bytes()


@pytest.mark.usefixtures("scripted_gates")
def test_a_server_that_does_not_report_tokens_stops_a_limit_on_them(tmp_path: Path, capsys: pytest.CaptureFixture):
    silent = lambda request, n: completion(fenced(function("x")), usage=None)
    with serving(silent) as server:
        assert generate(arguments(server, tmp_path / "run", "max_tokens=100000")) == 3
    assert len(server.requests) == 1
    assert "max_tokens cannot be kept: the server does not report" in capsys.readouterr().out


@pytest.mark.usefixtures("scripted_gates")
def test_a_refused_key_stops_and_the_right_one_goes_on(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    path = tmp_path / "run"
    with serving(lambda request, n: error(401, "no") if n == 0 else numbered(request, n - 1)) as server:
        assert generate(arguments(server, path, "llm.api_key_env=TEST_KEY")) == 3
        assert "the server refuses the key" in capsys.readouterr().out
        assert not (path / "tfcaf.py").exists()
        monkeypatch.setenv("TEST_KEY", "another")
        assert generate([f"resume={path}"]) == 0
        assert server.headers[1]["authorization"] == "Bearer another"
    assert (path / "tfcaf.py").read_bytes() == (whole / "tfcaf.py").read_bytes()


@pytest.mark.usefixtures("scripted_gates")
def test_nothing_passes(tmp_path: Path, capsys: pytest.CaptureFixture):
    with serving(lambda request, n: completion(fenced(function(f"bad {n}")))) as server:
        assert generate(arguments(server, tmp_path / "run")) == 1
    assert len(server.requests) == 12
    assert "no function passed the gates" in capsys.readouterr().out
    assert not (tmp_path / "run" / "tfcaf.py").exists()


@pytest.mark.usefixtures("scripted_gates")
def test_a_function_that_the_gates_refuse_by_now_is_not_written(whole: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(play.gates, "verify", lambda text, file, env: gates("bad", file))
    arguments = ["llm=replay", f"llm.transcript={whole}", f"run_dir={tmp_path / 'run'}"]
    with pytest.raises(UserError, match="does not pass the gates any more: the gradient is nan"):
        generate(arguments)
    assert not (tmp_path / "run" / "tfcaf.py").exists()
    assert (tmp_path / "run" / "table.txt").is_file()


def test_a_limit_that_cannot_be_kept_is_refused_before_it_is_recorded(tmp_path: Path):
    path = tmp_path / "run"
    assert generate(["llm=manual", f"run_dir={path}", "k=1"]) == 4
    before = (path / transcript.NAME).read_bytes()
    with pytest.raises(UserError, match="max_usd needs prices"):
        generate([f"resume={path}", "max_usd=1"])
    assert (path / transcript.NAME).read_bytes() == before
