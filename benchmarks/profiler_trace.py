"""Events of a trace of jax.profiler, as a list."""

import gzip
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax

CONTAINERS = ("while", "conditional", "call")  # their time is that of what they hold


class Event(NamedTuple):
    """Interval of a trace."""

    name: str  # on an accelerator's streams the kernel
    op: str  # the operation of the compiled program; empty where the trace names none
    microseconds: float
    process: str  # "/host:CPU", "/device:GPU:0" ...
    thread: str  # on an accelerator "Stream #..." for kernels; other threads sum up what these did


def record(run: Callable[[], Any]) -> tuple[Any, list[Event]]:
    """Return the result of a call, and all events of its trace."""
    options = jax.profiler.ProfileOptions()
    options.python_tracer_level = 0
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder, create_perfetto_trace=True, profiler_options=options):
            result = run()
        paths = list(Path(folder).glob("**/perfetto_trace.json.gz"))
        return result, [event for path in paths for event in read(json.loads(gzip.decompress(path.read_bytes())))]


def read(trace: Any) -> list[Event]:
    """Read the events of a trace in Chrome's format."""
    entries = trace["traceEvents"] if isinstance(trace, dict) else trace
    names = {
        (e["name"], e["pid"], e.get("tid")): e["args"]["name"]
        for e in entries
        if e.get("ph") == "M" and "name" in e["args"]
    }
    processes = {pid: name for (kind, pid, _), name in names.items() if kind == "process_name"}
    threads = {(pid, tid): name for (kind, pid, tid), name in names.items() if kind == "thread_name"}
    return [
        Event(
            e["name"],
            e.get("args", {}).get("hlo_op", ""),
            e["dur"],
            processes.get(e["pid"], ""),
            threads.get((e["pid"], e.get("tid")), ""),
        )
        for e in entries
        if e.get("ph") == "X"
    ]


def kernels(events: list[Event]) -> dict[str, tuple[int, float]]:
    """Return (calls, microseconds) by kernel, the longest first. On a CPU kernels are operations of the program."""
    device = [e for e in events if e.process.startswith("/device:") and e.thread.startswith("Stream")]
    host = [e for e in events if e.op and not e.op.startswith(CONTAINERS)]
    pairs = [(e.name, e.microseconds) for e in device] or [(e.op, e.microseconds) for e in host]
    found: dict[str, tuple[int, float]] = {}
    for name, microseconds in pairs:
        calls, total = found.get(name, (0, 0.0))
        found[name] = calls + 1, total + microseconds
    return dict(sorted(found.items(), key=lambda item: -item[1][1]))
