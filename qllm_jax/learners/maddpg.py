"""MADDPG (Lowe et al. 2017, arxiv.org/abs/1706.02275) for discrete actions, as epymarl has it.

Networks are shared, critics see the joint action, policies learn through straight-through Gumbel-softmax draws.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from qllm_envs import View
from qllm_jax.core import options
from qllm_jax.core.rollout import softmax_sampled
from qllm_jax.core.types import Choice, Episode, Hp, Params
from qllm_jax.learners import actor_critic, batches, critics, policy, targets
from qllm_jax.learners.base import Core, Learner, LearnerState, Update
from qllm_jax.learners.critics import Critic

PART = "learner 'maddpg'"


class Method(NamedTuple):
    """The parts and the checked options of the method. All static."""

    core: Core
    critic: Critic
    critic_lr: float | None
    logit_penalty: float
    released_mask: bool


def make(
    core: Core,
    *,
    critic_lr: float | None = None,
    critic_dim: int = 128,
    logit_penalty: float = 0.001,
    released_mask: bool = False,
    evaluation: str = "greedy",
) -> Learner:
    """`critic_lr` None is algo.lr; `logit_penalty` weighs the mean square of the logits. UserError for a bad value.

    `released_mask` is a fault of epymarl: steps that end the task are not learned from, steps of padding are.
    """
    method = Method(
        core=core,
        critic=Critic(options.integer(PART, "critic_dim", critic_dim), 1),
        critic_lr=options.rate(PART, "critic_lr", critic_lr),
        logit_penalty=options.number(PART, "logit_penalty", logit_penalty, low=0),
        released_mask=options.flag(PART, "released_mask", released_mask),
    )
    spec = core.env.spec

    def init_critic(keys: tuple[jax.Array, ...], choice: Choice) -> Params:
        del choice
        zeros = inputs_of(jnp.zeros((spec.state_dim,)), jnp.zeros((spec.n_agents, spec.n_actions)))
        return critics.init(method.critic, keys[0], zeros)

    return Learner(
        init=partial(actor_critic.init, core, init_critic, target_networks=("agent", "critic")),
        update=partial(actor_critic.update, core, partial(step, method)),
        act=softmax_sampled,
        act_in_evaluation=policy.in_evaluation(PART, evaluation),
        reads_padding=method.released_mask,
    )


def step(method: Method, state: LearnerState, key: jax.Array, batch: Episode, recent: None, hp: Hp) -> Update:
    """One step of the critic, then one of the policy. The key is consumed."""
    del recent
    core = method.core
    if method.released_mask:
        batch = batch._replace(mask_t=1.0 - batch.terminated_t)
    view = batches.views(core.env, batch)
    returns = returns_of(method, state.target_params, batch, view, hp)
    loss_of_critic = lambda params: (critic_loss(method, params, batch, view, returns), None)
    state, _, metrics = actor_critic.critic_step(core, state, loss_of_critic, method.critic_lr, hp)
    logits, pull_back = actor_critic.unroll_to_learn(core, state.params["agent"], batch)
    loss_of_policy = lambda logits: policy_loss(method, key, logits, state.params["critic"], batch, view)
    state, of_policy = actor_critic.policy_step(core, state, loss_of_policy, logits, pull_back, hp)
    return Update(state, metrics | of_policy)


def returns_of(
    method: Method, target_params: dict[str, Params], batch: Episode, view: View, hp: Hp
) -> Float[Array, "time batch agents"]:
    """Targets from the target critics' values of the target policies' most likely joint actions."""
    (logits,) = batches.unroll(method.core, (target_params["agent"],), batch)
    likely = jax.nn.one_hot(policy.distribution(logits, view.avail).mode(), logits.shape[-1])
    value = jax.vmap(jax.vmap(partial(values, method, target_params["critic"])))(view.state, likely)
    return targets.batch_returns(batch, value, hp)


def critic_loss(
    method: Method, params: Params, batch: Episode, view: View, returns: Float[Array, "time batch agents"]
) -> Float[Array, ""]:
    """Squared error at the actions taken, mean over agents and steps."""
    joint = jax.nn.one_hot(batch.action_t, method.core.env.spec.n_actions)
    value = jax.vmap(jax.vmap(partial(values, method, params)))(view.state[:-1], joint)  # (T, B, N)
    return batches.agents_mean((value - returns) ** 2, batch.mask_t)


def policy_loss(
    method: Method, key: jax.Array, logits: jax.Array, params: Params, batch: Episode, view: View
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """-(value of a drawn joint action) + penalty; and the entropy. Logits are over slots. The key is consumed."""
    logits, avail = logits[:-1], view.avail[:-1]
    joint = policy.straight_through(key, logits, avail)  # (T, B, N, A)
    value = jax.vmap(jax.vmap(partial(values_by_own_action, method, params)))(view.state[:-1], joint)
    mean = lambda x: batches.agents_mean(x, batch.mask_t)
    squares = jnp.sum(jnp.where(avail, logits**2, 0.0), -1) / jnp.sum(avail, -1)
    entropy = policy.mean_entropy(policy.distribution(logits, avail), batch.mask_t)
    return -mean(value) + method.logit_penalty * mean(squares), entropy


def values(
    method: Method, params: Params, state: Float[Array, " state"], joint: Float[Array, "agents actions"]
) -> Float[Array, " agents"]:
    """Values of the joint action by the critics of all agents, one sample."""
    return critics.apply(method.critic, params, inputs_of(state, joint)).squeeze(-1)


def values_by_own_action(
    method: Method, params: Params, state: Float[Array, " state"], joint: Float[Array, "agents actions"]
) -> Float[Array, " agents"]:
    """`values`, each with a gradient by the agent's own action only."""
    own, shared = inputs_of(state, joint)
    fixed = jax.lax.stop_gradient(joint)
    eye = own["id"][..., None]  # (N, N, 1)
    of_each = fixed[None] + eye * (joint - fixed)[None]  # (N, N, A): row i differs by agent i's action
    inputs = own | {"joint": of_each.reshape(len(joint), -1)}, {"state": shared["state"]}
    return critics.apply(method.critic, params, inputs).squeeze(-1)


def inputs_of(state: Float[Array, " state"], joint: Float[Array, "agents actions"]) -> critics.Inputs:
    """The critics' input for one sample: state, joint action, agent number."""
    return {"id": jnp.eye(joint.shape[0])}, {"state": state, "joint": joint.reshape(-1)}
