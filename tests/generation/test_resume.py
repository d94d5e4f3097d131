"""A generation that was stopped keeps what it has, repeats no request, and ends with the same file when resumed."""

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from chat_server import Answer, Server, completion, error, serving
from scripted import arguments, fenced, function, gates, numbered

from qllm_jax.commands.generate import generate
from qllm_jax.errors import UserError
from qllm_jax.llm import transcript

ROOT = Path(__file__).resolve().parent.parent.parent
N_CALLS = 6  # of a generation with 2 rounds of 2
# A process with the scripted gates: the verdicts are not what is tested.
PROCESS = """
import sys
from scripted import gates
from qllm_jax import cli, tfcaf
from qllm_jax.commands import generate
import qllm_jax.tfcaf.gates
tfcaf.gates.verify = gates
cli.main(generate.generate, None)
"""


class Whole(NamedTuple):
    """A generation that nothing stopped, and the state of its folder at each request."""

    path: Path
    snapshots: list[Path]  # [n]: the folder while request n is under way, as SIGKILL leaves it
    server: Server
    continue_at: Callable[[int], None]  # the next request gets the answer that request n got


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("QLLM_JAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("TEST_KEY", "one")


@pytest.fixture
def scripted_gates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qllm_jax.tfcaf.gates.verify", gates)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    folder = tmp_path_factory.mktemp("generations")
    path, snapshots, numbers = folder / "whole", [], [itertools.count()]

    def answer(request: dict[str, Any], n: int) -> Answer:
        if n < N_CALLS:
            snapshots.append(shutil.copytree(path, folder / f"request_{n}"))
        return numbered(request, next(numbers[0]))

    def continue_at(n: int) -> None:
        numbers[0] = itertools.count(n)

    with pytest.MonkeyPatch.context() as patch, serving(answer) as server:
        patch.setattr("qllm_jax.tfcaf.gates.verify", gates)
        patch.setenv("NO_PROXY", "127.0.0.1")
        assert generate(arguments(server, path)) == 0
        assert len(server.requests) == N_CALLS
        yield Whole(path, snapshots, server, continue_at)


# 0 and 1: inside of round 1; 3: the first request of round 2; 5: the last evaluation.
@pytest.mark.usefixtures("scripted_gates")
@pytest.mark.parametrize("at", [0, 1, 3, 5])
def test_killed_and_resumed_equals_never_stopped(whole: Whole, tmp_path: Path, at: int):
    path = shutil.copytree(whole.snapshots[at], tmp_path / "killed")
    with open(path / transcript.NAME, "a") as file:
        file.write('{"kind": "reply", "place": [2, "co')  # the line that was being written
    whole.continue_at(at)
    before = len(whole.server.requests)
    assert generate([f"resume={path}"]) == 0
    assert (path / "tfcaf.py").read_bytes() == (whole.path / "tfcaf.py").read_bytes()
    # The request that was under way is repeated, and no answered one is.
    assert whole.server.requests[before:] == whole.server.requests[at:N_CALLS]
    assert summary_of(path)["tries"] == summary_of(whole.path)["tries"]


def summary_of(path: Path) -> dict[str, Any]:
    found = json.loads((path / "summary.json").read_text())
    for tried in found["tries"]:
        del tried["seconds"]
    return found


@contextmanager
def holding(at: int, reached: Callable[[], None]) -> Iterator[Server]:
    """A server that calls `reached` at request `at` and never answers it; it answers all others."""

    def answer(request: dict[str, Any], n: int) -> Answer:
        if n == at:
            reached()
            return Answer("", how="stall")
        return numbered(request, n - (n > at))

    with serving(answer) as server:
        yield server


@pytest.mark.slow
@pytest.mark.usefixtures("scripted_gates")
def test_a_killed_process_can_be_resumed(whole: Whole, tmp_path: Path):
    path, reached = tmp_path / "killed", threading.Event()
    paths = [str(ROOT), str(ROOT / "envs"), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "JAX_PLATFORMS": "cpu"}
    with holding(3, reached.set) as server:
        child = subprocess.Popen([sys.executable, "-c", PROCESS, *arguments(server, path)], env=environment)
        assert reached.wait(60)
        child.send_signal(signal.SIGKILL)
        child.wait()
        assert generate([f"resume={path}"]) == 0
    assert (path / "tfcaf.py").read_bytes() == (whole.path / "tfcaf.py").read_bytes()
    assert len(server.requests) == N_CALLS + 1


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGINT as a terminal has it: a shell that starts the tests in the background has them ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("scripted_gates", "interruptible")
def test_ctrl_c_keeps_the_choice_and_names_the_command_that_resumes(
    whole: Whole, tmp_path: Path, capsys: pytest.CaptureFixture
):
    path = tmp_path / "stopped"
    with holding(4, lambda: os.kill(os.getpid(), signal.SIGINT)) as server:
        assert generate(arguments(server, path)) == 130
        printed = capsys.readouterr().out
        assert f"stopped: interrupted; go on: python -m qllm_jax.generate resume={path}" in printed
        assert '"""function 0"""' in (path / "tfcaf.py").read_text()  # the choice of round 1
        assert generate([f"resume={path}"]) == 0
    assert (path / "tfcaf.py").read_bytes() == (whole.path / "tfcaf.py").read_bytes()


@pytest.mark.usefixtures("scripted_gates")
def test_resuming_a_finished_generation_makes_no_request(whole: Whole, tmp_path: Path):
    path = tmp_path / "again"
    shutil.copytree(whole.path, path)
    (path / "tfcaf.py").unlink()
    assert generate([f"resume={path}"]) == 0
    assert (path / "tfcaf.py").read_bytes() == (whole.path / "tfcaf.py").read_bytes()
    assert (path / transcript.NAME).read_bytes() == (whole.path / transcript.NAME).read_bytes()


# Every call takes 120 tokens: at 1 USD a million in and out, 0.00012 USD.
LIMITS = [
    ("max_calls=1", 1, "max_calls=1 is reached", "max_calls=50"),
    ("max_tokens=479", 3, "max_tokens=479 would be exceeded (360 are used)", "max_tokens=10000"),
    ("max_usd=0.00025", 2, "max_usd=0.00025 would be exceeded (0.0002 are used)", "max_usd=5"),
]


@pytest.mark.usefixtures("scripted_gates")
@pytest.mark.parametrize(("limit", "calls", "sentence", "more"), LIMITS)
def test_a_limit_stops_cleanly_and_a_higher_one_resumes(
    whole: Whole, tmp_path: Path, capsys: pytest.CaptureFixture, limit: str, calls: int, sentence: str, more: str
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
        assert len(server.requests) == N_CALLS
        name, _, value = more.partition("=")
        assert f"{name}: {value}" in (path / "generate.yaml").read_text()
    assert (path / "tfcaf.py").read_bytes() == (whole.path / "tfcaf.py").read_bytes()


@pytest.mark.usefixtures("scripted_gates")
def test_a_server_that_does_not_report_tokens_stops_a_limit_on_them(tmp_path: Path, capsys: pytest.CaptureFixture):
    silent = lambda request, n: completion(fenced(function("x")), usage=None)
    with serving(silent) as server:
        assert generate(arguments(server, tmp_path / "run", "max_tokens=100000")) == 3
    assert len(server.requests) == 1
    assert "max_tokens cannot be kept: the server does not report" in capsys.readouterr().out


@pytest.mark.usefixtures("scripted_gates")
def test_a_refused_key_stops_and_the_right_one_resumes(
    whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    path = tmp_path / "run"
    with serving(lambda request, n: error(401, "no") if n == 0 else numbered(request, n - 1)) as server:
        assert generate(arguments(server, path, "llm.api_key_env=TEST_KEY")) == 3
        assert "the server refuses the key" in capsys.readouterr().out
        assert not (path / "tfcaf.py").exists()
        monkeypatch.setenv("TEST_KEY", "another")
        assert generate([f"resume={path}"]) == 0
        assert server.headers[1]["authorization"] == "Bearer another"
    assert (path / "tfcaf.py").read_bytes() == (whole.path / "tfcaf.py").read_bytes()


@pytest.mark.usefixtures("scripted_gates")
def test_a_server_that_has_moved_or_is_slow_is_reached_by_new_settings(whole: Whole, tmp_path: Path):
    path = tmp_path / "run"
    with serving(lambda request, n: error(503, "gone")) as old:
        assert generate(arguments(old, path)) == 3
    with serving(numbered) as new:
        moved = [part for part in arguments(new, path) if part.startswith("llm.base_url=")]
        assert generate([f"resume={path}", *moved, "llm.timeout_s=77"]) == 0
    with pytest.raises(UserError, match=r"only max_calls, .*, llm.backoff_s can change, not llm.model"):
        generate([f"resume={path}", "llm.model=another"])
    assert generate([f"resume={path}"]) == 0
    assert "timeout_s: 77" in (path / "generate.yaml").read_text()
    assert (path / "tfcaf.py").read_bytes() == (whole.path / "tfcaf.py").read_bytes()


@pytest.mark.usefixtures("scripted_gates")
def test_nothing_passes(tmp_path: Path, capsys: pytest.CaptureFixture):
    with serving(lambda request, n: completion(fenced(function(f"bad {n}")))) as server:
        assert generate(arguments(server, tmp_path / "run")) == 1
    assert len(server.requests) == 12
    assert "no function passed the gates" in capsys.readouterr().out
    assert not (tmp_path / "run" / "tfcaf.py").exists()


@pytest.mark.usefixtures("scripted_gates")
def test_a_function_that_newer_gates_refuse_is_not_written(whole: Whole, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("qllm_jax.tfcaf.gates.verify", lambda text, file, env, kind: gates("bad", file))
    arguments = ["llm=replay", f"llm.transcript={whole.path}", f"run_dir={tmp_path / 'run'}"]
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
