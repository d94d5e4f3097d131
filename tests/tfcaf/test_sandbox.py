"""The process of a candidate: its limits and layers, and how it ends, shown by programs that try."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from qllm_jax.errors import UserError
from qllm_jax.tfcaf import gates
from qllm_jax.tfcaf.sandbox import process
from qllm_jax.tfcaf.sandbox.confine import ACTIVE

ENV = {"name": "mpe_spread", "n_agents": 3}
GOOD = "def credit(state):\n    return 1.0 + state['agent_pos'][:, 0] ** 2, 0.0\n"

# Locks itself in as the process of a candidate does, then tries each line of ATTEMPTS and prints the outcome.
PROBE = r"""
import json, os, sys
request = json.loads(sys.stdin.buffer.read())
sys.path[:] = request["path"]
from qllm_jax.tfcaf.sandbox import confine
layers = confine.enter(5, 2**30, os.getppid())
import ctypes, resource, signal, socket, struct, subprocess
layers |= confine.forbid_reading()
def capabilities():
    data = ctypes.create_string_buffer(24)
    ctypes.CDLL(None).capget(struct.pack("Ii", 0x20080522, 0), data)
    return struct.unpack("6I", data.raw)
def attempt(code):
    try:
        return repr(eval(code))
    except BaseException as error:
        return type(error).__name__
