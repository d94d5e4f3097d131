"""What the benchmarks share: the training workload and its flops, the head of a report, timing, and arguments."""

import argparse
import math
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from qllm_jax import config, experiment, folder
from qllm_jax.experiment import Experiment

# The training workload of throughput.py and profile_update.py; epymarl's and JaxMARL's sizes on MPE.
ENVS, BATCH, HIDDEN, EMBED, HYPER, SLOTS = 8, 32, 64, 32, 32, 26


def workload(algo: str, agents: int, seeds: int, buffer: int) -> Experiment:
    """MPE spread with the sizes above, built as `qllm_jax.train` does it. `buffer` in episodes. Nothing is compiled."""
    algorithm = [f"algo={algo}", f"algo.hidden_dim={HIDDEN}", f"algo.n_envs={ENVS}", f"algo.batch_episodes={BATCH}"]
    rest = ["env=mpe_spread", f"n_agents={agents}", f"seeds={seeds}", f"algo.buffer_episodes={buffer}"]
    built = experiment.build(config.load([*algorithm, *rest]))
    mixer = built.config.algo.mixer
    if mixer["name"] == "qmix" and (mixer["embed_dim"], mixer["hypernet_dim"]) != (EMBED, HYPER):
        raise SystemExit(f"error: {algo} has another mixer than is counted here: {mixer}")
    return built


def matmul_flops(agents: int, steps: int, width: int, actions: int, state: int, qmix: bool) -> int:
    """Matrix multiplications of one rollout of `steps` and one update of one seed, with the sizes above.

    Forward of the rollout, forward of online and target network, backward. What needs no gradient has none: the
    inputs of the first layer and the state. The sum of a credit function's weights times values is not counted.
    """
    first, rest = width * HIDDEN, 6 * HIDDEN**2 + HIDDEN * actions
    rows, samples = SLOTS * BATCH * agents, SLOTS * BATCH
    products = steps * ENVS * agents * (first + rest) + rows * (2 * (first + rest) + first + 2 * rest)
    if qmix:
        inner = state * (2 * HYPER + 2 * EMBED)  # the layers that read the state: of w1, w2, b2, and b1
        outer = HYPER * (agents * EMBED + EMBED) + EMBED  # the layers behind them: w1, w2, b2
        outer += agents * EMBED + EMBED  # the mixing itself
        products += samples * (2 * (inner + outer) + inner + 2 * outer)
    return 2 * products


def hardware() -> str:
    """Device and host of this process. Starts the backend."""
    device = jax.devices()[0]
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    cpu = models[0] if models else platform.processor() or platform.machine()
    return f"{jax.device_count()} x {device.platform} ({device.device_kind}); host {cpu}, {os.cpu_count()} cores"


def versions(*packages: str) -> str:
    """Python and packages with their installed versions."""
    found = [f"{package} {folder.version(package) or 'missing'}" for package in packages]
    return ", ".join([f"python {platform.python_version()}", *found])


def commit() -> str:
    """Commit of this checkout, "+dirty" where files differ from it."""
    return folder.commit() or "none (no git, not a checkout, or nothing committed yet)"


def head(task: str, *packages: str) -> str:
    """The first lines of a report: hardware, versions, commit, and what is measured."""
    rows = {
        "hardware": hardware(),
        "versions": versions("jax", "jaxlib", *packages),
        "commit": commit(),
        "task": task,
    }
    return "\n".join(f"{name:<10}{text}" for name, text in rows.items())


def seconds(run: Callable[..., Any], *inputs: Any) -> tuple[Any, float]:
    """Result and wall time of one call, until its arrays are there."""
    start = time.perf_counter()
    result = jax.block_until_ready(run(*inputs))
    return result, time.perf_counter() - start


def compiled(function: Callable[..., Any], *inputs: Any) -> tuple[Any, float]:
    """A function as an executable for these inputs, and the seconds that took. A jitted one keeps its donations."""
    start = time.perf_counter()
    jitted: Any = function if hasattr(function, "lower") else jax.jit(function)
    executable = jitted.lower(*inputs).compile()
    return executable, time.perf_counter() - start


def in_turn(programs: dict[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each call. Programs take turns, so that a machine that slows down slows all."""
    times: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(repeats):
        for name, run in programs.items():
            times[name].append(seconds(run)[1])
    return times


def matmul_rate(size: int = 2048, repeats: int = 7) -> float:
    """FLOP/s of a large f32 matmul at JAX's default precision: what the floor of a benchmark is divided by."""
    x = jnp.ones((size, size), jnp.float32)
    multiply, _ = compiled(jnp.matmul, x, x)
    seconds(multiply, x, x)  # warm-up
    return 2 * math.pow(size, 3) / statistics.median(seconds(multiply, x, x)[1] for _ in range(repeats))


def positive(text: str) -> int:
    """An argparse type."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be an integer of at least 1, got {text!r}")
    return int(text)


def parser(description: str | None) -> argparse.ArgumentParser:
    """A parser whose help keeps the lines of the module's docstring."""
    raw = argparse.RawDescriptionHelpFormatter
    return argparse.ArgumentParser(description=description, formatter_class=raw, allow_abbrev=False)
