"""LICA (Zhou et al. 2020, arxiv.org/abs/2007.02529): policies climb a critic whose weights the state generates."""

from functools import partial
from typing import NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from qllm_envs import View
from qllm_jax.core import options
from qllm_jax.core.initializers import Dense
from qllm_jax.core.rollout import softmax_sampled
from qllm_jax.core.types import Choice, Episode, Hp, Params
from qllm_jax.learners import actor_critic, batches, policy, targets
from qllm_jax.learners.base import Core, Learner, LearnerState, Update

PART = "learner 'lica'"


class LicaNetwork(nn.Module):
    """Q(s, u) = w2(s) . relu(W1(s) u + b1(s)) + b2(s), u the joint one-hot actions or probabilities, for ONE sample.

    Unlike in QMIX no weight is made positive. W1 comes from a hidden layer of `hypernet_dim`, as in
    pymarl2; in the original that layer is as wide as W1 is large.
    """

    embed_dim: int
    hypernet_dim: int

    @nn.compact
    def __call__(self, state: jax.Array, chosen: jax.Array) -> jax.Array:
        u = chosen.reshape(-1)  # (N*A,)
        w1 = self._hypernet("w1", state, self.hypernet_dim, u.shape[0] * self.embed_dim)
        b1 = Dense(self.embed_dim, name="b1")(state)
        w2 = self._hypernet("w2", state, self.hypernet_dim, self.embed_dim)
        b2 = self._hypernet("b2", state, self.hypernet_dim, 1)
        hidden = nn.relu(u @ w1.reshape(u.shape[0], self.embed_dim) + b1)
        return hidden @ w2 + b2.squeeze(-1)

    def _hypernet(self, name: str, state: jax.Array, width: int, size: int) -> jax.Array:
        return Dense(size, name=f"{name}_out")(nn.relu(Dense(width, name=f"{name}_hidden")(state)))


class Method(NamedTuple):
    """The parts and the checked options of the method. All static."""

    core: Core
    critic: LicaNetwork
    critic_lr: float | None
    entropy_weight: float


def make(
    core: Core,
    *,
    critic_lr: float | None = None,
    embed_dim: int = 64,
    hypernet_dim: int = 64,
    entropy_weight: float = 0.06,
    evaluation: str = "greedy",
) -> Learner:
    """`critic_lr` None is algo.lr; the targets are TD(lambda) with algo.td_lambda. UserError for a bad value."""
    embed_dim = options.integer(PART, "embed_dim", embed_dim)
    hypernet_dim = options.integer(PART, "hypernet_dim", hypernet_dim)
    method = Method(
        core=core,
        critic=LicaNetwork(embed_dim, hypernet_dim),
        critic_lr=options.rate(PART, "critic_lr", critic_lr),
        entropy_weight=options.number(PART, "entropy_weight", entropy_weight, low=0),
    )
    spec = core.env.spec

    def init_critic(keys: tuple[jax.Array, ...], choice: Choice) -> Params:
        del choice
        joint = jnp.zeros((spec.n_agents, spec.n_actions))
        return method.critic.init(keys[0], jnp.zeros((spec.state_dim,)), joint)

    return Learner(
        init=partial(actor_critic.init, core, init_critic),
        update=partial(actor_critic.update, core, partial(step, method)),
        act=softmax_sampled,
        act_in_evaluation=policy.in_evaluation(PART, evaluation),
    )


def step(method: Method, state: LearnerState, key: jax.Array, batch: Episode, recent: None, hp: Hp) -> Update:
    """One step of the critic, then one of the policy. The key is consumed."""
    del recent
    core = method.core
    view, logits, pull_back, action = actor_critic.unroll_policy(core, state.params["agent"], key, batch)
    returns = returns_of(method, state.target_params["critic"], batch, view, action, hp)
    loss_of_critic = lambda params: (critic_loss(method, params, batch, view, returns), None)
    state, _, metrics = actor_critic.critic_step(core, state, loss_of_critic, method.critic_lr, hp)
    loss_of_policy = lambda logits: policy_loss(method, logits, state.params["critic"], batch, view)
    state, of_policy = actor_critic.policy_step(core, state, loss_of_policy, logits, pull_back, hp)
    return Update(state, metrics | of_policy)


def returns_of(
    method: Method, target_params: Params, batch: Episode, view: View, action: Int[Array, "slots batch agents"], hp: Hp
) -> Float[Array, "time batch"]:
    """TD(lambda) of the target critic at the actions taken."""
    chosen = jax.nn.one_hot(action, method.core.env.spec.n_actions)
    return targets.batch_returns(batch, values(method, target_params, view.state, chosen), hp)


def critic_loss(
    method: Method, params: Params, batch: Episode, view: View, returns: Float[Array, "time batch"]
) -> Float[Array, ""]:
    """Squared error at the actions taken."""
    chosen = jax.nn.one_hot(batch.action_t, method.core.env.spec.n_actions)
    return batches.masked_mean((values(method, params, view.state[:-1], chosen) - returns) ** 2, batch.mask_t)


def policy_loss(
    method: Method, logits: jax.Array, params: Params, batch: Episode, view: View
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """-(value of all agents' probabilities) - adaptive entropy bonus; and the entropy. Logits are over slots."""
    pi = policy.distribution(logits[:-1], view.avail[:-1])
    value = values(method, params, view.state[:-1], jnp.asarray(pi.probs))
    entropy = policy.mean_entropy(pi, batch.mask_t)
    return -batches.masked_mean(value, batch.mask_t) - method.entropy_weight * policy.adaptive_bonus(entropy), entropy


def values(
    method: Method, params: Params, state: Float[Array, "time batch state"], chosen: jax.Array
) -> Float[Array, "time batch"]:
    """Values of all samples; `chosen` (T, B, N, A) holds one-hot actions or probabilities."""
    one = lambda state, chosen: cast(jax.Array, method.critic.apply(params, state, chosen))
    return jax.vmap(jax.vmap(one))(state, chosen)
