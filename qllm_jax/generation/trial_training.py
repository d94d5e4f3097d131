"""Short trainings with credit functions, side by side: runs of one compiled program, by successive halving.

Their root seed is one that training refuses, so that no function is chosen by the seeds of reported results.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from omegaconf import OmegaConf

from qllm_jax import compile_cache
from qllm_jax import config as configs
from qllm_jax.config import TRIAL_SEED
from qllm_jax.core.types import Clock
from qllm_jax.generation import credit_use, halving
from qllm_jax.generation.credit_use import CreditUse
from qllm_jax.mixers import tfcaf
from qllm_jax.program import devices, experiment, guard
from qllm_jax.program.experiment import Experiment
from qllm_jax.program.one_run import RunState
from qllm_jax.tfcaf import from_source

PRESET = "matched_qllm"  # of configs/algo
EPISODES = 32  # of an evaluation


class Plan(NamedTuple):
    """Settings of the trainings."""

    env: dict[str, Any]  # `env:` of a training configuration
    n_agents: int | None
    steps: int  # env steps of each run, on average over the functions of a round
    seeds: int  # runs of each function
    k: int  # functions of a round
    halvings: int = 0
    overrides: tuple[str, ...] = ()  # of the preset, such as `algo.hidden_dim=8`


class Result(NamedTuple):
    """Training of one function. None: an older version did not measure it."""

    steps: list[int]  # env steps (P,) at the evaluations
    returns: list[list[float]]  # (P, seeds) greedy, means over episodes
    td_error: float | None = None  # mean absolute TD error between the last two evaluations, mean over seeds
    gradient_shares: list[float] | None = None  # (N,) at the end, mean over seeds
    evenness: float | None = None  # of the weights over replayed states at the end, mean over seeds
    failed: int = 0  # seeds in which weights, bias, loss or gradient became NaN or infinite, and learning ended

    @property
    def last(self) -> float:
        """Mean return over seeds at the last evaluation; less than any other if a seed failed."""
        return -np.inf if self.failed else float(np.mean(self.returns[-1]))


class Group(NamedTuple):
    """Functions that train at once: all runs of one, or of all."""

    exp: Experiment  # of its runs; all groups share one compiled program
    functions: range  # their indices
    clock: Clock
    runs: RunState


class Trained(NamedTuple):
    """A function that has trained to its end."""

    function: int  # its index
    result: Result
    random: float  # return of the uniformly random policy


def train(plan: Plan, sources: Sequence[str], check: Callable[[], None]) -> Iterator[Trained]:
    """Train with each of the verified `sources`; yield each function as it ends, those that a halving leaves out, too.

    `check` is called before each part of the training, and may raise. Raises `UserError` if the training cannot run.
    """
    devices.use_cores()
    compile_cache.enable()
    exp = _experiment(plan, sources)
    use_of = credit_use.make(exp)
    groups = _groups(exp, len(sources))
    random = _random_return(groups[0])
    results = [Result([], []) for _ in sources]
    training = list(range(len(sources)))
    rungs = halving.rungs(plan.k, plan.steps, plan.halvings)
    for rung in rungs:
        if rung is not rungs[0]:
            kept = [training[place] for place in halving.best([results[i].last for i in training], rung.size)]
            yield from (Trained(i, results[i], random) for i in training if i not in kept)
            training = kept
        for number, group in enumerate(groups):
            if not (members := [i for i in training if i in group.functions]):
                continue
            for stop in rung.stops:
                check()
                groups[number] = group = _advance(group, stop, results, training)
            _add_use(group, use_of(group.clock, group.runs, group.exp.hp), results, training)
            if rung is rungs[-1]:
                yield from (Trained(i, results[i], random) for i in members)


def _experiment(plan: Plan, sources: Sequence[str]) -> Experiment:
    """Build the program of one run per function and seed. All functions get the same seeds."""
    last = halving.rungs(plan.k, plan.steps, plan.halvings)[-1].stops[-1]
    base = configs.compose(configs.ROOT, [f"algo={PRESET}", *plan.overrides])
    names = [f"function {i}" for i in range(len(sources))]
    changes = {"env": plan.env, "n_agents": plan.n_agents, "seeds": plan.seeds, "total_steps": last}
    changes |= {"algo": {"epsilon_steps": max(last // 2, 1)}, "sweep": {"tfcaf": names}}
    settings = configs.from_dict(OmegaConf.merge(base, {"env": None}, changes))  # pyright: ignore
    env = experiment.make_env(plan.env, plan.n_agents)
    credits_ = [from_source(source, name, env.spec) for source, name in zip(sources, names, strict=True)]
    scale = tfcaf.resolve_scale(settings.algo.mixer["scale"], env.spec.n_agents)
    exp = experiment.build(settings, tfcaf.from_credits(credits_, scale))
    return exp._replace(root=jax.random.key(TRIAL_SEED))


def _groups(exp: Experiment, n_functions: int) -> list[Group]:
    """Fresh runs of all functions: in one group where devices would idle with those of one function, else in one each.

    One program is compiled for all of them. Compiling takes longer than many a short training: halving drops whole
    groups, and in a group of all functions it lets those that are out run on unseen, but never compiles for fewer runs.
    """
    seeds = exp.config.seeds
    is_busy = jax.local_devices()[0].platform == "cpu" and exp.program.pool.workers <= seeds
    size = 1 if is_busy else n_functions
    found = []
    for start in range(0, n_functions, size):
        part = experiment.slice_runs(exp, start * seeds, (start + size) * seeds)
        found.append(Group(part, range(start, start + size), *part.program.warmup(*experiment.init(part), part.hp)))
    return found


def _advance(group: Group, stop: int, results: list[Result], training: Sequence[int]) -> Group:
    """Train a group up to `stop` env steps and evaluate it; add to the results of the functions in `training`."""
    exp, clock, runs = group.exp, group.clock, group.runs
    n = -(-(stop - int(clock.env_steps)) // exp.steps_per_iteration)
    errors = None
    if n > 0:
        clock, runs, metrics = exp.program.chunk(clock, runs, exp.hp, jnp.asarray(n))
        errors = _by_function(group, metrics["td_abs"])
    runs, scores = exp.program.evaluate(clock, runs, EPISODES)
    returns = _by_function(group, np.mean(scores.returns, -1))
    failed = _by_function(group, np.asarray(runs.fault.env_steps) != guard.NONE)
    for i in set(training) & set(group.functions):
        before = results[i]
        n_failed = int(failed[i].sum())
        td_error = before.td_error if errors is None else None if n_failed else _rounded(errors[i])
        points = [*before.returns, np.round(returns[i], 4).tolist()]
        steps = [*before.steps, int(clock.env_steps)]
        results[i] = before._replace(steps=steps, returns=points, td_error=td_error, failed=n_failed)
    return group._replace(clock=clock, runs=runs)


def _add_use(group: Group, use: CreditUse, results: list[Result], training: Sequence[int]) -> None:
    shares, even = _by_function(group, use.gradient_shares), _by_function(group, use.evenness)
    for i in set(training) & set(group.functions):
        if results[i].failed:
            continue
        mean_shares = np.round(shares[i].mean(0), 4).tolist()
        results[i] = results[i]._replace(gradient_shares=mean_shares, evenness=_rounded(even[i]))


def _by_function(group: Group, of_runs: Any) -> dict[int, np.ndarray]:
    """Numbers of runs (R, ...) as (seeds, ...) by function, without those of spare runs."""
    parts = np.split(np.asarray(of_runs, float)[: group.exp.n_runs], len(group.functions))
    return dict(zip(group.functions, parts, strict=True))


def _random_return(group: Group) -> float:
    keys = jax.random.split(group.exp.root, len(group.exp.seeds))
    played = group.exp.program.play(group.runs.best_params, keys, EPISODES, jnp.asarray(1.0))
    return _rounded(np.asarray(played.returns)[: group.exp.n_runs])


def _rounded(numbers: np.ndarray) -> float:
    return round(float(np.mean(numbers)), 4)
