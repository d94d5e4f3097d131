"""COMA (Foerster et al. 2018, arxiv.org/abs/1705.08926): policy gradients against a counterfactual baseline."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import rlax
from jaxtyping import Array, Float, Int

from qllm_envs import View
from qllm_jax.core import options
from qllm_jax.core.rollout import softmax_sampled
from qllm_jax.core.types import Episode, Hp, Params
from qllm_jax.learners import actor_critic, batches, critics, policy, targets
from qllm_jax.learners.base import Core, Learner, LearnerState, Update
from qllm_jax.learners.critics import Critic

PART = "learner 'coma'"


class Method(NamedTuple):
    """The parts and the checked options of the method. All static."""

    core: Core
    critic: Critic
    critic_lr: float | None
    n_step: int
    entropy_weight: float
    sees_obs: bool
    sees_last_actions: bool
    bootstrap_end: bool


def make(
    core: Core,
    *,
    critic_lr: float | None = None,
    critic_dim: int = 128,
    n_step: int = 10,
    entropy_weight: float = 0.001,
    critic_sees_obs: bool = False,
    critic_sees_last_actions: bool = False,
    bootstrap_end: bool = False,
    evaluation: str = "greedy",
) -> Learner:
    """Learns on-policy. UserError for a bad value.

    `critic_lr` None is algo.lr. `n_step` 0: TD(lambda) with algo.td_lambda. The critic sees the state, the other
    agents' actions and the agent's number, as in epymarl; pymarl's sees the observation and all last actions too.
    `bootstrap_end` is a fault of epymarl: the value after the last step counts although the episode ended there.
    """
    method = Method(
        core=core,
        critic=Critic(options.integer(PART, "critic_dim", critic_dim), core.env.spec.n_actions),
        critic_lr=options.rate(PART, "critic_lr", critic_lr),
        n_step=options.integer(PART, "n_step", n_step, low=0),
        entropy_weight=options.number(PART, "entropy_weight", entropy_weight, low=0),
        sees_obs=options.flag(PART, "critic_sees_obs", critic_sees_obs),
        sees_last_actions=options.flag(PART, "critic_sees_last_actions", critic_sees_last_actions),
        bootstrap_end=options.flag(PART, "bootstrap_end", bootstrap_end),
    )
    init_critic = lambda keys, choice: critics.init(method.critic, keys[0], zero_inputs(method))
    return Learner(
        init=partial(actor_critic.init, core, init_critic),
        update=partial(actor_critic.update, core, partial(step, method)),
        act=softmax_sampled,
        act_in_evaluation=policy.in_evaluation(PART, evaluation),
        on_policy=True,
        reads_padding=method.bootstrap_end,
        unread=("td_lambda",) if method.n_step else (),
    )


def step(method: Method, state: LearnerState, key: jax.Array, batch: Episode, recent: None, hp: Hp) -> Update:
    """One step of the critic, and one of the policy against the critic as it was before. The key is consumed."""
    del recent
    core = method.core
    view, logits, pull_back, action = actor_critic.unroll_policy(core, state.params["agent"], key, batch)
    returns = returns_of(method, state.target_params["critic"], batch, view, action, hp)

    def critic_loss(params: Params) -> tuple[jax.Array, jax.Array]:
        q = action_values(method, params, view, action)[:-1]  # (T, B, N, A)
        error = batches.chosen_values(q, batch.action_t) - returns
        return batches.agents_mean(error**2, batch.mask_t), q

    state, q, metrics = actor_critic.critic_step(core, state, critic_loss, method.critic_lr, hp)
    loss_of_policy = lambda logits: policy_loss(logits, q, batch, view, method.entropy_weight)
    state, of_policy = actor_critic.policy_step(core, state, loss_of_policy, logits, pull_back, hp)
    return Update(state, metrics | of_policy)


def policy_loss(
    logits: Float[Array, "slots batch agents actions"],
    q: Float[Array, "time batch agents actions"],
    batch: Episode,
    view: View,
    entropy_weight: float,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """-(advantage log pi + weight entropy), mean over agents and the steps that happened; and the entropy."""
    pi = policy.distribution(logits[:-1], view.avail[:-1])
    gain = advantage(q, jnp.asarray(pi.probs), batch.action_t) * pi.log_prob(batch.action_t)  # (T, B, N)
    entropy = policy.mean_entropy(pi, batch.mask_t)
    return -batches.agents_mean(gain, batch.mask_t) - entropy_weight * entropy, entropy


def advantage(
    q: Float[Array, "*lead actions"], probs: Float[Array, "*lead actions"], action: Int[Array, "*lead"]
) -> Float[Array, "*lead"]:
    """Eq. 4: the value of an agent's action less what its policy would have got in its place. No gradient."""
    return jax.lax.stop_gradient(batches.chosen_values(q, action) - jnp.sum(probs * q, -1))


