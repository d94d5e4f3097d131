"""Verdicts of one process that verifies many candidates (warm_process.py), which saves an import of jax for each."""

import base64
import json
import os
import selectors
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from qllm_jax.tfcaf import gates
from qllm_jax.tfcaf.sandbox import process
from qllm_jax.tfcaf.semantics import task
from qllm_jax.tfcaf.semantics.task import Task
from qllm_jax.tfcaf.static import text
from qllm_jax.tfcaf.verdict import TfcafError, Verdict, refusal

SCRIPT = Path(__file__).parent / "warm_process.py"
WAIT_S = 300.0  # for one verdict, on a loaded machine
LIMITS = {"cpu_s": 3600, "memory_bytes": 2**34}  # of all candidates together


class WarmGates:
    """`gates.verify_in` without a new process. One that dies is started again, once for a candidate."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def verify(self, source: str, file: str, of: Task) -> Verdict:
        """Return the verdict on `source` for a task; nothing is stored."""
        try:
            text.verify(source, file)
        except TfcafError as error:
            return refusal(error, "L1", source, {})
        packed, arrays = task.pack(of)
        request = {
            "text": source,
            "file": "<credit function>",
            "task": packed,
            "arrays": base64.b64encode(arrays).decode(),
        }
        outcome = self._ask(request) or self._ask(request)
        assert outcome is not None, "the process died twice"
        report = {key: outcome[key] for key in ("sandbox", "cpu_seconds")}
        return gates.verdict_of(outcome, source, file, report)

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _ask(self, request: dict[str, Any]) -> dict[str, Any] | None:
        """Return the outcome, or None where the process died."""
        if self._process is None or self._process.poll() is not None:
            self._process = self._start()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            assert selector.select(WAIT_S), "no verdict in time"
        line = self._process.stdout.readline()
        return json.loads(line) if line else None

    def _start(self) -> subprocess.Popen[bytes]:
        self.close()
        # Its own session is that of the tests: it ends when its input does.
        started = subprocess.Popen(
            process.command(SCRIPT),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=self._folder,
            env=process.environment(self._folder),
        )
        assert started.stdin is not None
        head = {"path": process.import_path(), "parent": os.getpid(), **LIMITS}
        started.stdin.write(json.dumps(head).encode() + b"\n")
        return started


@contextmanager
def warm_gates() -> Iterator[WarmGates]:
    """Yield gates whose process ends with the block."""
    with TemporaryDirectory() as folder:
        made = WarmGates(folder)
        try:
            yield made
        finally:
            made.close()
