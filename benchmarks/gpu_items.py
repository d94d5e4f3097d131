"""Measurements in the processes of gpu.py: rates of the device, iterations of our programs and of JaxMARL's QMIX."""

import concurrent.futures
import itertools
import json
import os
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import common
import gpu_kernels
import jax
import jax.numpy as jnp
import jaxmarl_qmix
import profiler_trace
import systems
import workload
from workload import Sizes

from qllm_jax import config
from qllm_jax.program import experiment
from qllm_jax.program.experiment import Experiment

FORMS = ("pallas", "before", "scan", "float32")  # see gpu.py
GRAPHS = {
    "xla_gpu_enable_command_buffer": "FUSION,CUBLAS,CUSTOM_CALL,WHILE,CONDITIONAL",
    "xla_gpu_graph_min_graph_size": "1",
}
KINDS = {  # of a large matmul: type of the operands, precision
    "float32": (jnp.float32, "float32"),
    "tf32": (jnp.float32, "tensorfloat32"),
    "bfloat16": (jnp.bfloat16, None),
}
LOOP_S, MOST_UPDATES = 0.3, 200  # of a timed loop: its seconds, and its updates at most
COMPILED_AT_ONCE = 8  # programs after the first: compiling uses the host's cores, and nothing is timed meanwhile
TRACED = 4  # updates under the profiler


def work(job: dict[str, Any]) -> None:
    """Print the rows of an item, one JSON object a line, until its time is up."""
    end = time.monotonic() + job["limit_s"]
    if job["item"] == jaxmarl_qmix.NAME:
        put(theirs(job))
        return
    programs, first = job["programs"], None
    for start, stop in itertools.pairwise([0, *range(1, len(programs), COMPILED_AT_ONCE), len(programs)]):
        part = [(program, attempt(job, program, lower)) for program in programs[start:stop]]
        with concurrent.futures.ThreadPoolExecutor(COMPILED_AT_ONCE) as pool:
            compiling = [(each[0], pool.submit(compile_timed, *each)) for each in part if each[1]]
        for program, future in compiling:
            if time.monotonic() > end:
                return
            compiled = attempt(job, program, lambda job, program: future.result())  # noqa: B023
            if compiled:
                attempt(job, program, lambda job, program: time_loop(job, program, compiled))  # noqa: B023
                first = first or compiled
    if job.get("kernels") and first:
        attempt(job, programs[0], lambda job, _: longest_kernels(job, first))


def attempt(job: dict[str, Any], program: dict[str, Any], step: Callable[..., Any]) -> Any:
    """`step(job, program)`, or None and the error as a row: a program that does not fit stops no other."""
    try:
        return step(job, program)
    except Exception as error:  # whatever XLA raises
        sentence = f"{type(error).__name__}: {error}".replace("\n", " ")[:300]
        put({"item": job["item"], "failed": sentence, "program": json.dumps(program)})
        return None


def put(row: dict[str, Any]) -> None:
    print(json.dumps(row), flush=True)


def overrides(algo: str, sizes: Sizes) -> list[str]:
    """Arguments of `qllm_jax.train` for one device."""
    return [*workload.overrides(algo, sizes), "devices=1"]


def build(algo: str, sizes: Sizes, form: str) -> Experiment:
    """The program of one form: see gpu.py."""
    settings = config.load([*overrides(algo, sizes), f"unroll={'scan' if form in ('before', 'scan') else 'pallas'}"])
    return experiment.build(settings, platform="cpu" if form == "before" else "gpu")


class Lowered(NamedTuple):
    """The parts of one program, its loop over iterations, and what comes before it, all traced."""

    exp: Experiment
    chunk: Any
    before: tuple[Any, Any]  # init, warmup


class Compiled(NamedTuple):
    """The executables of one program, and the compile time of its loop, with others at the same time."""

    exp: Experiment
    chunk: Any
    before: tuple[Any, Any]
    compile_s: float


def lower(job: dict[str, Any], program: dict[str, Any]) -> Lowered:
    """Trace one program."""
    exp = build(job["algo"], Sizes(**program["sizes"]), program["form"])
    given = exp.root, exp.seeds, exp.choice
    jitted: Any = exp.program
    state = jax.eval_shape(jitted.init, *given)
    with jax.default_matmul_precision("float32" if program["form"] == "float32" else None):
        before = jitted.init.lower(*given), jitted.warmup.lower(*state, exp.hp)
        return Lowered(exp, jitted.chunk.lower(*state, exp.hp, jnp.asarray(1)), before)


def compile_timed(program: dict[str, Any], lowered: Lowered) -> Compiled:
    """Compile one program."""
    start = time.perf_counter()
    chunk = lowered.chunk.compile(compiler_options=GRAPHS if program["graphs"] else None)
    compile_s = time.perf_counter() - start
    init, warmup = (each.compile() for each in lowered.before)
    return Compiled(lowered.exp, chunk, (init, warmup), compile_s)


