"""Timed training systems: ours here, JaxMARL's in jaxmarl_qmix.py; each in a fresh process."""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import common
import jax
import jax.numpy as jnp
import numpy as np
import optax
import workload
from workload import Sizes

from qllm_jax.program import compiled, devices

WARMUP = 3  # updates before the first timed one
SAMPLES = 3  # timed loops in a process


class Evaluation(NamedTuple):
    """Evaluation of a system during training."""

    run: Callable[[Any], tuple[Any, Any]]  # state -> (state, results of the evaluation); with `updates` updates in it
    updates: int
    every: int  # updates from one evaluation to the next
    episodes: int


class System(NamedTuple):
    """Program of updates. States stay on the device and are donated."""

    run: Callable[[Any, int], Any]  # (state, updates) -> state
    state: Any  # the first one; learns from the next update on
    gradient_steps: Callable[[Any], int]  # up to a state
    params: Callable[[Any], Any]
    compile_s: float
    steps: int  # environment steps of one seed between two updates
    flops: int  # of matrix multiplications, one seed and update
    evaluation: Evaluation | None


def ours(job: dict[str, Any]) -> System:
    """Build the training program as `qllm_jax.train` runs it."""
    devices.use_cores()
    exp = workload.build(job["system"], Sizes(**job["sizes"]))
    program, hp, start, settings = exp.program, exp.hp, (exp.root, exp.seeds, exp.choice), exp.config
    shapes = compiled.shapes(program, *start)
    init, init_s = common.compiled(program.init, *start)
    warmup, warmup_s = common.compiled(program.warmup, *shapes, hp)
    chunk, chunk_s = common.compiled(program.chunk, *shapes, hp, jnp.asarray(1))
    evaluation, evaluate_s = None, 0.0
    if job["evaluation"]:
        evaluate, evaluate_s = common.compiled(program.evaluate, *shapes, settings.eval_episodes)

        def run_evaluation(state: Any) -> tuple[Any, Any]:
            runs, returns = evaluate(*state)
            return (state[0], runs), returns

        every = -(-settings.eval_interval // exp.steps_per_iteration)
        evaluation = Evaluation(run_evaluation, 0, every, settings.eval_episodes)
    return System(
        run=lambda state, n: chunk(*state, hp, jnp.asarray(n))[:2],
        state=warmup(*init(*start), hp),
        gradient_steps=lambda state: int(optax.tree_utils.tree_get(state[1].learner.opt_state, "count").min()),
        params=lambda state: state[1].learner.params,
        compile_s=init_s + warmup_s + chunk_s + evaluate_s,
        steps=exp.steps_per_iteration,
        flops=workload.iteration_flops(exp),
        evaluation=evaluation,
    )


def measure(system: System, job: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """Return the figures of one seed's updates and evaluations, and the last state.

    SystemExit unless every timed loop has learned.
    """
    state, seeds = jax.block_until_ready(system.run(system.state, WARMUP)), job["sizes"]["seeds"]
    updates, evaluations, result = [], [], None
    evaluation, system = system.evaluation, system._replace(state=None)  # donated
    if evaluation:
        state, result = jax.block_until_ready(evaluation.run(state))  # its warm-up
    for _ in range(SAMPLES):
        count, params = system.gradient_steps(state), jax.device_get(system.params(state))
        state, elapsed = common.seconds(system.run, state, job["updates"])
        if system.gradient_steps(state) - count != job["updates"] or same(params, system.params(state)):
            raise SystemExit(f"error: {job['system']} did not learn in every timed update")
        updates.append(1e3 * elapsed / job["updates"] / seeds)
        if evaluation:
            before = jax.device_get(result)
            (state, result), elapsed = common.seconds(evaluation.run, state)
            if same(before, result):
                raise SystemExit(f"error: {job['system']} gave no new result where it should have evaluated")
            evaluations.append(1e3 * elapsed / seeds - evaluation.updates * updates[-1])
    found = {"update_ms": statistics.median(updates), "samples_ms": updates, "compile_s": system.compile_s}
    if evaluation:
        found |= {"evaluation_ms": statistics.median(evaluations), "evaluation_samples_ms": evaluations}
        found |= {"evaluation_every_updates": evaluation.every, "evaluation_episodes": evaluation.episodes}
    rate = workload.matmul_rate()
    found |= {"floor_ms": 1e3 * system.flops / rate, "matmul_flop_per_s": rate}
    return found | {"steps_per_update": system.steps, "state_bytes": workload.state_bytes(state)}, state


def whole_ms(result: dict[str, Any]) -> float:
    """Return the milliseconds of an update and its share of an evaluation, for one seed."""
    return result["update_ms"] + result.get("evaluation_ms", 0.0) / result.get("evaluation_every_updates", 1)


def row(agents: int, seeds: int, system: str, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a row of the report from the figures of each round. `update_ms` and `evaluation_ms` are per seed."""
    every = {key: [each[key] for each in runs] for key in ("update_ms", "samples_ms")}
    figures = {"agents": agents, "seeds": seeds, "system": system, **every}
    figures["whole_ms"] = [whole_ms(each) for each in runs]
    figures["env_steps_per_s"] = [1e3 * each["steps_per_update"] / whole_ms(each) for each in runs]
    for key in ("evaluation_ms", "compile_s", "floor_ms"):
        if runs[0].get(key) is not None:
            figures[key] = [each[key] for each in runs]
    if "floor_ms" in figures:
        figures["times_floor"] = common.ratios(figures["update_ms"], figures["floor_ms"])
    kept = ("evaluation_every_updates", "evaluation_episodes", "state_bytes", "versions")
    return figures | {key: runs[0][key] for key in kept if key in runs[0]}


def same(old: Any, new: Any) -> bool:
    """True if no leaf of two trees differs."""
    pairs = zip(jax.tree.leaves(old), jax.tree.leaves(jax.device_get(new)), strict=True)
    return all(np.array_equal(a, b, equal_nan=True) for a, b in pairs)


def in_process(script: str, job: dict[str, Any]) -> dict[str, Any]:
    """Return the result of `script --worker JOB` in a fresh process, which shares no threads and no memory.

    A mistake of the user, as `common.run` ends with it, ends this process in the same way.
    """
    env = {**os.environ, "WANDB_MODE": "disabled", "JAX_ENABLE_COMPILATION_CACHE": "false"}
    command = [sys.executable, script, "--worker", json.dumps(job)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode == common.MISTAKE:
        print(done.stderr.splitlines()[-1], file=sys.stderr)
        sys.exit(done.returncode)
    if done.returncode:
        raise SystemExit(f"{done.stderr[-3000:]}\nerror: the process of {job} ended with code {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])


def head(*packages: str) -> dict[str, str]:
    """Return the head of a report of this command, described by a fresh process: a backend here would hold memory."""
    return in_process(__file__, {"packages": packages}) | {"command": common.command()}


def answer(work: Callable[[dict[str, Any]], dict[str, Any]]) -> bool:
    """Print the result of the job in a process that `in_process` started, and return True; False in any other."""
    if sys.argv[1:2] != ["--worker"]:
        return False
    common.run(lambda: print(json.dumps(work(json.loads(sys.argv[2])))))
    return True


if __name__ == "__main__":
    answer(lambda job: common.describe(*job["packages"]))