def returns_of(
    method: Method, target_params: Params, batch: Episode, view: View, action: Int[Array, "slots batch agents"], hp: Hp
) -> Float[Array, "time batch agents"]:
    """Returns of each agent, from the target critic's values of the actions taken."""
    value = batches.chosen_values(action_values(method, target_params, view, action), action)  # (T+1, B, N)
    of_agents = jax.vmap(lambda episode, value: agent_returns(method, episode, value, hp), (None, 1), 1)
    return jax.vmap(of_agents, (1, 1), 1)(batch, value)


def agent_returns(method: Method, episode: Episode, value: Float[Array, " slots"], hp: Hp) -> Float[Array, " time"]:
    """n-step returns, or TD(lambda), of one agent in one episode."""
    if method.bootstrap_end:
        episode = episode._replace(terminated_t=episode.terminated_t.at[-1].set(False))
    if method.n_step == 0:
        return targets.lambda_returns(episode, value, hp)
    discount_t = hp.gamma * (1.0 - episode.terminated_t) * episode.mask_t
    reward_t = episode.reward_t * episode.mask_t
    return jnp.asarray(rlax.n_step_bootstrapped_returns(reward_t, discount_t, value[1:], method.n_step))


def action_values(
    method: Method, params: Params, view: View, action: Int[Array, "slots batch agents"]
) -> Float[Array, "slots batch agents actions"]:
    """Q_i(s, (a_-i, .)) of all samples. The last actions of slot t are those of slot t-1; slot 0 has none."""
    last = jnp.concatenate([jnp.full_like(action[:1], -1), action[:-1]])

    def one(view: View, action: jax.Array, last: jax.Array) -> jax.Array:
        return critics.apply(method.critic, params, inputs_of(method, view.state, view.obs, action, last))

    return jax.vmap(jax.vmap(one))(view, action, last)


def inputs_of(
    method: Method, state: jax.Array, obs: jax.Array, action: Int[Array, " agents"], last: Int[Array, " agents"]
) -> critics.Inputs:
    """The critic's input for one sample."""
    n_agents, n_actions = action.shape[0], method.critic.n_outputs
    eye = jnp.eye(n_agents)
    joint = jax.nn.one_hot(action, n_actions)  # (N, A)
    others = (joint[None] * (1.0 - eye)[..., None]).reshape(n_agents, -1)  # an agent's own action is zeroed
    own, shared = {"others": others, "id": eye}, {"state": state}
    if method.sees_obs:
        own["obs"] = obs
    if method.sees_last_actions:
        shared["last"] = jax.nn.one_hot(last, n_actions).reshape(-1)
    return own, shared


def zero_inputs(method: Method) -> critics.Inputs:
    """A sample to shape the critic's parameters by."""
    spec = method.core.env.spec
    none = jnp.zeros((spec.n_agents,), jnp.int32)
    return inputs_of(method, jnp.zeros(spec.state_dim), jnp.zeros((spec.n_agents, spec.obs_dim)), none, none)
