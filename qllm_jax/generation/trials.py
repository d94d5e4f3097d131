"""Short trainings of a round's candidates, whose returns the evaluator gets to see (`select=train`).

The paper's evaluator only reads the functions. All functions and seeds are runs of one compiled program, with a root
seed that training refuses, so that no function is chosen by the seeds of reported results.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from omegaconf import OmegaConf

from qllm_jax import config as configs
from qllm_jax.config import TRIAL_SEED
from qllm_jax.errors import UserError
from qllm_jax.generation.types import Choice, Pool, Select
from qllm_jax.llm import transcript as transcripts
from qllm_jax.llm.client import Client
from qllm_jax.llm.transcript import Transcript
from qllm_jax.mixers import tfcaf
from qllm_jax.program import devices, experiment
from qllm_jax.program.experiment import Experiment
from qllm_jax.stats import format_number
from qllm_jax.tfcaf import from_source
from qllm_jax.tfcaf.verdict import sha256

PRESET = "matched_qllm"  # of configs/algo
POINTS = 5  # of a curve
EPISODES = 32  # of an evaluation


class Plan(NamedTuple):
    """Settings of the trainings."""

    env: dict[str, Any]  # `env:` of a training configuration
    n_agents: int | None
    steps: int  # env steps of each run
    seeds: int  # runs of each function
    overrides: tuple[str, ...] = ()  # of the preset, such as `algo.hidden_dim=8`


class Curves(NamedTuple):
    """Greedy returns, means over seeds and episodes."""

    steps: list[int]  # env steps (P,) at the evaluations
    returns: list[list[float]]  # (F, P) of each function, in the order of the sources
    random: float  # of the uniformly random policy


def measure(plan: Plan, sources: list[str]) -> Curves:
    """Train with each of the verified `sources` and evaluate `POINTS` times. Raise `UserError` if that cannot run."""
    devices.use_cores()
    exp = _experiment(plan, sources)
    clock, runs = experiment.init(exp)
    clock, runs = exp.program.warmup(clock, runs, exp.hp)
    steps, points = [], []
    for point in range(1, POINTS + 1):
        n = -(-(plan.steps * point // POINTS - int(clock.env_steps)) // exp.steps_per_iteration)
        if n > 0:
            clock, runs, _ = exp.program.chunk(clock, runs, exp.hp, jnp.asarray(n))
        runs, scores = exp.program.evaluate(clock, runs, EPISODES)
        steps.append(int(clock.env_steps))
        points.append(np.asarray(scores.returns)[: exp.n_runs].reshape(len(sources), -1).mean(1))
    keys = jax.random.split(exp.root, len(exp.seeds))
    played = exp.program.play(runs.best_params, keys, EPISODES, jnp.asarray(1.0))
    random = float(np.mean(np.asarray(played.returns)[: exp.n_runs]))
    return Curves(steps, np.round(np.transpose(points), 4).tolist(), round(random, 4))


def _experiment(plan: Plan, sources: list[str]) -> Experiment:
    """Build the program of one run per function and seed. All functions get the same seeds."""
    base = configs.compose(configs.ROOT, [f"algo={PRESET}", *plan.overrides])
    names = [f"function {i}" for i in range(len(sources))]
    changes = {"env": plan.env, "n_agents": plan.n_agents, "seeds": plan.seeds, "total_steps": plan.steps}
    changes |= {"algo": {"epsilon_steps": max(plan.steps // 2, 1)}, "sweep": {"tfcaf": names}}
    settings = configs.from_dict(OmegaConf.merge(base, {"env": None}, changes))  # pyright: ignore
    env = experiment.make_env(plan.env, plan.n_agents)
    credits_ = [from_source(source, name, env.spec) for source, name in zip(sources, names, strict=True)]
    scale = tfcaf.resolve_scale(settings.algo.mixer["scale"], env.spec.n_agents)
    exp = experiment.build(settings, tfcaf.from_credits(credits_, scale))
    return exp._replace(root=jax.random.key(TRIAL_SEED))


class Trials(NamedTuple):
    """Trainings of the pools of one generation."""

    lines: Callable[[Pool], dict[int, str]]  # one sentence per candidate, by its number
    best: Select  # chooses the candidate with the highest last return


def make(client: Client, plan: Plan) -> Trials:
    """Make trainings whose curves are stored in the transcript: a resumed or replayed generation repeats none."""

    def curves(pool: Pool) -> Curves:
        sources = [candidate.source for candidate in pool.by_number().values()]
        if stored := find_trial(client.transcript, sources):
            return Curves(**stored)
        size = f"{len(sources)} functions, {plan.seeds} seeds, {plan.steps:,} steps"
        client.log(f"round {pool.round}: short trainings with {size}")
        try:
            found = measure(plan, sources)
        except UserError as error:
            raise UserError(f"select=train: {error}") from error
        add_trial(client.transcript, sources, found)
        return found

    def lines(pool: Pool) -> dict[int, str]:
        found = curves(pool)
        texts = {i: _line(plan, found, row) for i, row in zip(pool.by_number(), found.returns, strict=True)}
        for i, line in texts.items():
            client.log(f"round {pool.round}, function {i}: {line}")
        return texts

    def best(pool: Pool) -> Choice:
        if pool.incumbent is not None and not pool.new:
            return Choice(pool.incumbent, "rule", "no new function of this round passed")
        last = [row[-1] for row in curves(pool).returns]
        chosen = list(pool.by_number().values())[int(np.argmax(last))]
        return Choice(chosen, "rule", f"the highest return after a short training: {format_number(max(last))}")

    return Trials(lines, best)


def add_trial(transcript: Transcript, sources: list[str], curves: Curves) -> None:
    """Store the curves of short trainings with `sources`."""
    digests = [sha256(source) for source in sources]
    transcripts.append(transcript, "trial", sources_sha256=digests, curves=curves._asdict())


def find_trial(transcript: Transcript, sources: list[str]) -> dict[str, Any] | None:
    """Return the stored curves of short trainings with the same `sources`, None if there are none."""
    digests = [sha256(source) for source in sources]
    found = (r["curves"] for r in transcript.records if r["kind"] == "trial" and r["sources_sha256"] == digests)
    return next(found, None)


def _line(plan: Plan, curves: Curves, row: list[float]) -> str:
    points = ", ".join(f"{format_number(x)} at step {step:,}" for step, x in zip(curves.steps, row, strict=True))
    return (
        f"trained for a short while ({plan.seeds} seeds), return {points}; random policy {format_number(curves.random)}"
    )