print(json.dumps({"layers": layers, "found": {name: attempt(code) for name, code in request["attempts"].items()}}))
"""

ATTEMPTS = {
    "write a file": "open('here.txt', 'w')",
    "write elsewhere": "open(ELSEWHERE, 'w')",
    "read a secret": "open(SECRET).read()",
    "list a folder": "os.listdir('/')",
    "remove a file": "os.remove(SECRET)",
    "run a program": "subprocess.run(['/bin/true'])",
    "fork": "os.fork()",
    "connect": "socket.create_connection(('127.0.0.1', PORT), 1)",
    "a local socket": "socket.socketpair()",
    "kill the parent": "os.kill(os.getppid(), 9)",
    "a limit of the parent": "resource.prlimit(os.getppid(), resource.RLIMIT_CPU)",
    "leave its session": "os.setsid()",
    "raise a limit": "resource.setrlimit(resource.RLIMIT_FSIZE, (1, 1))",
    "take 2 GiB": "len(bytearray(2**31))",
    "threads": "(lambda t: (t.start(), t.join(), 'yes')[-1])(__import__('threading').Thread(target=int))",
    "environment": "sorted(os.environ)",
    "folder": "os.getcwd()",
}


@pytest.fixture
def nothing_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QLLM_JAX_CACHE", str(tmp_path / "cache"))


def probe(tmp_path: Path, attempts: dict[str, str]) -> dict:
    script = tmp_path / "probe.py"
    script.write_text(PROBE)
    request = json.dumps({"path": process.import_path(), "attempts": attempts}).encode()
    ended = process.run(script, request, 60.0, 2**16)
    assert ended.code == 0, ended.errors.decode()
    return json.loads(ended.answer)


def test_what_a_process_cannot_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    names = {"SECRET": repr(str(secret)), "ELSEWHERE": repr(str(tmp_path / "new.txt")), "PORT": "9"}
    attempts = ATTEMPTS
    for name, value in names.items():
        attempts = {key: code.replace(name, value) for key, code in attempts.items()}
    answer = probe(tmp_path, attempts)
    layers, found = answer["layers"], answer["found"]
    assert layers["limits"] == ACTIVE
    assert found["threads"] == "'yes'"  # XLA needs them
    assert not {"OPENAI_API_KEY", "PATH", "USER", "VIRTUAL_ENV"} & set(eval(found["environment"]))
    assert not Path(eval(found["folder"])).exists()  # it was its own, and is gone
    assert found["take 2 GiB"] == "MemoryError"
    refused = ["write a file", "write elsewhere", "raise a limit", "leave its session"]
    if layers["seccomp"] == ACTIVE:
        refused += ["run a program", "fork", "connect", "a local socket", "kill the parent", "a limit of the parent"]
    if layers["landlock"] == ACTIVE:
        refused += ["remove a file"]
    if layers["landlock_reading"] == ACTIVE:
        refused += ["read a secret", "list a folder"]
    assert {
        name: found[name] for name in refused if found[name] not in ("PermissionError", "OSError", "ValueError")
    } == {}
    assert secret.read_text() == "secret"
    assert not (tmp_path / "new.txt").exists()


def test_limits_namespaces_and_capabilities_are_set(tmp_path: Path):
    names, spaces = ("CPU", "FSIZE", "CORE", "NOFILE", "AS"), ("user", "net", "ipc")
    attempts = {name: f"resource.getrlimit(resource.RLIMIT_{name})" for name in names}
    attempts |= {name: f"os.readlink('/proc/self/ns/{name}')" for name in spaces}
    answer = probe(tmp_path, attempts | {"capabilities": "capabilities()"})
    layers, found = answer["layers"], {name: eval(text) for name, text in answer["found"].items()}
    assert [found[name] for name in names] == [(5, 6), (0, 0), (0, 0), (64, 64), (2**30, 2**30)]
    if layers["namespaces"] == ACTIVE:
        assert all(found[name] != os.readlink(f"/proc/self/ns/{name}") for name in spaces)
    if layers["capabilities"] == ACTIVE:
        assert found["capabilities"] == (0,) * 6


def run(tmp_path: Path, program: str, wall_s: float = 30.0, output_bytes: int = 1000) -> process.Result:
    script = tmp_path / "program.py"
    script.write_text(textwrap.dedent(program))
    return process.run(script, b"", wall_s, output_bytes)


def test_a_deadline_ends_all_of_its_processes(tmp_path: Path):
    program = f"""
        import subprocess, sys, time
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        open({str(tmp_path / "pid")!r}, "w").write(str(child.pid))
        time.sleep(600)
    """
    ended = run(tmp_path, program, wall_s=3.0)
    assert (ended.stopped, ended.code) == ("time", -signal.SIGKILL)
    grandchild = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 10
    while alive(grandchild) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(grandchild)


def alive(pid: int) -> bool:
    """Running, and not merely waiting for its parent to ask how it ended."""
    found = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return bool(found.stdout.strip()) and not found.stdout.startswith("Z")


def test_closing_its_pipes_does_not_hide_it(tmp_path: Path):
    ended = run(tmp_path, "import os, time; os.close(1); os.close(2); time.sleep(600)", wall_s=2.0)
    assert ended.stopped == "time"


def test_too_much_output_ends_it(tmp_path: Path):
    ended = run(tmp_path, "while True: print('x' * 100)")
    assert ended.stopped == "output"
    assert len(ended.answer) < 10**6


def test_too_many_errors_end_it(tmp_path: Path):
    ended = run(tmp_path, "import sys; [sys.stderr.write('x' * 1000) for i in range(3000)]", output_bytes=2**20)
    assert ended.stopped == "output"


def test_code_and_errors_are_returned(tmp_path: Path):
    ended = run(tmp_path, "import sys; print('answer'); sys.exit('reason')")
    assert ended[:-1] == (b"answer\n", b"reason\n", 1, "")
    assert 0 < ended.cpu_s < 10


def test_it_dies_with_its_parent(tmp_path: Path):
    program = f"""
        import os, sys, time
        sys.path[:] = {process.import_path()!r}
        from qllm_jax.tfcaf.sandbox import confine
        open({str(tmp_path / "pid")!r}, "w").write(str(os.getpid()))
        layers = confine.enter(60, 2**30, os.getppid())
        time.sleep(60 if layers["dies_with_parent"] == "active" else 0)
    """
    script = tmp_path / "program.py"
    script.write_text(textwrap.dedent(program))
    call = f"from qllm_jax.tfcaf.sandbox import process; process.run(process.Path({str(script)!r}), b'', 60.0, 1000)"
    path = os.pathsep.join(process.import_path())
    parent = subprocess.Popen([sys.executable, "-c", call], env={**os.environ, "PYTHONPATH": path})
    deadline = time.monotonic() + 30
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.5)  # it locks itself in
    parent.kill()
    parent.wait()
    pid = int((tmp_path / "pid").read_text())
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(pid)


def test_a_machine_that_gives_the_process_no_time_is_no_verdict(monkeypatch: pytest.MonkeyPatch):
    said = b'{"layer": "L6", "activity": "tracing it"}\n'
    monkeypatch.setattr(process, "run", lambda *arguments: process.Result(said, b"", -9, "time", 7.0))
    message = r"mine.py could not be verified: this machine gave its process 7 s of processor time in 300 s; try again"
    with pytest.raises(UserError, match=message):
        gates.verify(GOOD, "mine.py", ENV)


def said(**line: object) -> bytes:
    """One line of what the process of a candidate says."""
    return json.dumps(line).encode() + b"\n"


LAYERS = {"limits": ACTIVE}
START = said(layer="L2", activity="reading it", sandbox=LAYERS)
FINE = said(code="OK", layer="L8", problem="", line=None, hint="", report={}, sandbox=LAYERS, cpu_seconds=1.0)
UNUSABLE = {
    "it_went_on_after_its_outcome": (START + FINE, "output"),
    "more_activity": (START + FINE + said(layer="L6", activity="tracing it"), ""),
    "a_line_of_no_json": (START + b"no JSON\n" + FINE, ""),
    "no_code": (START + FINE.replace(b'"OK"', b'"FINE"'), ""),
    "no_whole_line": (START + FINE.rstrip(b"\n"), ""),
}


def ends(monkeypatch: pytest.MonkeyPatch, *given: process.Result) -> None:
    """Let the processes of candidates end like this, in turn."""
    left = iter(given)
    monkeypatch.setattr(process, "run", lambda *arguments: next(left))


@pytest.mark.usefixtures("nothing_stored")
def test_a_process_that_dies_of_sigsegv_is_started_a_second_time(monkeypatch: pytest.MonkeyPatch):
    died, fine = process.Result(START, b"", -signal.SIGSEGV, "", 1.0), process.Result(START + FINE, b"", 0, "", 1.0)
    ends(monkeypatch, died, died, fine)
    verdict = gates.verify(GOOD, "mine.py", ENV)
    assert (verdict.code, "SIGSEGV" in verdict.problem) == ("BUDGET", True)
    ends(monkeypatch, died._replace(code=-signal.SIGKILL), fine)  # by its own limits: once
    assert gates.verify(GOOD, "mine.py", ENV).code == "BUDGET"
    ends(monkeypatch, died, fine)
    assert gates.verify(GOOD, "mine.py", ENV).code == "OK"


@pytest.mark.usefixtures("nothing_stored")
@pytest.mark.parametrize(("answer", "stopped"), UNUSABLE.values(), ids=UNUSABLE)
def test_an_outcome_is_the_last_whole_line_of_a_process_that_ended_by_itself(answer, stopped, monkeypatch):
    ends(monkeypatch, process.Result(answer, b"", 1, stopped, 1.0))
    assert gates.verify(GOOD, "mine.py", ENV).code == "BUDGET"


def test_active_layers_are_reported():
    layers = gates.verify(GOOD, "mine.py", ENV).report["sandbox"]
    assert set(layers) >= {"limits", "namespaces", "landlock", "seccomp", "landlock_reading", "dies_with_parent"}
    assert all(text == ACTIVE or text.startswith("not available") for text in layers.values())


def test_a_process_that_cannot_start_is_no_verdict(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(process, "import_path", list)
    with pytest.raises(UserError, match=r"did not start.*No module named"):
        gates.verify(GOOD, "mine.py", ENV)


def test_too_little_memory_for_jax_is_no_verdict():
    with pytest.raises(UserError, match="did not start"):
        gates.verify(GOOD, "mine.py", ENV, limits=gates.Limits(memory_bytes=2**28))


def test_an_accelerator_s_plugin_is_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    plugin = tmp_path / "jax_plugins" / "huge" / "__init__.py"
    plugin.parent.mkdir(parents=True)
    plugin.write_text("import os\n\n\ndef initialize():\n    os.abort()\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert gates.verify(GOOD, "good.py", ENV).code == "OK"
