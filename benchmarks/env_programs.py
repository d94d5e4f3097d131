"""Timed systems of env_step.py: whole episodes as one compiled program, of our environment and of a peer in JAX.

A package of env_peers.py plays its one environment in this process.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import common
import env_peers
import jax
import numpy as np
import workload
from env_peers import JAXMARL, JUMANJI, Game, Play

from qllm_envs import Env

OURS = "qllm_envs"
Episode = Callable[[jax.Array, jax.Array], Any]  # (key, actions (T, N)) -> (kept by a rollout, ended (T,))


class System(NamedTuple):
    """Timed system. Fields are None for a package, which is not compiled."""

    name: str
    n_envs: int
    play: Play
    compile_s: float | None = None
    step_bytes: float | None = None  # written by the program for an env step
    planned_bytes: int | None = None  # of memory
    counted: float = 1.0  # share of its steps that come before the end of an episode


def listed(game: Game, sizes: list[int], peer_sizes: list[int]) -> list[tuple[str, int]]:
    """Return (name, environments) of the installed systems; a peer in JAX with `peer_sizes`."""
    peers = [peer for peer in env_peers.of(game["name"]) if env_peers.installed(peer)]
    in_jax, found = [peer for peer in peers if peer in EPISODES], []
    for n_envs in sizes:
        found += [(OURS, n_envs), *((peer, n_envs) for peer in in_jax if n_envs in peer_sizes)]
    return found + [(package, 1) for package in peers if package not in EPISODES]


def build(name: str, n_envs: int, env: Env, game: Game, seed: int) -> System:
    """Build a system of `listed`, warmed up."""
    rng = np.random.default_rng((seed, n_envs))
    if name != OURS and name not in EPISODES:
        return System(name, n_envs, env_peers.PACKAGES[game["name"]][1](game, rng))
    if name == OURS:
        n_agents, episode = env.spec.n_agents, ours(env)
    else:
        make, episode_of = EPISODES[name]
        peer = make(game)
        n_agents, episode = peer.num_agents, episode_of(peer)
    actions = rng.integers(0, env.spec.n_actions, (n_envs, env.spec.horizon, n_agents), dtype=np.int32)
    return compiled(name, episode, actions)


def ours(env: Env) -> Episode:
    """Return an episode of our environment as a function."""

    def turn(state: Any, key_and_actions: Any) -> tuple[Any, Any]:
        step = env.step(key_and_actions[0], state, key_and_actions[1])
        return step.state, ((step.reward, env.view(step.state).obs), step.terminated | step.truncated)

    return scanned(env.reset, turn)


def jaxmarl_episode(env: Any) -> Episode:
    """Return an episode of JaxMARL's environment, whose rewards and observations are dicts by agent name."""

    def turn(state: Any, key_and_actions: Any) -> tuple[Any, Any]:
        key, actions = key_and_actions
        named = {name: actions[i] for i, name in enumerate(env.agents)}
        obs, state, rewards, dones, _ = env.step_env(key, state, named)
        return state, ((rewards, obs), dones["__all__"])

    return scanned(lambda key: env.reset(key)[1], turn)


def jumanji_episode(env: Any) -> Episode:
    """Return an episode of jumanji's environment, played on to its limit after a collision; all steps count."""

    def turn(state: Any, key_and_actions: Any) -> tuple[Any, Any]:
        state, seen = env.step(state, key_and_actions[1])  # it holds its own key
        return state, ((seen.reward, seen.observation.agents_view), state.step_count >= env.time_limit)

    return scanned(lambda key: env.reset(key)[0], turn)


EPISODES: dict[str, tuple[Callable[[Game], Any], Callable[[Any], Episode]]] = {  # of peers in JAX
    JAXMARL: (env_peers.jaxmarl_env, jaxmarl_episode),
    JUMANJI: (env_peers.jumanji_env, jumanji_episode),
}


def scanned(reset: Callable[[jax.Array], Any], turn: Callable[[Any, Any], tuple[Any, Any]]) -> Episode:
    """Return an episode as a function: a reset, then a turn for each joint action."""

    def episode(key: jax.Array, actions: jax.Array) -> Any:
        key_reset, key_turns = jax.random.split(key)
        return jax.lax.scan(turn, reset(key_reset), (jax.random.split(key_turns, len(actions)), actions))[1]

    return episode


def compiled(name: str, episode: Episode, actions: np.ndarray) -> System:
    """Compile a program of B environments for `actions` (B, T, N)."""
    inputs = jax.random.split(jax.random.key(0), len(actions)), jax.device_put(actions)
    run, compile_s = common.compiled(jax.vmap(episode), *inputs)
    steps = happened(np.asarray(run(*inputs)[1]))  # its first call is the warm-up

    def play() -> int:
        jax.block_until_ready(run(*inputs))
        return steps

    step_bytes = run.memory_analysis().output_size_in_bytes / steps
    counted = steps / (actions.shape[0] * actions.shape[1])
    return System(name, len(actions), play, compile_s, step_bytes, workload.planned_bytes(run), counted)


def happened(ended: np.ndarray) -> int:
    """Count the steps of episodes, from `ended` (B, T), up to and including the last step of each."""
    return int((np.cumsum(ended, axis=1) - ended == 0).sum())


class Rate(NamedTuple):
    """Speed of a system in one round."""

    steps_per_s: float
    cores_busy: float  # processor time of all threads over wall time; threads that wait actively count


def rate(play: Play, seconds: float) -> Rate:
    """Measure whole calls, for at least `seconds`."""
    start, busy, steps = time.perf_counter(), time.process_time(), play()
    while (elapsed := time.perf_counter() - start) < seconds:
        steps += play()
    return Rate(steps / elapsed, (time.process_time() - busy) / elapsed)


def take_turns(found: list[System], repeats: int, seconds: float) -> list[dict[str, Any]]:
    """Return a row per system, from rounds of all systems, each for at least `seconds`.

    Ratios are taken round by round: to a peer in JAX with as many environments, to a package with its one environment.
    """
    rounds = [[rate(system.play, seconds) for system in found] for _ in range(repeats)]
    speeds = [[each.steps_per_s for each in rates] for rates in zip(*rounds, strict=True)]
    written, rows = workload.write_rate(), []
    for i, (mine, own) in enumerate(zip(found, speeds, strict=True)):
        row = {"system": mine.name, "envs": mine.n_envs, "env_steps_per_s": own, "compile_s": mine.compile_s}
        row |= {"counted": mine.counted, "cores_busy": [rates[i].cores_busy for rates in rounds]}
        row["planned_bytes"] = mine.planned_bytes
        if mine.step_bytes is not None:
            row["times_floor"] = [written / mine.step_bytes / each for each in own]
        for peer, theirs in zip(found, speeds, strict=True):
            # A package plays one environment, whatever the number of the others.
            if peer.name not in (OURS, mine.name) and (peer.n_envs == mine.n_envs or peer.compile_s is None):
                row[f"speed_to_{peer.name}"] = common.ratios(own, theirs)
        rows.append(row)
    return rows