def started(compiled: Compiled) -> Any:
    """A state of one program with a replay that can be sampled."""
    exp, (init, warmup) = compiled.exp, compiled.before
    return warmup(*init(exp.root, exp.seeds, exp.choice), exp.hp)


def time_loop(job: dict[str, Any], program: dict[str, Any], compiled: Compiled) -> None:
    """Print the row of one program. Its state is freed before the next."""
    exp, chunk, sizes = compiled.exp, compiled.chunk, Sizes(**program["sizes"])
    run = lambda state, n: chunk(*state, exp.hp, jnp.asarray(n))[:2]
    named = {"item": job["item"], "system": job["algo"], "form": program["form"], "graphs": program["graphs"]}
    times = samples(run, started(compiled), job["samples"])
    put(named | figures(sizes, chunk, times, exp.steps_per_iteration, exp.env.spec.horizon, compiled.compile_s))


def figures(sizes: Sizes, chunk: Any, times: list[float], steps: int, horizon: int, compile_s: float) -> dict[str, Any]:
    """Figures of a row. `steps` are the environment steps of an iteration and seed."""
    memory = chunk.memory_analysis()
    return {
        **{key: getattr(sizes, key) for key in ("agents", "seeds", "hidden", "envs", "batch")},
        "iteration_ms": times,
        "env_steps_per_s": [1e3 * steps * sizes.seeds / ms for ms in times],
        "compile_s": compile_s,
        "kernels": kernels(chunk.as_text(), horizon),
        "temporary_bytes": memory.temp_size_in_bytes,
        "state_bytes": memory.argument_size_in_bytes,
    }


def samples(run: Any, state: Any, count: int) -> list[float]:
    """Milliseconds of an iteration in loops of about `LOOP_S`, the first of which is a warm-up."""
    state, first_s = common.seconds(run, state, 2)
    state, second_s = common.seconds(run, state, 2)
    n = min(max(int(LOOP_S / (min(first_s, second_s) / 2)), 2), MOST_UPDATES)
    found = []
    for _ in range(count):
        state, elapsed = common.seconds(run, state, n)
        found.append(1e3 * elapsed / n)
    return found


def kernels(text: str, horizon: int) -> int:
    """Kernels of an iteration on a GPU, 0 elsewhere."""
    return 0 if jax.default_backend() == "cpu" else gpu_kernels.iteration(gpu_kernels.read(text)).per_trip(horizon)


def theirs(job: dict[str, Any]) -> dict[str, Any]:
    """The row of JaxMARL's QMIX without its test, from the first update that learns on."""
    sizes = Sizes(**job["sizes"])
    train, settings = jaxmarl_qmix.load(job, evaluation=False)
    keys = jax.random.split(jax.random.PRNGKey(0), sizes.seeds)
    entered = jaxmarl_qmix.enter(train, keys[0])
    first = entered.first(keys)
    chunk, compile_s = common.compiled(entered.advance, keys, first, jnp.asarray(1))
    run = lambda state, n: chunk(keys, state, jnp.asarray(n))
    times = samples(run, run(first, sizes.batch), job["samples"])
    horizon = settings["NUM_STEPS"]
    named = {"item": job["item"], "system": jaxmarl_qmix.NAME, "form": "as shipped", "graphs": False}
    return named | figures(sizes, chunk, times, horizon * sizes.envs, horizon, compile_s)


def longest_kernels(job: dict[str, Any], compiled: Compiled) -> None:
    """Print the kernels with the longest time of one program, from the profiler."""
    exp = compiled.exp
    run = lambda state: compiled.chunk(*state, exp.hp, jnp.asarray(TRACED))[:2]
    state = jax.block_until_ready(run(started(compiled)))
    _, events = profiler_trace.record(lambda: jax.block_until_ready(run(state)))
    found = profiler_trace.kernels(events)
    total = sum(microseconds for _, microseconds in found.values())
    for name, (calls, microseconds) in list(found.items())[: job["kernels"]]:
        each = {"item": job["item"], "system": job["algo"], "kernel": name, "calls": calls / TRACED}
        put(each | {"kernel_ms": microseconds / 1e3 / TRACED, "share": microseconds / total})


def machine(job: dict[str, Any]) -> dict[str, Any]:
    """The head of the report, and the rates of large matmuls."""
    rates = {name: workload.matmul_rate(job["matmul"], 5, *kind) for name, kind in KINDS.items()}
    text = ", ".join(f"{kind} {rate / 1e12:,.2f} TFLOP/s" for kind, rate in rates.items())
    return {"head": common.describe("flax", "jaxmarl", "flashbax"), "rates": text}


if __name__ == "__main__":
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    systems.answer(machine)
