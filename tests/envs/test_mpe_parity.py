"""Spread, tag, adversary and the physics under them against mpe2 and JaxMARL: equal numbers from injected states."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jaxmarl
import numpy as np
import pytest
from jaxmarl.environments.mpe.simple import State as PeerState
from mpe2 import simple_adversary_v3, simple_spread_v3, simple_tag_v3

from qllm_envs import make, mpe_adversary, mpe_tag
from qllm_envs._mpe import physics, versus
from qllm_envs._mpe.task import Rules
from qllm_envs.mpe_spread import State
from qllm_envs.selfplay import game

KEY = jax.random.key(0)
close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5)


@functools.cache
def spread(n_agents):
    """The environment with its step and view compiled once for all tests."""
    env = make("mpe_spread", n_agents=n_agents)
    return env._replace(step=jax.jit(env.step), view=jax.jit(env.view))


def state_of(world, dtype: Any = np.float32):
    """Our state at the start of an episode, copied from a world of mpe2."""
    pos, vel = ([getattr(agent.state, name) for agent in world.agents] for name in ("p_pos", "p_vel"))
    landmarks = [landmark.state.p_pos for landmark in world.landmarks]
    pos, vel, landmarks = (jnp.asarray(np.array(rows, dtype)) for rows in (pos, vel, landmarks))
    return State(pos, vel, landmarks, jnp.int32(0))


def episodes(n_agents, n_episodes):
    """Worlds of mpe2 at the start of an episode: spread as they spawn, then crowded, so that many touch."""
    for seed in range(n_episodes):
        peer = simple_spread_v3.parallel_env(N=n_agents, max_cycles=25)
        peer.reset(seed=seed)
        for agent in peer.unwrapped.world.agents if seed % 2 else ():
            agent.state.p_pos *= 0.3
        yield peer, np.random.default_rng(seed).integers(0, 5, (25, n_agents))


def named(actions):
    return {f"agent_{i}": int(action) for i, action in enumerate(actions)}


@pytest.mark.parametrize("n_agents", [3, 6, 15])
def test_each_step_of_an_episode_equals_mpe2(n_agents):
    env = spread(n_agents)
    for peer, actions in episodes(n_agents, n_episodes=4):
        close(env.view(state_of(peer.unwrapped.world)).state, peer.state())
        for action in actions:
            step = env.step(KEY, state_of(peer.unwrapped.world), jnp.asarray(action, jnp.int32))
            obs, rewards, *_ = peer.step(named(action))
            view, wanted = env.view(step.state), state_of(peer.unwrapped.world)
            close(view.obs, np.stack(list(obs.values())))
            close(view.state, peer.state())
            close(step.reward, sum(rewards.values()))
            close(step.state.agent_pos, wanted.agent_pos)
            close(step.state.agent_vel, wanted.agent_vel)


@pytest.mark.parametrize("n_agents", [3, 6, 15])
def test_a_free_run_of_25_steps_equals_mpe2_in_double_precision(n_agents):
    # In float32 contacts amplify rounding to 1e-4 within an episode; in mpe2's own precision nothing may be left.
    with jax.enable_x64(True):
        for peer, actions in episodes(n_agents, n_episodes=2):
            state = state_of(peer.unwrapped.world, np.float64)
            for action in actions:
                step = spread(n_agents).step(KEY, state, jnp.asarray(action, jnp.int32))
                _, rewards, _, truncations, _ = peer.step(named(action))
                wanted, state = state_of(peer.unwrapped.world, np.float64), step.state
                np.testing.assert_allclose(step.reward, sum(rewards.values()), rtol=1e-9)
                np.testing.assert_allclose(state.agent_pos, wanted.agent_pos, rtol=0, atol=1e-9)
                assert bool(step.truncated) == all(truncations.values())


def test_25_agents_equal_jaxmarl_in_every_step_and_in_episode_length():
    N, env = 25, make("mpe_spread", n_agents=25)
    # 24 gives 25 steps: JaxMARL 0.2.0 compares the counter from before the step.
    peer = jaxmarl.make("MPE_simple_spread_v3", num_agents=N, num_landmarks=N, max_steps=24)

    def turn(theirs: Any, actions):
        mine = State(theirs.p_pos[:N], theirs.p_vel[:N], theirs.p_pos[N:], theirs.step)
        step = env.step(KEY, mine, actions)
        named_actions = {name: actions[i] for i, name in enumerate(peer.agents)}
        after: Any
        obs, after, rewards, dones, _ = peer.step_env(KEY, theirs, named_actions)
        pairs = (
            (env.view(step.state).obs, jnp.stack([obs[name] for name in peer.agents])),
            (step.reward, sum(rewards.values())),
            (step.state.agent_pos, after.p_pos[:N]),
            (step.state.agent_vel, after.p_vel[:N]),
        )
        return after, (pairs, step.truncated, dones["__all__"])

    key_pos, key_actions = jax.random.split(KEY)
    start = PeerState(
        p_pos=jax.random.uniform(key_pos, (2 * N, 2), minval=-1.0),
        p_vel=jnp.zeros((2 * N, 2)),
        c=jnp.zeros((N, 2)),
        done=jnp.bool_(False),
        step=jnp.int32(0),
    )
    with jax.numpy_rank_promotion("allow"):  # theirs
        _, (pairs, ours_ends, theirs_ends) = jax.lax.scan(turn, start, jax.random.randint(key_actions, (25, N), 0, 5))
    for ours, theirs in pairs:
        close(ours, theirs)
    assert ours_ends.tolist() == theirs_ends.tolist() == [False] * 24 + [True]


@jax.jit
def tag_step(state, actions, accel, max_speed, radius):
    """Four agents among two obstacles, all of which collide: what spread leaves out of the shared physics."""
    entities = jnp.concatenate([state.agent_pos, state.landmark_pos])
    force = physics.thrust(actions, accel)
    force += physics.contact_force(state.agent_pos, entities, radius[:4, None] + radius[None])
    return physics.integrate(state.agent_pos, state.agent_vel, force, max_speed)


def test_shared_physics_equals_tag_of_mpe2_with_speed_limits_and_obstacles():
    peer = simple_tag_v3.parallel_env()
    rng = np.random.default_rng(0)
    for seed in range(20):
        peer.reset(seed=seed)
        world = peer.unwrapped.world
        for entity in world.entities:
            entity.state.p_pos = rng.uniform(-0.3, 0.3, 2)
        for agent in world.agents:
            agent.state.p_vel = rng.uniform(-1, 1, 2)
        actions = rng.integers(0, 5, 4)
        accel, max_speed = (jnp.array([[getattr(agent, a)] for agent in world.agents]) for a in ("accel", "max_speed"))
        radius = jnp.array([entity.size for entity in world.entities])
        pos, vel = tag_step(state_of(world), jnp.asarray(actions), accel, max_speed, radius)
        peer.step(dict(zip((agent.name for agent in world.agents), actions, strict=True)))
        close(pos, state_of(world).agent_pos)
        close(vel, state_of(world).agent_vel)


class Against(NamedTuple):
    """A task with an opponent: ours, with the opponent's action given, and mpe2's."""

    step: Any  # (state, team's actions, opponent's action) -> Step
    look: Any  # state -> view, what the opponent sees, rewards of one of the team and of the opponent
    state_of: Any  # (world, dtype) -> state
    peer: Any
    team: list[str]  # mpe2's names
    opponent: str


def step_against(parts, rules):
    """A compiled step with the opponent's action given."""
    return jax.jit(lambda state, own, other: versus.make(parts, rules, lambda key, obs: other).step(KEY, state, own))


