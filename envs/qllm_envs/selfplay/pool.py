"""Games of one learning side against a pool of rivals: scripts, and the latest networks of the other side.

Axis letters: G rivals of the pool, E games a rival, T steps, M players of the learning side.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from qllm_envs.opponents import network
from qllm_envs.opponents.frame import Framed, frame
from qllm_envs.opponents.network import Network
from qllm_envs.selfplay import ppo
from qllm_envs.selfplay.game import TEAM, Game
from qllm_envs.selfplay.ppo import Learner, Nets, Sample

NETWORK = -1  # as the script of a rival: it plays by its network


class Rival(NamedTuple):
    """One way to play a side: by one of its scripts, or by a network."""

    script: Int[Array, ""]  # its index among the scripts of the side, or NETWORK
    net: Network


class Sizes(NamedTuple):
    """Sizes of `improve`. All are static."""

    updates: int
    games: int  # E
    horizon: int  # T


def pool_of(game: Game, side: int, net: Network, n_networks: int) -> Rival:
    """Return rivals of `side`, leaves (G, ...): slots for networks, all `net` so far, then the side's scripts."""
    script = jnp.array([NETWORK] * n_networks + list(range(len(game.scripts[side]))))
    return Rival(script, jax.tree.map(lambda x: jnp.repeat(x[None], len(script), 0), net))


def remember(pool: Rival, net: Network, slot: int) -> Rival:
    return pool._replace(net=jax.tree.map(lambda nets, new: nets.at[slot].set(new), pool.net, net))


def improve(
    game: Game,
    side: int,
    sizes: Sizes,
    optimizer: optax.GradientTransformation,
    learner: Learner,
    pool: Rival,
    key: jax.Array,
) -> tuple[Learner, Float[Array, "updates rivals"]]:
    """Train `side` against all of the pool at once. Also return its mean return against each rival, by update."""

    def update(learner: Learner, key: jax.Array) -> tuple[Learner, Float[Array, " rivals"]]:
        key_play, key_learn = jax.random.split(key)
        keys = jax.random.split(key_play, (len(pool.script), sizes.games))
        one = lambda rival, key: play(game, side, sizes.horizon, learner.nets, rival, key)
        lessons = jax.vmap(jax.vmap(one, (None, 0)))(pool, keys)  # (G, E, T, M)
        earned = lessons.sample.reward[..., 0].sum(-1).mean(-1)
        flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[4:]), jax.vmap(ppo.normalized)(lessons))
        return ppo.learn(optimizer, learner, flat, key_learn), earned

    return jax.lax.scan(update, learner, jax.random.split(key, sizes.updates))


def play(game: Game, side: int, horizon: int, nets: Nets, rival: Rival, key: jax.Array) -> ppo.Lesson:
    """Play one game; return lessons (T, M) for the players of `side`. The key is consumed."""

    def turn(state: Any, key: jax.Array) -> tuple[Any, Sample]:
        key_own, key_rival = jax.random.split(key)
        obs = game.observe(state)
        seen = framed(game, side, obs[side])
        log_probs = jax.nn.log_softmax(logits(nets.policy, seen))  # (M, A)
        own = jax.random.categorical(key_own, log_probs)
        other = rival_actions(game, 1 - side, rival, key_rival, obs[1 - side])
        state = game.move(state, *((own, other) if side == TEAM else (other, own)))
        log_prob = jnp.take_along_axis(log_probs, own[:, None], -1)[:, 0]
        reward = jnp.broadcast_to(game.lesson(state)[side], own.shape)
        return state, Sample(seen, own, log_prob, expected(nets, seen), reward)

    key_reset, key_turns = jax.random.split(key)
    state, samples = jax.lax.scan(turn, game.reset(key_reset), jax.random.split(key_turns, horizon))
    last_value = expected(nets, framed(game, side, game.observe(state)[side]))
    return jax.vmap(ppo.assess, (1, 0), 1)(samples, last_value)


def rival_actions(
    game: Game, side: int, rival: Rival, key: jax.Array, obs: Float[Array, "players obs"]
) -> Int[Array, " players"]:
    """Actions of the players of `side`, by the rival's network or script."""
    key_net, key_script = jax.random.split(key)
    choices = [jax.random.categorical(key_net, logits(rival.net, framed(game, side, obs)))]
    choices += [script(key_script, obs) for script in game.scripts[side].values()]
    return jnp.stack(choices)[rival.script - NETWORK]


def framed(game: Game, side: int, obs: Float[Array, "players obs"]) -> Framed:
    return jax.vmap(lambda row: frame(game.layouts[side], row))(obs)


def logits(net: Network, seen: Framed) -> Float[Array, "players actions"]:
    return jax.vmap(network.logits, (None, 0))(net, seen)


def expected(nets: Nets, seen: Framed) -> Float[Array, " players"]:
    return jax.vmap(ppo.expected, (None, 0))(nets, seen)
