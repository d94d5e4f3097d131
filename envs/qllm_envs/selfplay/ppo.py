"""PPO (Schulman et al. 2017, arxiv.org/abs/1707.06347): an update from recorded games.

Axis letters: T steps, E games, M players of the learning side, which share their networks.
"""

from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from qllm_envs.opponents import network
from qllm_envs.opponents.frame import Framed
from qllm_envs.opponents.network import Network

# Episodes are short and what happens is near: with gamma 0.97 the prey was caught more by every kind of predator.
GAMMA, LAMBDA = 0.9, 0.8
CLIP = 0.2
VALUE_WEIGHT, ENTROPY_WEIGHT = 0.5, 0.001
EPOCHS, MINIBATCHES = 4, 8
MAX_GRAD_NORM = 0.5


class Nets(NamedTuple):
    policy: Network
    value: Network


class Learner(NamedTuple):
    nets: Nets
    opt_state: Any


class Sample(NamedTuple):
    """Record of one player in one step."""

    seen: Framed
    action: Int[Array, ""]
    log_prob: Float[Array, ""]
    value: Float[Array, ""]  # estimate of the return to come
    reward: Float[Array, ""]


class Lesson(NamedTuple):
    """A sample with its learning targets."""

    sample: Sample
    advantage: Float[Array, ""]
    target: Float[Array, ""]  # of the value


def optimizer(lr: float, n_updates: int) -> optax.GradientTransformation:
    """Return Adam with a rate that falls to 0 over `n_updates` calls of `learn`."""
    schedule = optax.linear_schedule(lr, 0.0, n_updates * EPOCHS * MINIBATCHES)
    return optax.chain(optax.clip_by_global_norm(MAX_GRAD_NORM), optax.adam(schedule, eps=1e-5))


def init(key: jax.Array, n_features: int, n_actions: int, hidden: tuple[int, ...]) -> Nets:
    key_policy, key_value = jax.random.split(key)
    return Nets(
        network.init(key_policy, (n_features, *hidden, n_actions)), network.init(key_value, (n_features, *hidden, 1))
    )


def expected(nets: Nets, seen: Framed) -> Float[Array, ""]:
    return network.apply(nets.value, seen.features)[0]


def assess(samples: Sample, last_value: Float[Array, ""]) -> Lesson:
    """Generalized advantage estimates of one player's game (T,). Games end by time, so `last_value` bootstraps."""

    def back(carry: tuple[Array, Array], sample: Sample) -> tuple[tuple[Array, Array], Array]:
        advantage, value_tp1 = carry
        advantage = sample.reward + GAMMA * value_tp1 - sample.value + GAMMA * LAMBDA * advantage
        return (advantage, sample.value), advantage

    _, advantage = jax.lax.scan(back, (jnp.zeros_like(last_value), last_value), samples, reverse=True)
    return Lesson(samples, advantage, advantage + samples.value)


def normalized(lessons: Lesson) -> Lesson:
    """Normalize the advantages of lessons (E, T, M) against one rival, so that all rivals count equally."""
    advantage = lessons.advantage - lessons.advantage.mean()
    return lessons._replace(advantage=advantage / (advantage.std() + 1e-8))


def learn(optimizer: optax.GradientTransformation, learner: Learner, lessons: Lesson, key: jax.Array) -> Learner:
    """Return the learner after `EPOCHS` of minibatches; leaves of `lessons` (samples, ...). The key is consumed."""
    n = len(lessons.target)
    size = max(1, n // MINIBATCHES)  # the remainder waits for the next epoch

    def step(learner: Learner, rows: Int[Array, " batch"]) -> tuple[Learner, None]:
        batch = jax.tree.map(lambda x: x[rows], lessons)
        grads = jax.grad(lambda nets: jax.vmap(loss, (None, 0))(nets, batch).mean())(learner.nets)
        updates, opt_state = optimizer.update(grads, learner.opt_state)
        return Learner(cast(Nets, optax.apply_updates(learner.nets, updates)), opt_state), None

    orders = jax.vmap(lambda key: jax.random.permutation(key, n))(jax.random.split(key, EPOCHS))
    return jax.lax.scan(step, learner, orders[:, : size * MINIBATCHES].reshape(-1, size))[0]


def loss(nets: Nets, lesson: Lesson) -> Float[Array, ""]:
    """Loss of one sample: the clipped surrogate, the value's squared error and a bonus for entropy."""
    log_probs = jax.nn.log_softmax(network.logits(nets.policy, lesson.sample.seen))
    ratio = jnp.exp(log_probs[lesson.sample.action] - lesson.sample.log_prob)
    surrogate = jnp.minimum(ratio * lesson.advantage, jnp.clip(ratio, 1 - CLIP, 1 + CLIP) * lesson.advantage)
    entropy = -(jnp.exp(log_probs) * log_probs).sum()
    miss = expected(nets, lesson.sample.seen) - lesson.target
    return -surrogate + VALUE_WEIGHT * miss**2 - ENTROPY_WEIGHT * entropy
