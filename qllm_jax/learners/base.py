"""What all methods share: the learner contract, optimizer steps, targets, and what a mixer sees."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
import rlax
from jaxtyping import Array, Bool, Float, Int

from qllm_envs import Env, View
from qllm_jax.core import rewards
from qllm_jax.core.agents import Agent
from qllm_jax.core.rollout import Policy, epsilon_greedy
from qllm_jax.core.types import Episode, Hp, Params
from qllm_jax.errors import UserError
from qllm_jax.mixers import Mixer, MixerInputs


class LearnerState(NamedTuple):
    """All that one run learns."""

    params: Params  # {"agent": ..., what else the method learns}
    target_params: Params
    opt_state: Any
    reward_stats: rewards.RewardStats
    key: Any = None  # of a method whose update draws


class Learner(NamedTuple):
    """One method, for one run.

    `update(state, batch, recent, hp, copy_target)` gives the next state and metrics: `batch` is drawn uniformly from
    the replay, `recent` holds the `n_recent` newest episodes (None where that is 0); both are time-major episodes.
    """

    init: Callable[[jax.Array], LearnerState]  # the key is consumed
    update: Callable[..., tuple[LearnerState, dict[str, Array]]]
    act: Policy = epsilon_greedy  # in training, on the outputs of the network params["agent"]
    act_in_evaluation: Policy = epsilon_greedy
    n_recent: int = 0
    # (params, one episode) -> credit weights (T+1, N), for drawing; None: the method has none
    credit: Callable[[Params, Episode], Float[Array, "slots agents"]] | None = None


class Core(NamedTuple):
    """What every method is made of. All static."""

    env: Env
    agent: Agent
    mixer: Mixer | None  # None: a method without one
    optimizer: str  # a key of OPTIMIZERS
    standardize: bool  # rewards, see rewards.py


OPTIMIZERS: dict[str, Callable[..., optax.GradientTransformation]] = {
    "adam": optax.adam,
    # Torch's RMSprop adds eps outside the root; alpha and eps are pymarl's.
    "rmsprop": lambda lr: optax.rmsprop(lr, decay=0.99, eps=1e-5, eps_in_sqrt=False),
}


def the_mixer(core: Core, method: str) -> Mixer:
    """The mixer of a method that cannot do without. UserError if the configuration has none."""
    if core.mixer is None:
        raise UserError(f"algo.learner {method!r} needs a mixer: set algo.mixer.name")
    return core.mixer


def mixer_of_one_value(core: Core, method: str) -> Mixer:
    """The mixer of a method whose agents have one value each. UserError without one, or for one that needs more."""
    mixer = the_mixer(core, method)
    if mixer.reads_max:
        raise UserError(
            f"algo.learner {method!r} cannot use this algo.mixer: its agents have one value each, and the mixer "
            "compares the values of all actions; choose from qatten, qmix, tfcaf, vdn"
        )
    return mixer


def initial(params: Params, opt_state: Any) -> LearnerState:
    """A state that has learned nothing: the target network is a copy, as donated buffers must not be shared."""
    return LearnerState(params, jax.tree.map(jnp.copy, params), opt_state, rewards.initial())


def standardized(core: Core, stats: rewards.RewardStats, batch: Episode) -> tuple[rewards.RewardStats, Episode]:
    """The batch as a method learns from it, and the moments after it."""
    if not core.standardize:
        return stats, batch
    stats = rewards.update(stats, batch.reward_t)
    return stats, batch._replace(reward_t=rewards.standardize(stats, batch.reward_t))


def gradient_step(
    core: Core, lr: Array, grad_clip: Array, params: Params, opt_state: Any, grads: Params
) -> tuple[Params, Any]:
    """Clip by global norm and take one step."""
    # The optimizer is made anew from traced numbers; only its state is carried. The clip has none.
    clipped, _ = optax.clip_by_global_norm(grad_clip).update(grads, optax.EmptyState())
    updates, opt_state = OPTIMIZERS[core.optimizer](lr).update(clipped, opt_state, params)
    return optax.apply_updates(params, updates), opt_state


def follow(params: Params, target_params: Params, hp: Hp, copy_target: Bool[Array, ""]) -> Params:
    """The target parameters after an update: a share `target_tau` of the online ones where it is time for it."""
    return optax.incremental_update(params, target_params, jnp.where(copy_target, hp.target_tau, 0.0))


def views(env: Env, batch: Episode) -> View:
    """What is seen in every slot of a time-major batch, leaves (T+1, B, ...)."""
    return jax.vmap(jax.vmap(env.view))(batch.env_state)


def unroll(core: Core, networks: tuple[Params, ...], batch: Episode) -> tuple[Float[Array, "slots B N A"], ...]:
    """Outputs of agent networks over all slots of a time-major batch, observed once for all of them."""
    observe = lambda state: jax.vmap(core.env.view)(state).obs
    return core.agent.unroll(networks, observe, batch.env_state, batch.action_t)


def masked_mean(x: Float[Array, "time batch"], mask: Float[Array, "time batch"]) -> Float[Array, ""]:
    """Mean over the steps that happened; 0 where none did."""
    return jnp.sum(mask * x) / jnp.maximum(jnp.sum(mask), 1.0)


def targets(episode: Episode, value: Float[Array, " slots"], hp: Hp) -> Float[Array, " time"]:
    """Peng's Q(lambda) of one episode; `td_lambda` 0 is r + gamma (1 - terminated) V(s'). `value` is over slots."""
    discount_t = hp.gamma * (1.0 - episode.terminated_t) * episode.mask_t
    return jnp.asarray(rlax.lambda_returns(episode.reward_t * episode.mask_t, discount_t, value[1:], hp.td_lambda))


def zero_inputs(env: Env, key: jax.Array) -> MixerInputs:
    """A sample to shape a mixer's parameters by. The key is consumed."""
    view = env.view(env.reset(key))
    q = jnp.zeros((env.spec.n_agents,))
    return MixerInputs(q, q, q.astype(jnp.int32), view.state, view.fields)


def mixer_inputs(q: Float[Array, "agents actions"], action: Int[Array, " agents"], view: View) -> MixerInputs:
    """What a mixer sees when the agents take `action`, one sample."""
    one_hot = jax.nn.one_hot(action, q.shape[-1])
    # A product with the one-hot instead of a gather: its gradient is a product too, not a scatter.
    chosen_q = jnp.sum(q * one_hot, -1)
    max_q = jnp.max(jnp.where(view.avail, jax.lax.stop_gradient(q), -jnp.inf), -1)
    return MixerInputs(chosen_q, max_q, action, view.state, view.fields)
