"""Tasks made from environments: rollouts of random actions give the states that a credit function will meet."""

import functools
import json
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import qllm_envs
from qllm_envs.core import Env, Spec
from qllm_jax.config import env_options
from qllm_jax.errors import UserError
from qllm_jax.tfcaf.loading.signatures import step_inputs
from qllm_jax.tfcaf.semantics import steps
from qllm_jax.tfcaf.semantics.compiling import run_once
from qllm_jax.tfcaf.semantics.probes import States
from qllm_jax.tfcaf.semantics.steps import random_step
from qllm_jax.tfcaf.semantics.task import Task
from qllm_jax.tfcaf.static.vocabulary import Kind

KEPT, KEPT_PER_AGENT = 48, 12  # states, at least: an agent whose turn is one of N comes up among 12 N states
KEPT_OF_EPISODE = 4  # of them on average: states of one episode are alike
NOTABLE = 3  # of each state that good play reaches
OTHER_SIZES = (2, 3, 6, 25)


def from_config(env: Mapping[str, Any], kind: Kind = "value") -> Task:
    """Return the task of an `env:` configuration, for functions of a kind, made once per process.

    `UserError` if no such environment exists.
    """
    try:
        options = json.dumps(env_options(env), sort_keys=True, default=lambda array: np.asarray(array).tolist())
        return _make(env["name"], options, qllm_envs.source_digest(env["name"]), kind)
    except ValueError as error:
        raise UserError(str(error)) from error


def from_spec(spec: Spec, kind: Kind = "value") -> Task:
    """Return the task of a spec. It has no rollouts if the environment cannot be made again from the spec."""
    try:
        found = from_config({"name": spec.made_by or spec.name, **spec.options}, kind)
    except UserError:
        return without_rollouts(spec, kind)
    same = found.spec.name == spec.name and found.spec.fields == spec.fields
    return found if same else without_rollouts(spec, kind)


def without_rollouts(spec: Spec, kind: Kind = "value") -> Task:
    """Return a task whose probe states come from the ranges of its fields alone."""
    seen, flat = _no_states(spec)
    if kind == "reward":
        seen = step_inputs(seen, np.zeros((0, spec.n_agents), np.float32), np.zeros(0, np.float32), seen)
    return Task(spec, {}, kind, seen, seen, (), flat, flat, flat)


def _no_states(spec: Spec) -> tuple[States, np.ndarray]:
    """Return fields (0, ...) and flat states (0, S)."""
    fields = {name: np.zeros((0, *field.shape), np.float32) for name, field in spec.fields.items()}
    return fields, np.zeros((0, spec.state_dim), np.float32)


@functools.lru_cache(maxsize=16)
def _make(name: str, options_json: str, source: str, kind: Kind) -> Task:
    del source  # a file from outside may change in the life of a process
    options = json.loads(options_json)
    env = qllm_envs.make(name, **options)
    others = {}
    for n in OTHER_SIZES:
        try:
            other = qllm_envs.make(name, **options | {"n_agents": n}).spec
        except Exception:  # this environment has no other size, or not with these options; one from outside may break
            continue
        if n != env.spec.n_agents:
            others[n] = other
    if kind == "reward":
        played, (_, nothing) = steps.of_play(env), _no_states(env.spec)
        return Task(env.spec, others, kind, *played, nothing, nothing, nothing)
    fields, state, state_range = _rollouts(env)
    notable, notable_state, phrases = _notable(env)
    seen = {key: fields[key] for key in env.spec.fields}
    return Task(env.spec, others, kind, seen, notable, phrases, state, notable_state, state_range)


def _notable(env: Env) -> tuple[States, np.ndarray, tuple[str, ...]]:
    """Return fields (M, ...), flat states (M, S) and phrases of the states that good play reaches."""
    if env.notable is None:
        return *_no_states(env.spec), ()
    phrases: list[str] = []

    def views(key: jax.Array) -> tuple:
        found = env.notable(key) if env.notable else {}
        phrases[:] = found
        seen = [env.view(state) for state in found.values()]
        return jax.tree.map(lambda *rows: jnp.stack(rows), *[(view.fields, view.state) for view in seen])

    keys = jax.random.split(jax.random.key(1), NOTABLE)
    fields, state = run_once(views, keys)
    rows = np.unique(state.reshape(NOTABLE * len(phrases), -1), axis=0, return_index=True)[1]  # some know no chance
    rows = np.sort(rows)
    joined = lambda x: x.reshape(NOTABLE * len(phrases), *x.shape[2:])[rows].astype(np.float32)  # fields may be empty
    named = tuple(phrases[row % len(phrases)] for row in rows)
    return {name: joined(fields[name]) for name in env.spec.fields}, joined(state), named


def _rollouts(env: Env) -> tuple[States, np.ndarray, np.ndarray]:
    """Return fields (R, ...), flat states (R, S), and the lowest and highest numbers of all flat states (2, S)."""

    def step(carry: tuple, key: jax.Array) -> tuple:
        after, view, *_ = random_step(env, carry, key)
        return after, (view.fields, view.state, carry[1])

    def episode(key: jax.Array) -> tuple:
        key_reset, key_steps = jax.random.split(key)
        first = (env.reset(key_reset), jnp.bool_(True))
        return jax.lax.scan(step, first, jax.random.split(key_steps, env.spec.horizon))[1]

    n_kept = max(KEPT, KEPT_PER_AGENT * env.spec.n_agents)
    keys = jax.random.split(jax.random.key(0), n_kept // KEPT_OF_EPISODE)
    fields, state, alive = run_once(episode, keys)
    visited = np.argwhere(alive)  # (visited, 2): episode, step
    rows, steps = visited[np.linspace(0, len(visited) - 1, n_kept).astype(int)].T
    kept = jax.tree.map(lambda x: x[rows, steps].astype(np.float32), (fields, state))
    # A few states tell little of what is rare: that a unit is dead, or attacks a certain one of 64 enemies.
    return *kept, np.stack([state[alive].min(0), state[alive].max(0)]).astype(np.float32)
