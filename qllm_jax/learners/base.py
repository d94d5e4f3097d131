"""Shared by all methods: the learner contract, optimizer steps, target networks, returns, and inputs of mixers."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
import rlax
from jaxtyping import Array, Bool, Float, Int

from qllm_envs import Env, View
from qllm_jax import mixers
from qllm_jax.core import platforms, rewards
from qllm_jax.core.agents import Agent
from qllm_jax.core.rollout import Policy, epsilon_greedy
from qllm_jax.core.types import Choice, Episode, Hp, Params
from qllm_jax.errors import UserError
from qllm_jax.mixers import Mixer, MixerInputs


class LearnerState(NamedTuple):
    """All that one run learns."""

    params: Params  # {"agent": ..., what else the method learns}
    target_params: Params
    opt_state: Any
    reward_stats: rewards.RewardStats
    key: Any = None  # of a method whose update draws


class Credit(NamedTuple):
    """The credit weights of a method: the mixer's inputs in an episode, and the mixer's slopes at those of one sample.

    Two steps, so that the weights can also be had at inputs that were changed (`qllm_jax.mixers.influence`).
    """

    inputs: Callable[[Params, Episode], MixerInputs]  # (params, one episode) -> leaves (T+1, ...)
    weights: Callable[[Params, MixerInputs], Float[Array, " agents"]]  # (params, one sample)


class Labelling(NamedTuple):
    """Credit that a critic writes into the replay while a method trains (`Episode.credit_t`)."""

    only: bool  # batches hold labelled episodes alone, once there is one
    by_rule: bool  # the function of the configuration answers in place of a model


SUSPECT = "suspect"  # key beside the metrics of an update: see `suspect`


class Learner(NamedTuple):
    """One method, for one run.

    `update(state, batch, recent, hp, copy_target)` gives the next state and metrics: `batch` is drawn uniformly from
    the replay, `recent` holds the `n_recent` newest episodes (None where that is 0); both are time-major episodes.
    Metrics are scalars, `loss` among them, and are finite if and only if the update is. With a mixer, SUSPECT is beside
    them.
    """

    init: Callable[..., LearnerState]  # (key, choice=None): the key is consumed, `choice` is for the mixer
    update: Callable[..., tuple[LearnerState, dict[str, Array]]]
    act: Policy = epsilon_greedy  # in training, on the outputs of the network params["agent"]
    act_in_evaluation: Policy = epsilon_greedy
    n_recent: int = 0
    credit: Credit | None = None  # None: the method has no mixer
    sources: tuple[str, ...] = ()  # texts of the functions that it reads, as those of a mixer
    programs: tuple[str, ...] = ()  # digests of their traced programs
    # (env steps so far) -> the environment that is played in training; None: the one that is evaluated
    training_env: Callable[[Int[Array, ""]], Env] | None = None
    n_told: int = 0  # the last numbers of an observation, which are 0 but in training: see tasks.py
    # (params, time-major batch) -> credit (T, B, N) that a function gives
    reward_credit: Callable[[Params, Episode], Array] | None = None
    labelling: Labelling | None = None  # None: no critic
    data: Episode | None = None  # NumPy arrays (E, ...) of all that is learned from; None: what the agents play


class Core(NamedTuple):
    """The parts of which every method is made. All static."""

    env: Env
    agent: Agent
    mixer: Mixer | None  # None: a method without one
    optimizer: str  # a key of OPTIMIZERS
    standardize: bool  # rewards, see rewards.py
    reward_scale: float = 1.0  # of the rewards that are learned from


OPTIMIZERS: dict[str, Callable[..., optax.GradientTransformation]] = {
    "adam": optax.adam,
    # Torch's RMSprop adds eps outside the root; alpha and eps are pymarl's.
    "rmsprop": lambda lr: optax.rmsprop(lr, decay=0.99, eps=1e-5, eps_in_sqrt=False),
}


def require_mixer(core: Core, method: str) -> Mixer:
    """Return the mixer of a method that needs one. UserError if the configuration has none."""
    if core.mixer is None:
        raise UserError(f"algo.learner {method!r} needs a mixer: set algo.mixer.name")
    return core.mixer


def require_state_value_mixer(core: Core, method: str) -> Mixer:
    """Return the mixer of a method whose agents have one value each. UserError without one that can mix those."""
    mixer = require_mixer(core, method)
    if mixer.needs_action_values:
        raise UserError(
            f"algo.learner {method!r} cannot use this algo.mixer: its agents have one value each, and the mixer "
            f"compares the values of all actions; choose from {', '.join(mixers.names_for_state_values())}"
        )
    return mixer


def init_mixer(core: Core, mixer: Mixer, key: jax.Array, key_env: jax.Array, choice: Choice) -> Params:
    """Parameters of a mixer; `choice` is None unless it chooses among credit functions. Both keys are consumed."""
    inputs = zero_inputs(core.env, key_env)
    return mixer.init(key, inputs) if choice is None else mixer.init(key, inputs, choice)


def initial_state(params: Params, target_networks: tuple[str, ...], opt_state: Any, key: Any = None) -> LearnerState:
    """State before the first update. Target networks are copies, as donated buffers must not be shared."""
    target_params = jax.tree.map(jnp.copy, {name: params[name] for name in target_networks})
    return LearnerState(params, target_params, opt_state, rewards.initial(), key)


def standardize_rewards(core: Core, stats: rewards.RewardStats, batch: Episode) -> tuple[rewards.RewardStats, Episode]:
    """Return the moments after a batch, and the batch with standardized rewards.

    Without standardization the moments are as given, and rewards are multiplied by `core.reward_scale`.
    """
    stats, reward_t = standardize(core, stats, batch.reward_t, batch)
    return stats, batch if reward_t is batch.reward_t else batch._replace(reward_t=reward_t)


def standardize(
    core: Core, stats: rewards.RewardStats, reward_t: Float[Array, "time batch *agents"], batch: Episode
) -> tuple[rewards.RewardStats, Float[Array, "time batch *agents"]]:
    """`standardize_rewards` of the rewards of a batch, of the team or of single agents."""
    if not core.standardize:
        return stats, reward_t if core.reward_scale == 1.0 else reward_t * core.reward_scale
    counted_t = jnp.any(batch.mask_t > 0, 1) if core.env.spec.ends_early else None
    stats = rewards.update(stats, reward_t, counted_t)
    return stats, rewards.standardize(stats, reward_t)


def gradient_step(
    core: Core, lr: Array, grad_clip: Array, params: Params, opt_state: Any, grads: Params
) -> tuple[Params, Any]:
    """Clip by global norm and take one step.

    Where the norm is not finite, or `grad_clip` is NaN, no step is taken and all stays as it is.
    """
    steps = jnp.isfinite(optax.tree.norm(grads)) & ~jnp.isnan(grad_clip)
    # After the step, and not at the gradient: healthy runs keep their numbers to the last bit.
    choose = lambda new, old: jnp.where(steps, new, old)
    # The optimizer is made anew from traced numbers; only its state is carried. The clip has none.
    clipped, _ = optax.clip_by_global_norm(grad_clip).update(grads, optax.EmptyState())
    updates, new_state = OPTIMIZERS[core.optimizer](lr).update(clipped, opt_state, params)
    return jax.tree.map(choose, (optax.apply_updates(params, updates), new_state), (params, opt_state))


def update_targets(params: Params, target_params: Params, hp: Hp, copy_target: Bool[Array, ""]) -> Params:
    """Move the target networks a share `target_tau` towards `params` if `copy_target`, else not at all.

    `params` may hold networks that have no target.
    """
    online = {name: params[name] for name in target_params}
    return optax.incremental_update(online, target_params, jnp.where(copy_target, hp.target_tau, 0.0))


def views(env: Env, batch: Episode) -> View:
    """Views of all slots of a time-major batch, leaves (T+1, B, ...)."""
    return jax.vmap(jax.vmap(env.view))(batch.env_state)


def unroll(core: Core, networks: tuple[Params, ...], batch: Episode) -> tuple[Float[Array, "slots B N A"], ...]:
    """Outputs of agent networks over all slots of a time-major batch, observed once for all of them."""
    observe = lambda state: jax.vmap(core.env.view)(state).obs
    return core.agent.unroll(networks, observe, batch.env_state, batch.action_t)


def masked_mean(x: Float[Array, "time batch"], mask: Float[Array, "time batch"]) -> Float[Array, ""]:
    """Mean over the steps that happened; 0 where none did."""
    return jnp.sum(mask * x) / jnp.maximum(jnp.sum(mask), 1.0)


def suspect(*values: Float[Array, "slots batch"]) -> Int[Array, ""]:
    """Index of the first team values of a time-major batch that are not finite; if all are, of the largest.

    It counts slots episode by episode within a step, so that it is the same in a batch of shorter episodes.
    """
    size = jnp.asarray(sum(jnp.abs(jax.lax.stop_gradient(value)) for value in values))
    return jnp.argmax(jnp.where(jnp.isfinite(size), size, jnp.inf)).astype(jnp.int32)


def minibatches(part: str, key: jax.Array, batch: Episode, epochs: int, count: int) -> Int[Array, "steps rows"]:
    """Indices of the episodes of each step: `epochs` passes over a batch, each in `count` steps and a new order.

    The key is consumed. UserError where the batch cannot be divided so.
    """
    n_episodes = batch.reward_t.shape[1]
    if n_episodes % count:
        raise UserError(f"{part}: minibatches={count} must divide the {n_episodes} episodes of algo.batch_episodes")
    one = lambda key: jax.random.permutation(key, n_episodes).reshape(count, -1)
    return jax.vmap(one)(jax.random.split(key, epochs)).reshape(epochs * count, -1)


def over_steps(metrics: dict[str, Array]) -> dict[str, Array]:
    """Means of the metrics of several steps, (steps,) each; SUSPECT is that of the first step that was not finite."""
    first = jnp.argmin(jnp.isfinite(metrics["loss"]))
    return {name: value[first] if name == SUSPECT else jnp.mean(value) for name, value in metrics.items()}


def lambda_returns(episode: Episode, value: Float[Array, " slots"], hp: Hp) -> Float[Array, " time"]:
    """Peng's Q(lambda) of one episode; `td_lambda` 0 is r + gamma (1 - terminated) V(s'). `value` is over slots."""
    discount_t = hp.gamma * (1.0 - episode.terminated_t) * episode.mask_t
    inputs = (episode.reward_t * episode.mask_t, discount_t, value[1:], hp.td_lambda)
    return platforms.choose(*inputs, cpu=lambda *inputs: jnp.asarray(rlax.lambda_returns(*inputs)), gpu=_doubled)


def _doubled(
    reward_t: Float[Array, " time"], discount_t: Float[Array, " time"], value_t: Float[Array, " time"], lambda_: Array
) -> Float[Array, " time"]:
    """`rlax.lambda_returns` without a loop: after n rounds a return covers 2^n steps, and is linear in the next one."""
    # G_t = level_t + slope_t G_{t+1}; the last bootstraps from its own value.
    slope, is_last = discount_t * lambda_, jnp.arange(len(reward_t)) == len(reward_t) - 1
    level = reward_t + discount_t * (1.0 - lambda_) * value_t + jnp.where(is_last, slope * value_t, 0.0)
    slope, shift = jnp.where(is_last, 0.0, slope), 1
    while shift < len(reward_t):
        later = lambda x: jnp.concatenate([x[shift:], jnp.zeros(shift)])  # noqa: B023
        level, slope, shift = level + slope * later(level), slope * later(slope), 2 * shift
    return level


def credit_weights(credit: Credit, params: Params, episode: Episode) -> Float[Array, "slots agents"]:
    """Credit weights in all slots of one episode."""
    return jax.vmap(credit.weights, (None, 0))(params, credit.inputs(params, episode))


def zero_inputs(env: Env, key: jax.Array) -> MixerInputs:
    """Inputs of one sample, zero values in an initial state, that shape a mixer's parameters. Consumes the key."""
    view = env.view(env.reset(key))
    q = jnp.zeros((env.spec.n_agents,))
    return MixerInputs(q, q, q.astype(jnp.int32), view.state, view.fields)


def mixer_inputs(q: Float[Array, "agents actions"], action: Int[Array, " agents"], view: View) -> MixerInputs:
    """Inputs of the mixer when the agents take `action`, one sample."""
    one_hot = jax.nn.one_hot(action, q.shape[-1])
    # A product with the one-hot instead of a gather: its gradient is a product too, not a scatter.
    chosen_q = jnp.sum(q * one_hot, -1)
    max_q = jnp.max(jnp.where(view.avail, jax.lax.stop_gradient(q), -jnp.inf), -1)
    return MixerInputs(chosen_q, max_q, action, view.state, view.fields)
