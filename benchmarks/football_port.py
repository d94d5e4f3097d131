"""The port `football_lite` on the scenes of football_record.py: the same measurements, of traced episodes."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import football_games as games
import football_policies
import football_record as record
import jax
import jax.numpy as jnp
import numpy as np
from football_lab import NUMBER, Scene, Seen

import qllm_envs
from qllm_envs._football import ball as balls
from qllm_envs._football import game, state
from qllm_envs._football.constants import HORIZON, rules
from qllm_envs._football.state import Ball, State

GAMES, STEPS = 96, 60
LONG = 10_000  # steps: no limit in scenes
THREE = rules("academy_3_vs_1_with_keeper", LONG)
ENDED = {state.GOAL: "goal", state.LOST: "lost", state.OUT: "out", state.CONCEDED: "conceded", state.RUNNING: "limit"}
OUT = ("goal_kick", "free_kick", "corner", "throw_in", "penalty", "kick_off")  # one end in the port


class Track(NamedTuple):
    """Measurements after each step."""

    ball: Any  # (3,)
    ball_velocity: Any  # (3,)
    pos: Any  # (P, 2)
    vel: Any  # (P, 2)
    owner_team: Any
    owner: Any
    ended: Any
    player: Any  # (A,) whom each agent controls, where that changes


def track(now: State) -> Track:
    """The measured part of a state."""
    player = jnp.zeros((0,)) if now.control is None else now.control.player
    return Track(now.ball.pos, now.ball.vel, now.pos, now.vel, now.owner_team, now.owner, now.ended, player)


def played(table: Any, keys: jax.Array, start: State, actions: np.ndarray) -> Track:
    """Tracks (E, T + 1, ...) of E games from states (E, ...) with actions (E, T, N). Nothing happens after an end.

    Games are played GAMES at once and for STEPS steps at least, so that all scenes share one program.
    """
    games, steps = actions.shape[:2]
    actions = np.pad(actions, ((0, 0), (0, max(STEPS - steps, 0)), (0, 0)))
    tracks = []
    for first in range(0, games, GAMES):
        index = np.minimum(np.arange(first, first + GAMES), games - 1)
        some = jax.tree.map(lambda x: x[index], (keys, start, jnp.asarray(actions)))  # noqa: B023
        tracks.append(jax.tree.map(np.asarray, batch(table, *some)))
    return jax.tree.map(lambda *parts: np.concatenate(parts)[:games, : steps + 1], *tracks)


@partial(jax.jit, static_argnums=0)
def batch(table: Any, keys: jax.Array, start: State, actions: jax.Array) -> Track:
    """Tracks of games that are played at once."""

    def one(key: jax.Array, start: State, actions: jax.Array) -> Track:
        def step(now: State, x: tuple[jax.Array, jax.Array]) -> tuple[State, Track]:
            after = game.step(table, x[0], now, x[1]).state
            after = jax.tree.map(lambda new, old: jnp.where(now.ended == state.RUNNING, new, old), after, now)
            return after, track(after)

        last = jax.lax.scan(step, start, (jax.random.split(key, len(actions)), actions))[1]
        return jax.tree.map(lambda first, rest: jnp.concatenate([first[None], rest]), track(start), last)

    return jax.vmap(one)(keys, start, actions)


def start_of(scene: Scene) -> tuple[np.ndarray, ...]:
    """The start of a scene, for `stacked`: all stand, and face the other goal."""
    pos = np.array([*scene.left, *scene.right])
    zero = np.zeros_like(pos)
    return pos, zero, facing(pos, zero, len(scene.left)), np.array([*scene.ball, 0.11, *[0.0] * 6])


def stacked(starts: list[tuple[np.ndarray, ...]]) -> State:
    """States (E, ...) from positions, velocities, facings, balls (9,), and, if given, held directions and sprints."""
    columns = [jnp.asarray(np.stack(column), jnp.float32) for column in zip(*starts, strict=True)]

    def one(pos: Any, vel: Any, face: Any, ball: Any, *pads: Any) -> State:
        return game.placed(THREE, pos, vel, face, Ball(ball[:3], ball[3:6], ball[6:]), *pads)

    return jax.jit(jax.vmap(one))(*columns)


def facing(pos: np.ndarray, vel: np.ndarray, n_left: int) -> np.ndarray:
    """Where players look: where they run, else at the other goal."""
    forward = np.where(np.arange(len(pos)) < n_left, 1.0, -1.0)[:, None] * np.array([1.0, 0.0])
    length = np.linalg.norm(vel, axis=-1, keepdims=True)
    return np.where(length > 0.5, vel / np.maximum(length, 1e-6), forward)


def views(tracks: Track, i: int) -> list[Seen]:
    """The track of game i as the engine's views, for the functions that measure those."""
    t = jax.tree.map(lambda x: x[i], tracks)
    n = THREE.n_left
    return [
        Seen(
            t.ball[k], t.ball_velocity[k], np.zeros(3), t.pos[k, :n], t.vel[k, :n], t.pos[k, n:], t.vel[k, n:],
            int(t.owner_team[k]), int(t.owner[k]), (0, 0), 0,
        )
        for k in range(len(t.ball))
    ]  # fmt: skip


