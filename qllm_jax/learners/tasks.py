"""Tasks that written code gives the agents in training, as an input of their network, after LLM-TACA
(arxiv.org/abs/2502.16863).

The environment of such a method has, beside each agent's observation, a mark that it is told a task and the task as
one-hot, all 0 where it is told none. What an agent was told is part of the environment's state, so that a replayed
episode shows the same again. It is told none but in training, and there less and less often.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from qllm_envs import Env, EnvState, Spec, Step, View
from qllm_envs.core import undrawn
from qllm_jax.tfcaf import TaskFunction, task_from_source
from qllm_jax.tfcaf.loading.lookup import find_for_env

NONE = -1  # in place of a task
MOST_DROPPED = 0.9  # share of an agent's steps in which it is not told the task of an episode with tasks, at the end


class Tasked(NamedTuple):
    """State of an environment with tasks."""

    inner: EnvState
    told: Int[Array, " agents"]  # the task that each agent is told in this state, NONE for none
    has_tasks: Bool[Array, ""]  # of the episode
    dropped: Float[Array, ""]  # share of the steps in which an agent is told none all the same


def load(spec: Spec, task: str) -> TaskFunction:
    """Load a task function by name or path. UserError for one that does not exist or breaks the contract."""
    found = find_for_env(spec, task, "task")
    return task_from_source(found.text, found.file, spec)._replace(name=found.name)


def with_tasks(env: Env, function: TaskFunction) -> Env:
    """Return the environment whose agents can be told tasks. An episode that begins by its `reset` has none."""
    notable, won, crashed, scene = env.notable, env.won, env.crashed, env.scene
    bare = lambda state: Tasked(
        state, jnp.full((env.spec.n_agents,), NONE, jnp.int32), jnp.bool_(False), jnp.float32(0.0)
    )
    return env._replace(
        spec=env.spec._replace(obs_dim=env.spec.obs_dim + 1 + function.n_tasks),
        reset=lambda key: bare(env.reset(key)),
        step=partial(_step, env, function),
        view=partial(_view, env, function.n_tasks),
        scene=undrawn if scene is undrawn else lambda state: scene(state.inner),
        won=None if won is None else lambda state: won(state.inner),
        crashed=None if crashed is None else lambda state: crashed(state.inner),
        notable=None if notable is None else lambda key: {name: bare(s) for name, s in notable(key).items()},
    )


def in_training(env: Env, function: TaskFunction, kept: Float[Array, ""]) -> Env:
    """Return an environment `with_tasks` whose episodes have tasks with probability `kept`.

    An agent of an episode with tasks is told none in a share 1 - `kept` of its steps, at most MOST_DROPPED.
    """

    def reset(key: jax.Array) -> Tasked:
        key_env, key_kept, key_told = jax.random.split(key, 3)
        state = env.reset(key_env)
        has_tasks, dropped = jax.random.bernoulli(key_kept, kept), jnp.minimum(1.0 - kept, MOST_DROPPED)
        fields = env.view(state).fields
        return Tasked(state.inner, _told(function, key_told, fields, has_tasks, dropped), has_tasks, dropped)

    return env._replace(reset=reset)


def _step(env: Env, function: TaskFunction, key: jax.Array, state: Tasked, actions: Int[Array, " agents"]) -> Step:
    key_env, key_told = jax.random.split(key)
    out = env.step(key_env, state.inner, actions)
    told = _told(function, key_told, env.view(out.state).fields, state.has_tasks, state.dropped)
    return out._replace(state=Tasked(out.state, told, state.has_tasks, state.dropped))


def _told(
    function: TaskFunction, key: jax.Array, fields: dict[str, Array], has_tasks: Array, dropped: Array
) -> Int[Array, " agents"]:
    """Draw the task that each agent is told, NONE for one that is told none. The key is consumed."""
    task = function.assign(fields)
    hears = has_tasks & (jax.random.uniform(key, task.shape) >= dropped)
    return jnp.where(hears, task, NONE)


def _view(env: Env, n_tasks: int, state: Tasked) -> View:
    view = env.view(state.inner)
    # A one-hot of NONE is all 0.
    told = jnp.concatenate([(state.told != NONE)[:, None], jax.nn.one_hot(state.told, n_tasks)], -1)
    return view._replace(obs=jnp.concatenate([view.obs, told.astype(view.obs.dtype)], -1))
