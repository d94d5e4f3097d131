"""The shared frame of methods with a critic of its own: parameters "agent" and "critic", an optimizer for each."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from qllm_envs import View
from qllm_jax.core.rollout import Policy, softmax_sampled
from qllm_jax.core.types import Choice, Episode, Hp, Params
from qllm_jax.learners import base, batches, optimization, policy, targets
from qllm_jax.learners.base import Core, CreditWeights, Learner, LearnerState, Update

# (state, key, batch, recent episodes or None, hp). The key is consumed.
Step = Callable[[LearnerState, jax.Array, Episode, Any, Hp], Update]


class PolicyOutputs(NamedTuple):
    """Outputs in a time-major batch of the policy that learns from it."""

    view: View  # leaves (T+1, B, ...)
    logits: Float[Array, "slots batch agents actions"]
    vjp: Callable[[jax.Array], tuple[Params]]  # from a gradient by the logits to one by the parameters
    action: Int[Array, "slots batch agents"]  # the actions taken; in the last slot a draw from the policy


def learner(
    core: Core,
    init_critic: Callable[[tuple[jax.Array, ...], Choice], Params],
    step: Step,
    act_in_evaluation: Policy,
    *,
    n_critic_keys: int = 1,
    target_networks: tuple[str, ...] = ("critic",),
    n_recent: int = 0,
    on_policy: bool = False,
    reads_padding: bool = False,
    credit: CreditWeights | None = None,
    unread: tuple[str, ...] = (),
) -> Learner:
    """The method that takes `step` in each update, after standardizing rewards and before updating its targets.

    `init_critic(keys, choice)` gets `n_critic_keys` keys. In training actions are drawn from the softmax policy.
    """

    def init(key: jax.Array, choice: Choice = None) -> LearnerState:
        key, key_agent, *keys = jax.random.split(key, 2 + n_critic_keys)
        params = {"agent": core.agent.init(key_agent), "critic": init_critic(tuple(keys), choice)}
        opt_state = {name: optimization.init_optimizer(core, group) for name, group in params.items()}
        return base.initial_state(params, target_networks, opt_state, key)

    return Learner(
        init,
        partial(update, core, step),
        softmax_sampled,
        act_in_evaluation,
        n_recent=n_recent,
        on_policy=on_policy,
        reads_padding=reads_padding,
        credit=credit,
        unread=unread,
    )


def update(
    core: Core, step: Step, state: LearnerState, batch: Episode, recent: Any, hp: Hp, copy_target: Bool[Array, ""]
) -> Update:
    """One update of a method."""
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
    logits, vjp = policy.unroll_to_learn(core, params, batch)
    action = policy.actions_of_slots(key, policy.distribution(logits, view.avail), batch.action_t)
    return PolicyOutputs(view, logits, vjp, action)


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
    vjp: Callable[[jax.Array], tuple[Params]],
    hp: Hp,
) -> tuple[LearnerState, dict[str, Array]]:
    """Take one step of the policy. `loss(logits)` gives loss and entropy; see `policy.unroll_to_learn`."""
    (value, entropy), d_logits = jax.value_and_grad(loss, has_aux=True)(logits)
    (grads,) = vjp(d_logits)
    metrics = {"policy_loss": value, "entropy": entropy, "policy_grad_norm": optax.tree.norm(grads)}
    return _step(core, state, "agent", hp.lr, hp, grads), metrics


def _step(core: Core, state: LearnerState, group: str, lr: Array, hp: Hp, grads: Params) -> LearnerState:
    """One optimizer step of one group."""
    old = (state.params[group], state.opt_state[group])
    params, opt_state = optimization.gradient_step(core, lr, hp.grad_clip, *old, grads)
    return state._replace(params=state.params | {group: params}, opt_state=state.opt_state | {group: opt_state})