def keys(n: int, seed: int = 0) -> jax.Array:
    """Keys of `n` games."""
    return jax.random.split(jax.random.key(seed), n)


def buttons(steps: int, pressed: dict[int, str]) -> np.ndarray:
    """Actions (steps, N) of player 1; the others are idle."""
    rows = np.zeros((steps, THREE.n_left), np.int32)
    for t, name in pressed.items():
        rows[t, 1] = NUMBER[name]
    return rows


@jax.jit
def flown(samples: jax.Array) -> jax.Array:
    """Position and velocity (22, 6) of a free ball after each step, from a sample (9,)."""

    def step(ball: Ball, _: None) -> tuple[Ball, jax.Array]:
        ball = jax.lax.fori_loop(0, 10, lambda _, ball: balls.step(ball), ball)
        return ball, jnp.concatenate([ball.pos, ball.vel])

    return jax.lax.scan(step, Ball(samples[:3], samples[3:6], samples[6:]), None, length=22)[1]


def runs(recorded: np.ndarray, cases: list[str]) -> np.ndarray:
    """Player 1 and the ball (case, seed, T, 6) from the recorded starts: (x, y, vx, vy, ball x, ball y)."""
    starts, actions = [], []
    for case, of_case in zip(cases, recorded, strict=True):
        for row in of_case[:, 0]:
            scene = record.scene_of([tuple(row[:2])], tuple(row[4:6]))
            pos = np.array([*scene.left, *scene.right])
            vel = np.zeros_like(pos)
            vel[1] = row[2:4]
            rolls = (-row[7] / 0.11, row[6] / 0.11, 0.0)
            ball = np.array([*row[4:6], 0.11, *row[6:8], 0.0, *rolls])
            starts.append((pos, vel, facing(pos, vel, THREE.n_left), ball))
            actions.append(buttons(record.RUN_STEPS, record.run_buttons(case, 0)))
    tracks = played(THREE, keys(len(starts)), stacked(starts), np.stack(actions))
    own = np.concatenate([tracks.pos[:, :, 1], tracks.vel[:, :, 1], tracks.ball[:, :, :2]], -1)
    return own.reshape(len(cases), -1, *own.shape[1:])


def kicks(n: int = len(record.SEEDS)) -> np.ndarray:
    """The measurements (kind, distance, standing or walking, n games, COLUMNS) of the recorded kicks."""
    shape = (len(record.KINDS), len(record.DISTANCES), 2, n)
    starts, actions, presses = [], [], []
    for k, d, walking, _ in np.ndindex(shape):
        scene = record.scene_of([(0.0, 0.0), (record.DISTANCES[d], 0.0)], (0.5, 0.0))
        starts.append(start_of(scene))
        presses.append(record.PRESS[walking])
        held = dict.fromkeys(range(presses[-1]), "right") if walking else {}
        actions.append(buttons(record.KICK_STEPS, held | {presses[-1]: record.KINDS[k]}))
    tracks = played(THREE, keys(len(starts), 1), stacked(starts), np.stack(actions))
    found = [record.measured_kick(views(tracks, i), press) for i, press in enumerate(presses)]
    return np.array(found).reshape(*shape, 4)


def shots(held: list[str], n: int = record.SHOTS) -> np.ndarray:
    """Share of goals (dx, y, held direction), `n` shots of each."""
    shape = (len(record.SHOT_DX), len(record.SHOT_Y), len(held))
    starts, actions = [], []
    for i, y, h, _ in np.ndindex(*shape, n):
        x = record.GOAL_X - record.SHOT_DX[i]
        scene = record.scene_of([(x, record.SHOT_Y[y])], (x + 0.5, record.SHOT_Y[y]))
        starts.append(start_of(scene))
        actions.append(buttons(record.SHOT_STEPS, record.shot_buttons(held[h])))
    tracks = played(THREE, keys(len(starts), 2), stacked(starts), np.stack(actions))
    return np.mean(tracks.ended[:, -1].reshape(*shape, n) == state.GOAL, -1)


