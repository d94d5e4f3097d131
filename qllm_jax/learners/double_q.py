"""The shared frame of the value-based methods: one loss for all networks, and the actions of double Q-learning."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from qllm_envs import View
from qllm_jax.core.rewards import RewardStats
from qllm_jax.core.types import Choice, Episode, Hp, Params
from qllm_jax.learners import base, batches, optimization, targets
from qllm_jax.learners.base import Core, CreditWeights, Learner, LearnerState, LossAux, Update

# (params, target_params, time-major batch, its views (T+1, B, ...), hp) -> loss, (metrics, suspect)
Loss = Callable[[Params, Params, Episode, View, Hp], tuple[Float[Array, ""], LossAux]]
# (state, time-major batch) -> moments of rewards, batch to learn from
Rewards = Callable[[LearnerState, Episode], tuple[RewardStats, Episode]]


def learner(
    core: Core,
    init_params: Callable[[jax.Array, Choice], Params],
    loss: Loss,
    target_networks: tuple[str, ...] = ("agent", "mixer"),
    credit: CreditWeights | None = None,
    rewards: Rewards | None = None,
) -> Learner:
    """The method that takes one step on `loss` in each update. `target_networks` names those with a target copy.

    `rewards` is what the rewards of a batch become; None: standardized, if the configuration says so.
    """
    learned = rewards or (lambda state, batch: targets.standardize_rewards(core, state.reward_stats, batch))

    def init(key: jax.Array, choice: Choice = None) -> LearnerState:
        params = init_params(key, choice)
        return base.initial_state(params, target_networks, optimization.init_optimizer(core, params))

    def update(state: LearnerState, batch: Episode, recent: None, hp: Hp, copy_target: Bool[Array, ""]) -> Update:
        del recent
        stats, batch = learned(state, batch)
        of_batch = lambda params: loss(params, state.target_params, batch, batches.views(core.env, batch), hp)
        grads, (metrics, suspect) = jax.grad(of_batch, has_aux=True)(state.params)
        params, opt_state = optimization.gradient_step(core, hp.lr, hp.grad_clip, state.params, state.opt_state, grads)
        target = optimization.update_targets(params, state.target_params, hp, copy_target)
        metrics |= {"grad_norm": optax.tree.norm(grads)}
        return Update(LearnerState(params, target, opt_state, stats), metrics, suspect)

    return Learner(init, update, credit=credit)


def taken_and_best(
    q: Float[Array, "slots agents actions"], view: View, action_t: Int[Array, "time agents"]
) -> tuple[Int[Array, "slots agents"], Int[Array, "slots agents"]]:
    """Return the actions taken and the best available ones in all slots of one episode.

    The last slot's taken action is a dummy that no loss reads.
    """
    taken = jnp.concatenate([action_t, jnp.zeros_like(action_t[:1])])
    return taken, jnp.argmax(jnp.where(view.avail, jax.lax.stop_gradient(q), -jnp.inf), -1)
