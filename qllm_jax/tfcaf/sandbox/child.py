"""Process of one candidate: `python -I -S -B child.py`, a request in, lines of JSON out.

The request is a line of JSON (see `gates.py`) and then the arrays of the task. Each line of the answer names a layer
and an activity; the last one is the outcome. jax is imported only for a text that passes the static check.
"""

import gc
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any


def main() -> None:
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    head, _, arrays = sys.stdin.buffer.read().partition(b"\n")
    os.dup2(null, 0)
    request = json.loads(head)
    sys.path[:] = request["path"]

    def send(**line: Any) -> None:
        channel.write(json.dumps(line) + "\n")
        channel.flush()

    from qllm_jax.tfcaf.sandbox import confine

    layers = confine.enter(request["cpu_s"], request["memory_bytes"], request["parent"])
    send(layer="L2", activity="reading it", sandbox=layers)
    outcome = verify(request, arrays, layers, send)
    send(**outcome, sandbox=layers, cpu_seconds=round(time.process_time(), 2))


def verify(request: dict[str, Any], arrays: bytes, layers: dict[str, str], send: Callable[..., None]) -> dict[str, Any]:
    """Return the outcome, but for `sandbox` and `cpu_seconds`. Raises only what is not the candidate's doing."""
    from qllm_jax.tfcaf.sandbox import confine
    from qllm_jax.tfcaf.static.check import check
    from qllm_jax.tfcaf.verdict import OK, TfcafError

    layer = "L2"

    def enter(entered: str, activity: str) -> None:
        nonlocal layer
        layer = entered
        send(layer=layer, activity=activity)

    def outcome(code: str, problem: str, line: int | None, hint: str) -> dict[str, Any]:
        return {"code": code, "layer": layer, "problem": problem, "line": line, "hint": hint, "report": {}}

    try:
        checked = check(request["text"], request["file"], request["task"]["kind"])
        enter("L5", "importing jax")
        # An installed accelerator's plugin is loaded even where JAX_PLATFORMS is cpu, and takes more address space than
        # the limit leaves.
        sys.modules["jax_plugins"] = None  # pyright: ignore[reportArgumentType]
        gc.set_threshold(200_000, 50, 50)  # tracing makes many objects and few cycles
        from qllm_jax.tfcaf.loading import loader
        from qllm_jax.tfcaf.semantics import checks, task

        given = task.unpack(request["task"], arrays)
        loader.warm_up()
        layers |= confine.forbid_reading()
        report = checks.verify(checked, given, enter)
        return outcome(OK, "", None, "") | {"report": report, "layer": "L8"}
    except TfcafError as error:
        layer = "L3" if error.code == "STATIC" and layer == "L2" else layer
        return outcome(error.code, error.problem, error.location.line, error.hint)
    except Exception as error:
        if layer == "L5":
            raise
        if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
            return outcome("BUDGET", "out of memory", None, "use smaller arrays and no growing lists")
        problem = f"an unexpected {type(error).__name__}: {str(error)[:300]}"
        return outcome("RUNTIME", problem, None, "write it in a simpler way")


if __name__ == "__main__":
    main()
