"""Runs whose update was not finite: which function and state it came from, in words and in the run folder.

`program/guard.py` has kept their parameters as they were before. nonfinite.npz has a row for each such run: its index,
seed, env steps, cause and `text`; the flat state, the same by field as JSON, and the weights and the bias of its
credit function there (times `scale`; NaN for a mixer that is learned).
"""

import json
from collections.abc import Mapping
from itertools import starmap
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from qllm_jax import files
from qllm_jax.errors import UserError
from qllm_jax.mixers import MixerInputs
from qllm_jax.program import guard, run_axis
from qllm_jax.program.experiment import Experiment
from qllm_jax.program.guard import Fault

FILE = "nonfinite.npz"
SHOWN = 3  # runs in a sentence


class NonFiniteError(UserError):
    """No run of a folder learns any more."""


class Failure(NamedTuple):
    """The fault of one run."""

    env_steps: int  # of the run at the update that was not finite
    cause: str  # "weights", "bias", "loss" or "gradient"
    text: str  # what is not finite
    state: Float[np.ndarray, " state"]  # NaN: not known
    fields: dict[str, list]  # the same by name
    weights: Float[np.ndarray, " agents"]  # of the credit function in that state; NaN: there is none
    bias: float

    @property
    def mark(self) -> dict[str, int | str]:
        """The field `failed` of the run's records and results."""
        return {"env_steps": self.env_steps, "cause": self.cause}


def find(exp: Experiment, fault: Fault, reward_t: jax.Array) -> dict[int, Failure]:
    """Failures of the runs, by index. `fault` has leaves (R, ...); `reward_t` holds the rewards that are replayed."""
    steps = np.asarray(fault.env_steps)[: exp.n_runs]
    indices = np.flatnonzero(steps != guard.NONE)
    if not len(indices):
        return {}
    fault, reward_t = jax.device_get((fault, reward_t))
    found = {int(i): failure(exp, int(i), jax.tree.map(lambda x: x[i], fault)) for i in indices}  # noqa: B023
    if exp.learner.data is not None:  # whose rewards are finite
        return found
    return {i: each if np.isfinite(reward_t[i]).all() else of_reward(exp, each) for i, each in found.items()}


def of_reward(exp: Experiment, found: Failure) -> Failure:
    """A failure that a reward explains."""
    return found._replace(cause="reward", text=f"a reward of {exp.env.spec.task} is not finite")


def failure(exp: Experiment, index: int, fault: Fault) -> Failure:
    """The failure of one run."""
    spec = exp.env.spec
    nothing = np.full(spec.n_agents, np.nan, np.float32)
    cause = "loss" if fault.of_loss else "gradient"
    text = f"the {cause} of {method(exp)} is not finite"
    if not fault.located:
        return Failure(int(fault.env_steps), cause, text, np.full(spec.state_dim, np.nan), {}, nothing, np.nan)
    view = exp.env.view(jax.tree.map(jnp.asarray, fault.env_state))
    q = jnp.zeros(spec.n_agents)
    inputs = MixerInputs(q, q, jnp.zeros(spec.n_agents, jnp.int32), view.state, view.fields)
    state, fields = np.asarray(view.state), {name: np.asarray(x).tolist() for name, x in view.fields.items()}
    known = Failure(int(fault.env_steps), cause, text, state, fields, nothing, np.nan)
    credits_ = exp.mixer.credits if exp.mixer else ()
    if not credits_:
        return known
    # A run of a sweep is stopped by its own function alone; of others it only says so.
    found = [jax.device_get(jax.jit(credit)(inputs)) for credit in credits_]
    own = 0 if exp.choice is None else int(np.argmax(np.asarray(exp.choice)[index]))
    names = function_names(exp)
    weights, bias = found[own]
    wrong = {i: each for i, each in enumerate(starmap(problem, found)) if each}
    if own in wrong:
        cause, text = wrong[own][0], wrong[own][1].format(f"credit function {names[own]!r}")
    others = [repr(names[i]) for i in wrong if i != own]
    text += f" (in the same state, {', '.join(others)} would not be finite either)" if others else ""
    return known._replace(cause=cause, text=text, weights=weights, bias=float(bias))


def problem(weights: np.ndarray, bias: np.ndarray) -> tuple[str, str] | None:
    """The cause if weights or bias are not finite, and words with a gap for the function; else None."""
    if len(agents := np.flatnonzero(~np.isfinite(weights))):
        values = sorted({str(weights[i]) for i in agents})
        plural = "s" if len(agents) > 1 else ""
        of = "all agents" if len(agents) == len(weights) else f"agent{plural} {', '.join(map(str, agents))}"
        return "weights", f"the weights that {{}} gives to {of} are {' and '.join(values)}"
    return None if np.isfinite(bias) else ("bias", f"the bias that {{}} gives is {bias}")


def method(exp: Experiment) -> str:
    """The method and its mixer in words."""
    mixer = exp.config.algo.mixer.get("name")
    return f"{exp.config.algo.name} (mixer {mixer!r})" if mixer else exp.config.algo.name


def function_names(exp: Experiment) -> list[str]:
    """Names of the credit functions, in the order of the mixer."""
    return list(exp.config.sweep.tfcaf or [exp.config.algo.mixer.get("function") or exp.env.spec.name])


def describe(exp: Experiment, failures: Mapping[int, Failure], indices: list[int]) -> str:
    """Runs and their failures in words, the first SHOWN of `indices`."""
    runs = run_axis.runs(exp.config)
    name = lambda i: f"{runs[i].label} seed {runs[i].seed}".strip()
    parts = [f"{name(i)} at step {failures[i].env_steps:,}: {failures[i].text}" for i in indices[:SHOWN]]
    more = len(indices) - SHOWN
    return "; ".join(parts) + (f"; and {more} more" if more > 0 else "")


def write(path: Path, exp: Experiment, failures: Mapping[int, Failure]) -> Path:
    """Write FILE in a run folder, whole or not at all. Return its path."""
    runs = run_axis.runs(exp.config)
    columns: dict[str, Any] = {"run": list(failures), "seed": [runs[i].seed for i in failures]}
    for name in ("env_steps", "cause", "text", "state", "weights", "bias"):
        columns[name] = [getattr(each, name) for each in failures.values()]
    columns["fields"] = [json.dumps(each.fields) for each in failures.values()]
    with files.replacing(path / FILE) as temporary, open(temporary, "wb") as opened:
        np.savez(opened, **columns)
    return path / FILE