def idle(task: str, n: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Mean path (T + 1, FOLLOWED, 2), lengths and ends of episodes in which no agent acts."""
    table = rules(task, HORIZON)
    start = jax.jit(jax.vmap(partial(game.reset, table)))(keys(n, 3))
    tracks = played(table, keys(n, 4), start, np.zeros((n, HORIZON, table.n_left), np.int32))
    pos, left = tracks.pos, table.n_left
    followed = np.stack([pos[:, :, left], pos[:, :, left + 1], tracks.ball[..., :2], pos[:, :, 1], pos[:, :, 2]], 2)
    return summed_up(followed, tracks.ended)


def summed_up(paths: np.ndarray, ended: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Mean of paths (n, T + 1, ..., 2) over the episodes that go on, up to IDLE_STEPS; lengths and ends of all."""
    lengths = np.where(ended[:, -1] == state.RUNNING, HORIZON, np.argmax(ended != state.RUNNING, 1))
    on = np.arange(games.IDLE_STEPS + 1)[None] <= lengths[:, None]
    mean = np.nanmean(np.where(on[..., None, None], paths[:, : games.IDLE_STEPS + 1], np.nan), 0)
    return mean, lengths, [ENDED[int(e)] for e in ended[:, -1]]


def teams(task: str, n: int) -> tuple[np.ndarray, np.ndarray, list[str], np.ndarray]:
    """Mean path (T + 1, 23, 2), lengths and ends of `n` idle episodes, and hops of control in `n` random ones."""
    table = rules(task, HORIZON)
    start = jax.jit(jax.vmap(partial(game.reset, table)))(keys(2 * n, 7))
    acts = np.zeros((2 * n, HORIZON, table.n_agents), np.int32)
    for seed in range(n):
        rng = np.random.default_rng(seed)
        acts[n + seed] = [games.team_actions(rng) for _ in range(HORIZON)]
    tracks = played(table, keys(2 * n, 8), start, acts)
    paths = np.concatenate([tracks.pos, tracks.ball[:, :, None, :2]], 2)
    hops = (np.diff(tracks.player[n:], axis=1) != 0).any(-1).sum(1)
    return *summed_up(paths[:n], tracks.ended[:n]), hops


def tried(recorded: dict[str, np.ndarray]) -> np.ndarray:
    """Ball (x, y), owner's team and mark of an end (state, action, 4) from the recorded states."""
    n_states, n_actions = recorded["after"].shape[:2]
    starts, actions = [], []
    for s in range(n_states):
        pos, vel, ball = recorded["pos"][s], recorded["vel"][s], recorded["ball"][s]
        player = 1 + int(np.argmin(np.linalg.norm(pos[1 : THREE.n_left] - ball[:2], axis=-1)))
        for action in range(n_actions):
            starts.append((pos, vel, facing(pos, vel, THREE.n_left), ball, recorded["held"][s], recorded["sprint"][s]))
            rows = np.zeros((games.TRIED_STEPS, THREE.n_left), np.int32)
            rows[0, player] = action
            actions.append(rows)
    start = stacked(starts)
    owner = np.repeat(recorded["owner"], n_actions, 0)
    start = start._replace(last_touch_team=jnp.asarray(owner[:, 0], jnp.int32))
    tracks = played(THREE, keys(len(starts), 5), start, np.stack(actions))
    last = jax.tree.map(lambda x: x[:, -1], tracks)
    found = np.concatenate([last.ball[:, :2], last.owner_team[:, None], (last.ended != state.RUNNING)[:, None]], -1)
    return found.reshape(n_states, n_actions, 4)


def episodes(task: str, name: str, n: int) -> tuple[np.ndarray, list[str]]:
    """Rows (n, 5) of return, length, and share of steps that nobody, we and they own the ball; and the ends."""
    policy = tuple(football_policies.POLICIES).index(name)
    size = max(n, games.EPISODES)  # one program for all policies and numbers
    total, length, owned, ended = (np.asarray(x)[:n] for x in played_by(task)(policy, keys(size, 6)))
    return np.column_stack([total, length, owned / length[:, None]]), [ENDED[int(e)] for e in ended]


@cache
def played_by(task: str) -> Callable[..., Any]:
    """The program that plays a policy, by its number, on episodes of keys (E,): return, length, owners and end."""
    env = qllm_envs.make("football_lite", scenario=task)
    n_left = games.N_LEFT[task]
    policies = football_policies.POLICIES.values()

    def one(policy: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
        key_reset, key_steps = jax.random.split(key)

        def step(carry: Any, x: tuple[jax.Array, jax.Array]) -> tuple[Any, None]:
            now, total, length, owned, alive = carry
            key_env, key_draw = jax.random.split(x[0])
            draw = jax.random.uniform(key_draw, (env.spec.n_agents,))
            chosen = [act(jnp, env.view(now).obs, x[1], n_left, draw) for act in policies]
            out = env.step(key_env, now, jnp.stack([each.astype(jnp.int32) for each in chosen])[policy])
            after = jax.tree.map(lambda new, old: jnp.where(alive, new, old), out.state, now)
            total, length = total + jnp.where(alive, out.reward, 0.0), length + alive
            owned = owned + jnp.where(alive, env.view(after).obs[0, 94:97], 0.0)
            return (after, total, length, owned, alive & ~(out.terminated | out.truncated)), None

        first = (env.reset(key_reset), jnp.zeros(()), jnp.zeros((), jnp.int32), jnp.zeros(3), jnp.array(True))
        steps = (jax.random.split(key_steps, env.spec.horizon), jnp.arange(env.spec.horizon))
        last, total, length, owned, _ = jax.lax.scan(step, first, steps)[0]
        return total, length, owned, last.ended

    return jax.jit(jax.vmap(one, (None, 0)))
