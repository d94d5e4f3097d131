"""Process that verifies many candidates one after another: `python -I -S -B warm_process.py`, for tests alone.

It has the environment, the layers and the code of a candidate's own process (child.py), but imports jax once. Lines of
JSON go in and come out; the first has the limits, and each other one a candidate with its task.
"""

import base64
import functools
import json
import os
import sys
import time
from typing import Any

CANDIDATES = 40  # after that many, compiled programs are dropped: they take address space


def main() -> None:
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_RDWR), 1)
    limits = json.loads(sys.stdin.buffer.readline())
    sys.path[:] = limits["path"]

    from qllm_jax.tfcaf.sandbox import child, confine

    def send(**line: Any) -> None:
        channel.write(json.dumps(line) + "\n")
        channel.flush()

    layers = confine.enter(limits["cpu_s"], limits["memory_bytes"], limits["parent"])
    confine.forbid_reading = functools.cache(confine.forbid_reading)  # each call would add a layer, which are few
    for count, line in enumerate(sys.stdin.buffer, 1):
        request, began = json.loads(line), time.process_time()
        outcome = child.verify(request, base64.b64decode(request["arrays"]), layers, lambda **_: None)
        send(**outcome, sandbox=layers, cpu_seconds=round(time.process_time() - began, 2))
        if count % CANDIDATES == 0 and "jax" in sys.modules:
            sys.modules["jax"].clear_caches()


if __name__ == "__main__":
    main()
