"""An environment as the gates see it: its spec, states of rollouts, and its specs for other numbers of agents."""

import functools
import io
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import qllm_envs
from qllm_envs.core import Env, Field, Spec
from qllm_jax.errors import UserError
from qllm_jax.tfcaf.semantics.probes import States

RUN_KEYS = ("time_limit_is_terminal",)  # of an `env:` configuration; they are the run's and not the environment's
EPISODES = 12
KEPT = 48  # states of them
OTHER_SIZES = (2, 3, 6, 25)

# It runs once: compiling it well takes longer than running it badly.
_QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


class Setting(NamedTuple):
    """What a credit function is tried on."""

    spec: Spec
    seen: States  # fields in rollouts (R, ...)
    seen_state: np.ndarray  # (R, S)
    reached_state: np.ndarray  # (2, S), lowest and highest of each number in all states of the rollouts; (0, S): none
    others: dict[int, Spec]  # the same environment with other numbers of agents


def of_config(env: Mapping[str, Any]) -> Setting:
    """The setting of an `env:` configuration, made once per process. `UserError` if there is no such environment."""
    try:
        options = {key: env[key] for key in sorted(env) if key not in RUN_KEYS}
        return _made(json.dumps(options, default=lambda array: np.asarray(array).tolist()))
    except ValueError as error:
        raise UserError(str(error)) from error


def of_spec(spec: Spec) -> Setting:
    """The setting of a spec. If its environment cannot be made again from it, there are no states of rollouts."""
    try:
        found = of_config({"name": spec.name, **spec.options})
    except UserError:
        return bare(spec)
    return found if found.spec.fields == spec.fields else bare(spec)


def bare(spec: Spec) -> Setting:
    """A spec without rollouts: states come from the ranges of its fields alone."""
    seen = {name: np.zeros((0, *field.shape), np.float32) for name, field in spec.fields.items()}
    nothing = np.zeros((0, spec.state_dim), np.float32)
    return Setting(spec, seen, nothing, nothing, {})


@functools.lru_cache(maxsize=16)
def _made(description: str) -> Setting:
    options = json.loads(description)
    name = options.pop("name")
    env = qllm_envs.make(name, **options)
    fields, state, reached = _rollouts(env)
    others = {}
    for n in OTHER_SIZES:
        try:
            other = qllm_envs.make(name, **options | {"n_agents": n}).spec
        except ValueError:  # this environment has no other size, or not with these options
            continue
        if n != env.spec.n_agents:
            others[n] = other
    return Setting(env.spec, {key: fields[key] for key in env.spec.fields}, state, reached, others)


def _rollouts(env: Env) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Of episodes with random actions: fields (R, ...), flat states (R, S), and what all of these reach (2, S)."""

    def step(carry: tuple, key: jax.Array) -> tuple:
        state, alive = carry
        key_act, key_env = jax.random.split(key)
        view = env.view(state)
        action = jax.random.categorical(key_act, jnp.where(view.avail, 0.0, -jnp.inf))
        out = env.step(key_env, state, action)
        state = jax.tree.map(lambda new, old: jnp.where(alive, new, old), out.state, state)
        return (state, alive & ~(out.terminated | out.truncated)), (view.fields, view.state, alive)

    def episode(key: jax.Array) -> tuple:
        key_reset, key_steps = jax.random.split(key)
        first = (env.reset(key_reset), jnp.bool_(True))
        return jax.lax.scan(step, first, jax.random.split(key_steps, env.spec.horizon))[1]

    keys = jax.random.split(jax.random.key(0), EPISODES)
    program = jax.jit(jax.vmap(episode)).lower(keys).compile(_QUICK)
    fields, state, alive = jax.tree.map(np.asarray, program(keys))
    visited = np.argwhere(alive)  # (visited, 2): episode, step
    rows, steps = visited[np.linspace(0, len(visited) - 1, KEPT).astype(int)].T
    kept = jax.tree.map(lambda x: x[rows, steps].astype(np.float32), (fields, state))
    # A few states tell little of what is rare: that a unit is dead, or attacks a certain one of 64 enemies.
    return *kept, np.stack([state[alive].min(0), state[alive].max(0)]).astype(np.float32)


def pack(setting: Setting) -> tuple[dict[str, Any], bytes]:
    """The setting for another process: JSON and arrays."""
    arrays = io.BytesIO()
    flat = {"seen_state": setting.seen_state, "reached_state": setting.reached_state}
    named = flat | {f"field_{name}": x for name, x in setting.seen.items()}
    np.savez(arrays, allow_pickle=False, **named)
    specs = {str(spec.n_agents): _sizes(spec) for spec in (setting.spec, *setting.others.values())}
    return {"n_agents": setting.spec.n_agents, "name": setting.spec.name, "specs": specs}, arrays.getvalue()


def unpack(packed: dict[str, Any], arrays: bytes) -> Setting:
    """What `pack` packed, as far as a function can depend on it."""
    specs = {int(n): _spec(packed["name"], int(n), sizes) for n, sizes in packed["specs"].items()}
    spec = specs.pop(packed["n_agents"])
    with np.load(io.BytesIO(arrays)) as stored:
        seen = {name: stored[f"field_{name}"] for name in spec.fields}
        return Setting(spec, seen, stored["seen_state"], stored["reached_state"], specs)


def _sizes(spec: Spec) -> dict[str, Any]:
    fields = {name: [list(field.shape), field.meaning, field.low, field.high] for name, field in spec.fields.items()}
    return {"state_dim": spec.state_dim, "fields": fields}


def _spec(name: str, n_agents: int, sizes: dict[str, Any]) -> Spec:
    fields = {
        key: Field(tuple(shape), text, "", low, high) for key, (shape, text, low, high) in sizes["fields"].items()
    }
    return Spec(
        name=name,
        n_agents=n_agents,
        n_actions=0,
        obs_dim=0,
        state_dim=sizes["state_dim"],
        horizon=0,
        fields=fields,
        action_names=(),
        reward="",
        source="",
        task="",
    )
