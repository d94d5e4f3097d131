"""What methods with a policy and a critic apart share: two groups of parameters, "agent" and "critic", their steps."""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool

from qllm_jax.core import rewards
from qllm_jax.core.types import Hp, Params
from qllm_jax.learners import base
from qllm_jax.learners.base import Core, LearnerState


def initial(core: Core, params: dict[str, Params], followed: Iterable[str], key: jax.Array) -> LearnerState:
    """A state that has learned nothing: an optimizer a group, targets of the groups `followed`. Keeps the key."""
    optimizer = base.OPTIMIZERS[core.optimizer](1.0)
    opt_state = {name: optimizer.init(group) for name, group in params.items()}
    # Copies, as donated buffers must not be shared.
    target_params = jax.tree.map(jnp.copy, {name: params[name] for name in followed})
    return LearnerState(params, target_params, opt_state, rewards.initial(), key)


def critic_step(
    core: Core, state: LearnerState, loss: Callable[[Params], tuple[Array, Any]], lr: float | None, hp: Hp
) -> tuple[LearnerState, Any, dict[str, Array]]:
    """One step of the critic at `lr`, or hp.lr where that is None. `loss(params)` gives the loss and what else is
    wanted of the parameters before the step, which comes back before the metrics.
    """
    (value, aux), grads = jax.value_and_grad(loss, has_aux=True)(state.params["critic"])
    rate = hp.lr if lr is None else jnp.asarray(lr)
    return _step(core, state, "critic", rate, hp, grads), aux, {"loss": value, "grad_norm": optax.tree.norm(grads)}


def policy_step(
    core: Core,
    state: LearnerState,
    loss: Callable[[jax.Array], tuple[Array, Array]],
    logits: jax.Array,
    pull_back: Callable[[jax.Array], tuple[Params]],
    hp: Hp,
) -> tuple[LearnerState, dict[str, Array]]:
    """One step of the policy. `loss(logits)` gives loss and entropy; `pull_back` is from `policy.unroll_to_learn`."""
    (value, entropy), d_logits = jax.value_and_grad(loss, has_aux=True)(logits)
    (grads,) = pull_back(d_logits)
    metrics = {"policy_loss": value, "entropy": entropy, "policy_grad_norm": optax.tree.norm(grads)}
    return _step(core, state, "agent", hp.lr, hp, grads), metrics


def follow(state: LearnerState, hp: Hp, copy_target: Bool[Array, ""]) -> LearnerState:
    """The groups that have targets, an update later."""
    online = {name: state.params[name] for name in state.target_params}
    return state._replace(target_params=base.follow(online, state.target_params, hp, copy_target))


def _step(core: Core, state: LearnerState, group: str, lr: Array, hp: Hp, grads: Params) -> LearnerState:
    """One optimizer step of one group."""
    old = (state.params[group], state.opt_state[group])
    params, opt_state = base.gradient_step(core, lr, hp.grad_clip, *old, grads)
    return state._replace(params=state.params | {group: params}, opt_state=state.opt_state | {group: opt_state})
