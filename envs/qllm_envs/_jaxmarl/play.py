"""Reset, step and view of an environment of JaxMARL, with its automatic reset undone.

N agents, O numbers of the largest observation, A actions of the agent with the most.
"""

import contextlib
import io
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from qllm_envs._jaxmarl import arguments
from qllm_envs._jaxmarl.games import Game
from qllm_envs.core import Step, View


class State(NamedTuple):
    inner: Any  # JaxMARL's
    obs: Float[Array, "n obs"] | None  # kept where JaxMARL cannot compute them from its state
    t: Int[Array, ""]  # steps taken


class Rules(NamedTuple):
    """An environment of JaxMARL and its sizes."""

    name: str  # in JaxMARL's registry
    game: Game
    env: Any
    horizon: int
    shaped_reward: float  # weight of JaxMARL's shaped rewards
    n_actions: tuple[int, ...]  # of each agent
    obs_sizes: tuple[int, ...]  # of each agent
    start: Any  # shapes and dtypes of JaxMARL's state
    has_world: bool  # it gives a state of the world apart from observations
    keeps_obs: bool

    @property
    def agents(self) -> tuple[Any, ...]:
        """JaxMARL's names of the agents."""
        return tuple(self.env.agents)


def rules_of(name: str, game: Game, env: Any, horizon: int, shaped_reward: float) -> Rules:
    """Return the environment with the sizes that it has when it is reset. Nothing is computed."""
    with _as_jaxmarl_is(name):
        obs, start = arguments.shapes(name, env)
    return Rules(
        name,
        game,
        env,
        horizon,
        shaped_reward,
        n_actions=tuple(int(env.action_space(agent).n) for agent in env.agents),
        obs_sizes=tuple(int(np.prod(obs[agent].shape)) for agent in env.agents),
        start=start,
        has_world="world_state" in obs,
        keeps_obs=name == "hanabi",  # which shows the last action
    )


@contextlib.contextmanager
def _as_jaxmarl_is(name: str) -> Iterator[None]:
    """Let JaxMARL broadcast, and leave out what JaxNav prints while it is traced."""
    unheard = contextlib.redirect_stdout(io.StringIO()) if name == "jaxnav" else contextlib.nullcontext()
    with jax.numpy_rank_promotion("allow"), unheard:
        yield


def reset(rules: Rules, key: jax.Array) -> State:
    with _as_jaxmarl_is(rules.name):
        obs, inner = rules.env.reset(key)
    return State(_settled(rules, inner), _padded(rules, obs) if rules.keeps_obs else None, jnp.int32(0))


def step(rules: Rules, key: jax.Array, state: State, actions: Int[Array, " n"]) -> Step:
    """An end before the horizon is a termination; at the horizon it is a truncation, whatever JaxMARL calls it."""
    chosen = {agent: actions[i] for i, agent in enumerate(rules.agents)}
    with _as_jaxmarl_is(rules.name):
        obs, inner, rewards, dones, info = rules.env.step_env(key, state.inner, chosen)
    moved = State(_settled(rules, inner), _padded(rules, obs) if rules.keeps_obs else None, state.t + 1)
    truncated = moved.t >= rules.horizon
    terminated = dones["__all__"] & ~truncated if rules.game.family.ends_early else jnp.bool_(False)
    return Step(moved, _team_reward(rules, rewards, info), terminated, truncated)


def _settled(rules: Rules, inner: Any) -> Any:
    """JaxMARL's state in the dtypes of its reset, none of them weak."""
    return jax.tree.map(lambda leaf, like: jax.lax.convert_element_type(leaf, like.dtype), inner, rules.start)


def _team_reward(rules: Rules, rewards: Mapping[Any, Any], info: Mapping[str, Any]) -> Float[Array, ""]:
    """The team's reward as JaxMARL's CTRolloutManager gives it, which its Q-learners learn from."""
    each = jnp.stack([jnp.asarray(rewards[agent], jnp.float32) for agent in rules.agents])
    reward = each[0] if rules.game.family.shared else each.sum()
    if rules.shaped_reward:
        reward += rules.shaped_reward * jnp.stack([*info["shaped_reward"].values()]).astype(jnp.float32).sum()
    return reward


def view(rules: Rules, state: State) -> View:
    with _as_jaxmarl_is(rules.name):
        obs = state.obs if rules.keeps_obs else _padded(rules, rules.env.get_obs(state.inner))
        can = _available(rules, state.inner)
    assert obs is not None
    fields = {name: _as_field(leaf) for name, leaf in named_arrays(state.inner).items()}
    if rules.has_world:
        with _as_jaxmarl_is(rules.name):
            flat = rules.env.get_world_state(state.inner).astype(jnp.float32)
        return View(obs, can, flat, fields | {"world_state": flat})
    is_even = len(set(rules.obs_sizes)) == 1
    flat = obs.reshape(-1) if is_even else jnp.concatenate([obs[i, :size] for i, size in enumerate(rules.obs_sizes)])
    return View(obs, can, flat, fields | {"agent_obs": obs})


def _padded(rules: Rules, obs: Mapping[Any, Array]) -> Float[Array, "n obs"]:
    """Observations of all agents in rows, with zeros after those of an agent that sees less."""
    most = max(rules.obs_sizes)
    rows = [obs[agent].reshape(-1) for agent in rules.agents]
    stacked = jnp.stack([jnp.pad(row, (0, most - row.size)) if row.size < most else row for row in rows])
    # Without the barrier XLA:CPU computes Overcooked's layers anew for each of their numbers, several times slower.
    return jax.lax.optimization_barrier(stacked).astype(jnp.float32)


def _available(rules: Rules, inner: Any) -> Bool[Array, "n actions"]:
    """Actions that JaxMARL says to be available; those that an agent does not have are not."""
    name = {"hanabi": "get_legal_moves", "HeuristicEnemySMAX": "get_avail_actions"}.get(rules.name)
    most = max(rules.n_actions)
    if name is None:
        return jnp.arange(most)[None] < jnp.array(rules.n_actions)[:, None]
    can = getattr(rules.env, name)(inner)
    return jnp.stack([can[agent] > 0 for agent in rules.agents])


def named_arrays(inner: Any) -> dict[str, Array]:
    """Arrays of JaxMARL's state by name, those of parts of it as part_name; without empty ones and flags of the end."""
    found = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(inner)[0]:
        name = "_".join(key.name for key in path).removeprefix("state_")
        if name not in ("done", "ep_done", "terminal") and leaf.size:
            found[name] = leaf
    return found


def _as_field(leaf: Array) -> Array:
    """An array in the dtypes of fields: float32, int32 or bool."""
    if leaf.dtype == bool:
        return leaf
    return leaf.astype(jnp.float32 if jnp.issubdtype(leaf.dtype, jnp.floating) else jnp.int32)


def won(rules: Rules, state: State) -> Bool[Array, ""]:
    """True if a battle of SMAX is won."""
    alive, n = state.inner.state.unit_alive, len(rules.agents)
    return alive[:n].any() & ~alive[n:].any()
