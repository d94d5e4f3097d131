"""A fresh process for one candidate: isolated interpreter, bare environment, empty folder, deadline, capped answer."""

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import IO, NamedTuple

# The only variables that the process inherits. On many clusters Python needs a loader path to start.
_INHERITED = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
# One piece of code for each program, and XLA's older code for fusions where there still is (jax 0.11 ends at a flag
# that it does not know): compiling takes less than half the time.
QUICK_FLAGS = "--xla_cpu_parallel_codegen_split_count=1"
if tuple(int(part) for part in version("jax").split(".")[:2]) < (0, 11):
    QUICK_FLAGS += " --xla_cpu_use_fusion_emitters=false"
_ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",  # an accelerator's driver reserves more address space than any limit
    # The simplifier turns 0/0 into 0 where a truth value is divided: a nan that another compiler would not hide.
    "XLA_FLAGS": f"--xla_cpu_multi_thread_eigen=false --xla_disable_hlo_passes=algsimp {QUICK_FLAGS}",
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",  # each program runs a few times: compiling it well takes longer
    "NPROC": "1",  # size of XLA's thread pools; each thread reserves address space
    "MALLOC_ARENA_MAX": "2",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "LANG": "C.UTF-8",
}


class Result(NamedTuple):
    """End of a process, and its output."""

    answer: bytes  # stdout
    errors: bytes  # stderr
    code: int  # negative: the signal that killed it
    stopped: str  # "", or the limit for which it was stopped: "time", "output"
    cpu_s: float  # processor time


def import_path() -> list[str]:
    """Return the folders of jax and of this package: the process reads no .pth file and no PYTHONPATH."""
    return [os.path.abspath(entry) for entry in sys.path if os.path.exists(entry or ".")]


def command(script: Path) -> list[str]:
    """Return the command of an isolated interpreter that runs `script`."""
    return [sys.executable, "-I", "-S", "-B", str(script)]


def environment(folder: str) -> dict[str, str]:
    """Return all environment variables of the process, whose home is `folder`."""
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return _ENVIRONMENT | inherited | {"HOME": folder, "TMPDIR": folder}


def run(script: Path, request: bytes, wall_s: float, output_bytes: int) -> Result:
    """Run `script` on `request` in its own session, and end all of the session when it is done or stopped."""
    with tempfile.TemporaryDirectory(prefix="qllm_jax_", ignore_cleanup_errors=True) as folder:
        deadline = time.monotonic() + wall_s
        process, in_time = _start(script, request, folder), None
        try:
            answer, errors, stopped = _read(process, deadline, output_bytes)
            in_time = None if stopped else _wait(process.pid, deadline)
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            code, cpu_s = in_time or _wait(process.pid, float("inf")) or (0, 0.0)
            process.returncode = code  # or Popen would wait for it, too
        return Result(answer, errors, code, stopped or ("" if in_time else "time"), cpu_s)


def _start(script: Path, request: bytes, folder: str) -> subprocess.Popen[bytes]:
    with tempfile.TemporaryFile() as given:  # a pipe could fill up before it is read
        given.write(request)
        given.seek(0)
        return subprocess.Popen(
            command(script),
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
            env=environment(folder),
            start_new_session=True,
        )


def _read(process: subprocess.Popen[bytes], deadline: float, output_bytes: int) -> tuple[bytes, bytes, str]:
    """Read answer and errors until both pipes are closed, too much came, or the time is up, which comes third."""
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
    """Return exit code and processor time, or None if it goes on: it may have closed its pipes long before."""
    while True:
        ended, status, usage = os.wait4(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime
        if time.monotonic() >= deadline:
            return None
        time.sleep(0.005)
