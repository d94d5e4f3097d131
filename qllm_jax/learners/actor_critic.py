"""The parts of methods with a critic of their own: parameters "agent" and "critic", an optimizer and a step for each.

Such a method has `init` and `update`, with a step of its own, in its Learner, and trains by a softmax policy.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from qllm_envs import View
from qllm_jax.core.types import Choice, Episode, Hp, Params
from qllm_jax.learners import base, batches, optimization, policy, targets
from qllm_jax.learners.base import Core, LearnerState, Update

# (state, key, batch, recent episodes or None, hp). The key is consumed.
Step = Callable[[LearnerState, jax.Array, Episode, Any, Hp], Update]
PullBack = Callable[[jax.Array], tuple[Params]]  # from a gradient by the logits to one by the parameters


class PolicyOutputs(NamedTuple):
    """Outputs in a time-major batch of the policy that learns from it."""

    view: View  # leaves (T+1, B, ...)
    logits: Float[Array, "slots batch agents actions"]
    pull_back: PullBack
    action: Int[Array, "slots batch agents"]  # the actions taken; in the last slot a draw from the policy


def init(
    core: Core,
    init_critic: Callable[[tuple[jax.Array, ...], Choice], Params],
    key: jax.Array,
    choice: Choice = None,
    *,
    n_critic_keys: int = 1,
    target_networks: tuple[str, ...] = ("critic",),
) -> LearnerState:
    """State of a method before the first update. `init_critic(keys, choice)` gets `n_critic_keys` keys."""
    key, key_agent, *keys = jax.random.split(key, 2 + n_critic_keys)
    params = {"agent": core.agent.init(key_agent), "critic": init_critic(tuple(keys), choice)}
    opt_state = {name: optimization.init_optimizer(core, group) for name, group in params.items()}
    return base.initial_state(params, target_networks, opt_state, key)


def update(
    core: Core, step: Step, state: LearnerState, batch: Episode, recent: Any, hp: Hp, copy_target: Bool[Array, ""]
) -> Update:
    """Take `step`, after standardizing rewards and before moving the targets."""
    stats, batch = targets.standardize_rewards(core, state.reward_stats, batch)
    if recent is not None:
        stats, recent = targets.standardize_rewards(core, stats, recent)
    key, key_step = jax.random.split(state.key)
    state, metrics, suspect = step(state, key_step, batch, recent, hp)
    target_params = optimization.update_targets(state.params, state.target_params, hp, copy_target)
    return Update(state._replace(target_params=target_params, reward_stats=stats, key=key), metrics, suspect)


def unroll_policy(core: Core, params: Params, key: jax.Array, batch: Episode) -> PolicyOutputs:
    """Unroll the policy `params` over a batch. The key is consumed."""
    view = batches.views(core.env, batch)
    logits, pull_back = unroll_to_learn(core, params, batch)
    action = policy.actions_of_slots(key, policy.distribution(logits, view.avail), batch.action_t)
    return PolicyOutputs(view, logits, pull_back, action)


def unroll_to_learn(core: Core, params: Params, batch: Episode) -> tuple[jax.Array, PullBack]:
    """Logits (T+1, B, N, A), and the function that pulls a gradient by them back to the parameters.

    One unroll so serves both the critic, whose targets need the policy, and the policy, whose loss needs the critic.
    """
    return jax.vjp(lambda params: batches.unroll(core, (params,), batch)[0], params)


def critic_step(
    core: Core, state: LearnerState, loss: Callable[[Params], tuple[Array, Any]], lr: float | None, hp: Hp
) -> tuple[LearnerState, Any, dict[str, Array]]:
    """Take one step of the critic at `lr`, or hp.lr where that is None. Returns state, aux and metrics.

    `loss(params)` gives the loss and aux, which is computed with the parameters before the step.
    """
    (value, aux), grads = jax.value_and_grad(loss, has_aux=True)(state.params["critic"])
    rate = hp.lr if lr is None else jnp.asarray(lr)
    return _step(core, state, "critic", rate, hp, grads), aux, {"loss": value, "grad_norm": optax.tree.norm(grads)}


def policy_step(
    core: Core,
    state: LearnerState,
    loss: Callable[[jax.Array], tuple[Array, Array]],
    logits: jax.Array,
    pull_back: PullBack,
    hp: Hp,
) -> tuple[LearnerState, dict[str, Array]]:
    """Take one step of the policy. `loss(logits)` gives loss and entropy; see `unroll_to_learn`."""
    (value, entropy), d_logits = jax.value_and_grad(loss, has_aux=True)(logits)
    (grads,) = pull_back(d_logits)
    metrics = {"policy_loss": value, "entropy": entropy, "policy_grad_norm": optax.tree.norm(grads)}
    return _step(core, state, "agent", hp.lr, hp, grads), metrics


def _step(core: Core, state: LearnerState, group: str, lr: Array, hp: Hp, grads: Params) -> LearnerState:
    """One optimizer step of one group."""
    old = (state.params[group], state.opt_state[group])
    params, opt_state = optimization.gradient_step(core, lr, hp.grad_clip, *old, grads)
    return state._replace(params=state.params | {group: params}, opt_state=state.opt_state | {group: opt_state})