@functools.cache
def tag(n):
    rules = Rules(n, horizon=25, drop_last_reward=False)

    def state_of(world, dtype: Any = np.float32):
        pos, vel = (np.array([getattr(agent.state, name) for agent in world.agents]) for name in ("p_pos", "p_vel"))
        obstacles = np.array([landmark.state.p_pos for landmark in world.landmarks])
        arrays = (jnp.asarray(array.astype(dtype)) for array in (pos[:n], vel[:n], pos[n], vel[n], obstacles))
        return mpe_tag.State(*arrays, t=jnp.int32(0))

    return Against(
        step=step_against(mpe_tag.TASK, rules),
        look=jax.jit(lambda state: (mpe_tag.view(state), mpe_tag.prey_obs(state), game.tag_rewards(state))),
        state_of=state_of,
        peer=simple_tag_v3.parallel_env(num_adversaries=n, max_cycles=25),
        team=[f"adversary_{i}" for i in range(n)],
        opponent="agent_0",
    )


@functools.cache
def adversary(n):
    rules = Rules(n, horizon=25, drop_last_reward=False)

    def state_of(world, dtype: Any = np.float32):
        pos, vel = (np.array([getattr(agent.state, name) for agent in world.agents]) for name in ("p_pos", "p_vel"))
        landmarks = np.array([landmark.state.p_pos for landmark in world.landmarks])
        arrays = (jnp.asarray(array.astype(dtype)) for array in (pos[1:], vel[1:], pos[0], vel[0], landmarks))
        goal = world.landmarks.index(world.agents[0].goal_a)
        return mpe_adversary.State(*arrays, goal=jnp.int32(goal), t=jnp.int32(0))

    look = lambda state: (
        mpe_adversary.view(state),
        mpe_adversary.adversary_obs(state),
        game.adversary_rewards(state),
    )
    return Against(
        step=step_against(mpe_adversary.TASK, rules),
        look=jax.jit(look),
        state_of=state_of,
        peer=simple_adversary_v3.parallel_env(N=n, max_cycles=25),
        team=[f"agent_{i}" for i in range(n)],
        opponent="adversary_0",
    )


