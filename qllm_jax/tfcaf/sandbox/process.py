"""A fresh process for one candidate: isolated interpreter, bare environment, empty folder, deadline, capped answer."""

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, NamedTuple

# All that the process gets to see of the environment. A loader path is kept: on many clusters Python needs it to start.
_KEPT = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
_SET = {
    "JAX_PLATFORMS": "cpu",  # an accelerator's driver reserves more address space than any limit
    # The simplifier turns 0/0 into 0 where a truth value is divided: a nan that another compiler would not hide.
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false --xla_disable_hlo_passes=algsimp",
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",  # each program runs a few times: compiling it well takes longer
    "NPROC": "1",  # size of XLA's thread pools; each thread reserves address space
    "MALLOC_ARENA_MAX": "2",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "LANG": "C.UTF-8",
}


class Ended(NamedTuple):
    """How the process ended and what it said."""

    answer: bytes
    errors: bytes
    code: int  # negative: the signal that killed it
    stopped: str  # "" or what it was stopped for: "time", "output"
    cpu_s: float  # processor time that it took


def import_path() -> list[str]:
    """Where the process finds jax and this package: it looks at no .pth file and no PYTHONPATH of its own."""
    return [os.path.abspath(entry) for entry in sys.path if os.path.exists(entry or ".")]


def run(script: Path, request: bytes, wall_s: float, output_bytes: int) -> Ended:
    """Runs `script` on `request` in its own session, and ends all of the session when it is done or stopped."""
    with tempfile.TemporaryDirectory(prefix="qllm_jax_", ignore_cleanup_errors=True) as folder:
        deadline = time.monotonic() + wall_s
        process, in_time = _start(script, request, folder), None
        try:
            answer, errors, stopped = _listen(process, deadline, output_bytes)
            in_time = None if stopped else _wait(process.pid, deadline)
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            code, cpu_s = in_time or _wait(process.pid, float("inf")) or (0, 0.0)
            process.returncode = code  # or Popen would wait for it, too
        return Ended(answer, errors, code, stopped or ("" if in_time else "time"), cpu_s)


def _start(script: Path, request: bytes, folder: str) -> subprocess.Popen[bytes]:
    environment = _SET | {name: os.environ[name] for name in _KEPT if name in os.environ}
    with tempfile.TemporaryFile() as given:  # a pipe could fill up before it is read
        given.write(request)
        given.seek(0)
        return subprocess.Popen(
            [sys.executable, "-I", "-S", "-B", str(script)],
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
            env=environment | {"HOME": folder, "TMPDIR": folder},
            start_new_session=True,
        )


def _listen(process: subprocess.Popen[bytes], deadline: float, output_bytes: int) -> tuple[bytes, bytes, str]:
    """Answer, errors and what stopped it: reads until both pipes are closed, too much came, or the time is up."""
    assert process.stdout is not None
    assert process.stderr is not None
    pipes: dict[IO[bytes], bytearray] = {process.stdout: bytearray(), process.stderr: bytearray()}
    stopped = ""
    with selectors.DefaultSelector() as selector, process.stdout, process.stderr:
        for pipe in pipes:
            selector.register(pipe, selectors.EVENT_READ)
        while selector.get_map() and not stopped:
            if (left := deadline - time.monotonic()) <= 0:
                stopped = "time"
                break
            for key, _ in selector.select(left):
                pipe: IO[bytes] = key.fileobj  # pyright: ignore[reportAssignmentType]
                if not (data := os.read(pipe.fileno(), 65536)):
                    selector.unregister(pipe)
                pipes[pipe] += data
                if len(pipes[pipe]) > output_bytes:
                    stopped = "output"
    return bytes(pipes[process.stdout]), bytes(pipes[process.stderr]), stopped


def _wait(pid: int, deadline: float) -> tuple[int, float] | None:
    """How a process ended and its processor time, or None if it goes on: it may have closed its pipes long before."""
    while True:
        ended, status, usage = os.wait4(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime
        if time.monotonic() >= deadline:
            return None
        time.sleep(0.005)
