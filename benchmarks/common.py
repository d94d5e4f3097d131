"""Shared parts of the benchmarks: the report that each prints and stores as JSON, timing, tables and arguments."""

import argparse
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax

from qllm_envs.argparse_types import at_least
from qllm_jax import files
from qllm_jax.errors import UserError
from qllm_jax.run import provenance

MISTAKE = 2  # exit code, as of argparse
positive, natural = at_least(1), at_least(0)  # argparse types of integers


class Report(NamedTuple):
    """Measurements of a benchmark; `--out` stores all fields but `out` as one JSON object, which draw.py reads.

    A row is a flat dict, one for each system or setting: its names (`system`, `agents`, `runs` ...) and figures, whose
    keys end in their unit (`update_ms`, `compile_s`, `state_bytes`, `env_steps_per_s`). A figure with one value per
    round is a list. Ratios are taken round by round: `speed_to_NAME` is the speed relative to NAME, `times_NAME`
    (`times_floor`, `times_first`) the time relative to NAME.
    """

    benchmark: str  # name of the script, which tells the kind of rows
    head: dict[str, str]  # see `describe`
    task: str  # the measurement, in a sentence
    rows: list[dict[str, Any]]
    out: Path | None


def begin(script: str, out: Path | None, task: str, head: dict[str, str]) -> Report:
    """Print the head of a report and return the report, without rows. `script` is the benchmark's `__file__`."""
    print("\n".join(f"{name:<10}{text}" for name, text in {**head, "task": task}.items()), flush=True)
    return Report(Path(script).stem, head, task, [], out)


def add(report: Report, *rows: dict[str, Any]) -> None:
    """Add rows and store the report, so that a benchmark that is stopped keeps its rows."""
    report.rows.extend(rows)
    if report.out:
        record = {key: value for key, value in report._asdict().items() if key != "out"}
        files.write_atomically(report.out, json.dumps(record, indent=2) + "\n")


def describe(*packages: str) -> dict[str, str]:
    """Return command, hardware, versions and commit of this process. Starts the backend."""
    return {
        "command": command(),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "hardware": hardware(),
        "versions": versions("jax", "jaxlib", *packages),
        "commit": provenance.commit() or "none (no git, not a checkout, or nothing committed yet)",
    }


def command() -> str:
    """Return the command line of this process."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def clone_commit(clone: Path) -> str:
    """Return HEAD of a peer's clone, with "+dirty" if a tracked file differs or is missing."""
    git = lambda *words: subprocess.run(["git", "-C", str(clone), *words], capture_output=True, text=True, check=False)
    changed = git("status", "--porcelain", "-uno").stdout.strip()
    return (git("rev-parse", "HEAD").stdout.strip() or "no git commit") + ("+dirty" if changed else "")


def hardware() -> str:
    """Describe the device and the host of this process. Starts the backend."""
    device = jax.devices()[0]
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    cpu = models[0] if models else platform.processor() or platform.machine()
    return f"{jax.device_count()} x {device.platform} ({device.device_kind}); host {cpu}, {os.cpu_count()} cores"


def versions(*packages: str) -> str:
    """Python and packages with their installed versions."""
    found = [f"{package} {provenance.version(package) or 'missing'}" for package in packages]
    return ", ".join([f"python {platform.python_version()}", *found])


def table(columns: dict[str, Callable[[dict[str, Any]], str]], rows: Sequence[dict[str, Any]]) -> str:
    """Format rows as a Markdown table; a column is its heading and a function from a row to a cell."""
    lines = [list(columns), ["---"] * len(columns), *([cell(row) for cell in columns.values()] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def spread(values: Sequence[float], style: str = ",.2f") -> str:
    """Format the median and the range."""
    return f"{statistics.median(values):{style}} ({min(values):{style}} to {max(values):{style}})"


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Return ratios round by round: a machine that slows down slows both sides."""
    return [a / b for a, b in zip(above, below, strict=True)]


def seconds(run: Callable[..., Any], *inputs: Any) -> tuple[Any, float]:
    """Return the result and the wall time of one call, until its arrays are ready."""
    start = time.perf_counter()
    result = jax.block_until_ready(run(*inputs))
    return result, time.perf_counter() - start


def compiled(function: Callable[..., Any], *inputs: Any) -> tuple[Any, float]:
    """Return an executable of a function for these inputs, and its compile time in seconds.

    A jitted function keeps its donations.
    """
    start = time.perf_counter()
    jitted: Any = function if hasattr(function, "lower") else jax.jit(function)
    executable = jitted.lower(*inputs).compile()
    return executable, time.perf_counter() - start


def in_turn(programs: dict[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    """Return the seconds of each call. Programs take turns: a machine that slows down slows all."""
    times: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(repeats):
        for name, run in programs.items():
            times[name].append(seconds(run)[1])
    return times


def run(main: Callable[[], None]) -> None:
    """Run a benchmark. A mistake of its user is a sentence, and exit code MISTAKE."""
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(MISTAKE)


def new_file(suffix: str) -> Callable[[str], Path]:
    """Argparse type of a file to write. It must not exist, as a measurement is not repeatable."""

    def path(text: str) -> Path:
        found = Path(text)
        if found.suffix != suffix:
            raise argparse.ArgumentTypeError(f"{text} must end in {suffix}")
        if found.exists() or not found.absolute().parent.is_dir():
            raise argparse.ArgumentTypeError(f"{text} " + ("exists already" if found.exists() else "is in no folder"))
        return found

    return path


def parser(description: str | None, out: str = ".json") -> argparse.ArgumentParser:
    """Make a parser whose help keeps the lines of the module's docstring, with --out for a file that ends in `out`."""
    raw = argparse.RawDescriptionHelpFormatter
    made = argparse.ArgumentParser(description=description, formatter_class=raw, allow_abbrev=False)
    made.add_argument("--out", type=new_file(out), metavar=f"FILE{out}", help="write the report there as well")
    return made