TASKS = [(tag, 3), (tag, 5), (adversary, 2), (adversary, 3)]


def games_of(task, n_episodes):
    """The world of mpe2 at the start of an episode, as it spawns, crowded, wide, and actions, the opponent's last."""
    for seed in range(n_episodes):
        task.peer.reset(seed=seed)
        for agent in task.peer.unwrapped.world.agents:
            agent.state.p_pos *= (1, 0.3, 3)[seed % 3]
        yield task.peer.unwrapped.world, np.random.default_rng(seed).integers(0, 5, (25, len(task.team) + 1))


def named_for(task, actions):
    return dict(zip([*task.team, task.opponent], actions.tolist(), strict=True))


@pytest.mark.parametrize(("make_task", "n"), TASKS)
def test_each_step_against_an_opponent_equals_mpe2(make_task, n):
    task = make_task(n)
    for world, actions in games_of(task, n_episodes=6):
        for action in actions:
            before = task.state_of(world)
            step = task.step(before, jnp.asarray(action[:-1]), jnp.asarray(action[-1]))
            obs, rewards, *_ = task.peer.step(named_for(task, action))
            view, opponent_obs, own_rewards = task.look(step.state)
            jax.tree.map(close, step.state._replace(t=0), task.state_of(world)._replace(t=0))
            close(view.obs, [obs[name] for name in task.team])
            close(view.state, np.concatenate([obs[name] for name in task.team]))
            close(opponent_obs, obs[task.opponent])
            close(step.reward, sum(rewards[name] for name in task.team))
            close(own_rewards, [rewards[task.team[0]], rewards[task.opponent]])


@pytest.mark.parametrize(("make_task", "n"), TASKS[::2])
def test_a_free_run_against_an_opponent_equals_mpe2_in_double_precision(make_task, n):
    task = make_task(n)
    with jax.enable_x64(True):
        for world, actions in games_of(task, n_episodes=4):
            state = task.state_of(world, np.float64)
            for action in actions:
                step = task.step(state, jnp.asarray(action[:-1]), jnp.asarray(action[-1]))
                _, rewards, _, truncations, _ = task.peer.step(named_for(task, action))
                wanted, state = task.state_of(world, np.float64), step.state
                np.testing.assert_allclose(step.reward, sum(rewards[name] for name in task.team), rtol=1e-9)
                np.testing.assert_allclose(state.agent_pos, wanted.agent_pos, rtol=0, atol=1e-9)
                assert bool(step.truncated) == all(truncations.values())
