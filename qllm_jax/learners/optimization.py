"""Steps of the optimizer, moves of the target networks, and the minibatches of methods that pass over a batch again."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Int

from qllm_jax.core.types import Episode, Hp, Params
from qllm_jax.errors import UserError
from qllm_jax.learners import base
from qllm_jax.learners.base import Core, LearnerState, Update

OPTIMIZERS: dict[str, Callable[..., optax.GradientTransformation]] = {
    "adam": optax.adam,
    # Torch's RMSprop adds eps outside the root; alpha and eps are pymarl's.
    "rmsprop": lambda lr: optax.rmsprop(lr, decay=0.99, eps=1e-5, eps_in_sqrt=False),
}


def init_optimizer(core: Core, params: Params) -> Any:
    """The optimizer's state for `params`. It holds no learning rate: `gradient_step` gets that of the run."""
    return OPTIMIZERS[core.optimizer](1.0).init(params)


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

    `params` may hold networks that have no target. Where both are equal they stay so to the last bit: numbers that a
    run fixes, as the seed of a control's noise, must not drift by rounding.
    """
    online = {name: params[name] for name in target_params}
    moved = optax.incremental_update(online, target_params, jnp.where(copy_target, hp.target_tau, 0.0))
    return jax.tree.map(lambda new, now, before: jnp.where(now == before, before, new), moved, online, target_params)


def minibatches(part: str, key: jax.Array, batch: Episode, epochs: int, count: int) -> Int[Array, "steps rows"]:
    """Indices of the episodes of each step: `epochs` passes over a batch, each in `count` steps and a new order.

    The key is consumed. UserError where the batch cannot be divided so.
    """
    n_episodes = batch.reward_t.shape[1]
    if n_episodes % count:
        raise UserError(f"{part}: minibatches={count} must divide the {n_episodes} episodes of algo.batch_episodes")
    one = lambda key: jax.random.permutation(key, n_episodes).reshape(count, -1)
    return jax.vmap(one)(jax.random.split(key, epochs)).reshape(epochs * count, -1)


def scan_minibatches(
    step: Callable[[LearnerState, Array, Hp], Update],
    state: LearnerState,
    order: Int[Array, "steps rows"],
    hp: Hp,
) -> Update:
    """Take `step(state, rows, hp)` for each row of `order`; none is taken after one that was not finite.

    Metrics are means over all steps; the suspect is that of the first step that was not finite.
    """

    def one(carry: tuple[LearnerState, Hp], rows: Array) -> tuple[tuple[LearnerState, Hp], tuple]:
        state, hp = carry
        state, metrics, suspect = step(state, rows, hp)
        finite = base.is_finite(metrics)
        return (state, hp._replace(grad_clip=jnp.where(finite, hp.grad_clip, jnp.nan))), (metrics, suspect, finite)

    (state, _), (metrics, suspect, finite) = jax.lax.scan(one, (state, hp), order)
    first = jnp.argmin(finite)
    return Update(state, jax.tree.map(jnp.mean, metrics), jax.tree.map(lambda x: x[first], suspect))
