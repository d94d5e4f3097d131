"""PQN (Gallici et al. 2025, arxiv.org/abs/2407.04811) on a mixed team value: Q-learning without replay or target.

PQN-VDN has the mixer "vdn". Episodes are learnt from once they are played, in several passes, towards Q(lambda) returns
that the same network makes; layer norm (`algo.layer_norm`) is what keeps it stable.
"""

from functools import partial
from typing import NamedTuple

import jax
import optax
from jaxtyping import Array, Bool, Float, Int

from qllm_jax.core import options
from qllm_jax.core.types import Choice, Episode, Hp, Params
from qllm_jax.learners import base, batches, optimization, targets, value
from qllm_jax.learners.base import Core, Learner, LearnerState, LossAux, Update

PART = "learner 'pqn'"


class Method(NamedTuple):
    """The parts and the checked options of the method. All static."""

    core: Core
    epochs: int
    minibatches: int


def make(core: Core, *, epochs: int = 4, minibatches: int = 16) -> Learner:
    """Learns on-policy. Minibatches are of whole episodes.

    UserError for a bad value, or without a mixer.
    """
    base.require_mixer(core, "pqn")
    epochs = options.integer(PART, "epochs", epochs)
    method = Method(core, epochs, options.integer(PART, "minibatches", minibatches))

    def init(key: jax.Array, choice: Choice = None) -> LearnerState:
        key, key_params = jax.random.split(key)
        params = value.init_params(core, key_params, choice)
        return base.initial_state(params, (), optimization.init_optimizer(core, params), key)

    return Learner(init, partial(update, method), credit=value.credit(core), on_policy=True, unread=("target_tau",))


def update(
    method: Method, state: LearnerState, batch: Episode, recent: None, hp: Hp, copy_target: Bool[Array, ""]
) -> Update:
    """`epochs` passes over a batch in `minibatches` steps each. Metrics are means over all steps."""
    del recent, copy_target
    stats, batch = targets.standardize_rewards(method.core, state.reward_stats, batch)
    key, key_order = jax.random.split(state.key)
    order = optimization.minibatches(PART, key_order, batch, method.epochs, method.minibatches)
    state = state._replace(reward_stats=stats, key=key)
    return optimization.scan_minibatches(partial(step, method.core, batch), state, order, hp)


def step(core: Core, batch: Episode, state: LearnerState, rows: Int[Array, " rows"], hp: Hp) -> Update:
    """One step on the episodes `rows` of a batch."""
    part = jax.tree.map(lambda x: x[:, rows], batch)
    grads, (metrics, suspect) = jax.grad(partial(loss, core), has_aux=True)(state.params, part, hp)
    params, opt_state = optimization.gradient_step(core, hp.lr, hp.grad_clip, state.params, state.opt_state, grads)
    metrics |= {"grad_norm": optax.tree.norm(grads)}
    return Update(state._replace(params=params, opt_state=opt_state), metrics, suspect)


def loss(core: Core, params: Params, batch: Episode, hp: Hp) -> tuple[Float[Array, ""], LossAux]:
    """`value.td_loss` with the network itself in the place of its target."""
    (q,) = batches.unroll(core, (params["agent"],), batch)
    both = lambda x: (x, jax.lax.stop_gradient(x))
    return value.td_loss_of_values(core, both(params), both(q), batch, batches.views(core.env, batch), hp)
