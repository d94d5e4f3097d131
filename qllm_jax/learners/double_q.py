"""What the value-based methods share: one loss over everything that learns, and what double Q-learning compares."""

from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from qllm_envs import View
from qllm_jax.core import lockstep
from qllm_jax.core.types import Episode, Hp, Params
from qllm_jax.learners import base
from qllm_jax.learners.base import Core, Learner, LearnerState
from qllm_jax.mixers import MixerInputs

# (params, target_params, time-major batch, its views (T+1, B, ...), hp) -> loss and metrics
Loss = Callable[[Params, Params, Episode, View, Hp], tuple[Float[Array, ""], dict[str, Array]]]
Credit = Callable[[Params, Episode], Float[Array, "slots agents"]]


def learner(
    core: Core,
    init_params: Callable[[jax.Array], Params],
    loss: Loss,
    followed: Sequence[str] = ("agent", "mixer"),
    credit: Credit | None = None,
) -> Learner:
    """The method that takes one step on `loss` in each update. The networks `followed` have a target copy."""

    def init(key: jax.Array) -> LearnerState:
        params = init_params(key)
        state = base.initial(params, base.OPTIMIZERS[core.optimizer](1.0).init(params))
        return state._replace(target_params={name: state.target_params[name] for name in followed})

    def update(state: LearnerState, batch: Episode, recent: None, hp: Hp, copy_target: Bool[Array, ""]):
        del recent
        stats, batch = base.standardized(core, state.reward_stats, batch)
        slope = jax.grad(partial(loss_of_batch, core, loss), has_aux=True)
        of_batch = lambda batch: slope(state.params, state.target_params, batch, hp)
        grads, metrics = lockstep.of_beginning(of_batch, batch) if core.env.spec.ends_early else of_batch(batch)
        params, opt_state = base.gradient_step(core, hp.lr, hp.grad_clip, state.params, state.opt_state, grads)
        online = {name: params[name] for name in followed}
        target = base.follow(online, state.target_params, hp, copy_target)
        return LearnerState(params, target, opt_state, stats), metrics | {"grad_norm": optax.tree.norm(grads)}

    return Learner(init, update, credit=credit)


def loss_of_batch(
    core: Core, loss: Loss, params: Params, target_params: Params, batch: Episode, hp: Hp
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """The loss of a time-major batch, and metrics."""
    return loss(params, target_params, batch, base.views(core.env, batch), hp)


def taken_and_best(
    q: Float[Array, "slots agents actions"], view: View, action_t: Int[Array, "time agents"]
) -> tuple[Int[Array, "slots agents"], Int[Array, "slots agents"]]:
    """The actions taken and the best available ones in all slots of one episode.

    The last slot's taken action is a dummy that no loss reads.
    """
    taken = jnp.concatenate([action_t, jnp.zeros_like(action_t[:1])])
    return taken, jnp.argmax(jnp.where(view.avail, jax.lax.stop_gradient(q), -jnp.inf), -1)


def mixer_inputs(
    q: Float[Array, "slots agents actions"], action: Int[Array, "slots agents"], view: View
) -> MixerInputs:
    """What a mixer sees in all slots of one episode; leaves (T+1, ...)."""
    return jax.vmap(base.mixer_inputs)(q, action, view)
