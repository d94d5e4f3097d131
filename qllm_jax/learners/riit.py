"""RIIT (Hu et al. 2021, arxiv.org/abs/2102.03479 v1 to v9; later RMC): an actor-critic whose critic is mixed like QMIX.

This is riit of pymarl2, which the QLLM paper ran under that name: the critic learns off-policy from the replay with
one-step targets and on-policy from the newest episodes with TD(lambda), then the policy climbs it. With the mixer
"tfcaf" it is QLLM-RIIT.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from qllm_envs import View
from qllm_jax.core import options
from qllm_jax.core.rollout import softmax_sampled
from qllm_jax.core.types import Choice, Episode, Hp, Params
from qllm_jax.learners import actor_critic, base, batches, critics, policy, targets
from qllm_jax.learners.base import Core, CreditWeights, Learner, LearnerState, Update
from qllm_jax.learners.critics import Critic
from qllm_jax.mixers import Mixer, MixerInputs, slopes

PART = "learner 'riit'"


class Method(NamedTuple):
    """The parts and the checked options of the method. All static."""

    core: Core
    mixer: Mixer
    critic: Critic
    critic_lr: float | None
    entropy_weight: float


def make(
    core: Core,
    *,
    critic_lr: float | None = None,
    critic_dim: int = 128,
    recent_episodes: int = 32,
    entropy_weight: float = 0.03,
    evaluation: str = "greedy",
) -> Learner:
    """`recent_episodes`: the newest, from which it learns on-policy. `critic_lr` None is algo.lr.

    UserError for a bad value, or without a mixer.
    """
    method = Method(
        core=core,
        mixer=base.require_state_value_mixer(core, "riit"),
        critic=Critic(options.integer(PART, "critic_dim", critic_dim), 1),
        critic_lr=options.rate(PART, "critic_lr", critic_lr),
        entropy_weight=options.number(PART, "entropy_weight", entropy_weight, low=0),
    )
    spec = core.env.spec

    def init_critic(keys: tuple[jax.Array, ...], choice: Choice) -> Params:
        key_critic, key_mixer, key_env = keys
        zeros = inputs_of(jnp.zeros((spec.n_agents, spec.obs_dim)), jnp.zeros((spec.n_agents, spec.n_actions)))
        mixer_params = base.init_mixer(core, method.mixer, key_mixer, key_env, choice)
        return {"agents": critics.init(method.critic, key_critic, zeros), "mixer": mixer_params}

    return Learner(
        init=partial(actor_critic.init, core, init_critic, n_critic_keys=3),
        update=partial(actor_critic.update, core, partial(step, method)),
        act=softmax_sampled,
        act_in_evaluation=policy.in_evaluation(PART, evaluation),
        n_recent=options.integer(PART, "recent_episodes", recent_episodes),
        credit=credit(method),
    )


def step(method: Method, state: LearnerState, key: jax.Array, batch: Episode, recent: Episode, hp: Hp) -> Update:
    """A step of the critic off-policy, one on-policy, and one of the policy. The key is consumed."""
    core = method.core
    state, off_policy, suspect_of_replay = off_policy_step(method, state, batch, hp)
    view, logits, pull_back, action = actor_critic.unroll_policy(core, state.params["agent"], key, recent)
    state, metrics, suspect_of_recent = critic_step(method, state, recent, view, action, hp)
    loss_of_policy = lambda logits: policy_loss(method, logits, state.params["critic"], view, recent)
    state, of_policy = actor_critic.policy_step(core, state, loss_of_policy, logits, pull_back, hp)
    of_replay = {f"off_policy_{name}": off_policy[name] for name in ("loss", "grad_norm")}
    choose = partial(jnp.where, jnp.isfinite(off_policy["loss"]))
    suspect = jax.tree.map(choose, suspect_of_recent, suspect_of_replay)
    return Update(state, metrics | of_replay | of_policy, suspect)


def off_policy_step(method: Method, state: LearnerState, batch: Episode, hp: Hp) -> Update:
    """One step of the critic on one-step targets; the policy is not touched."""
    # No action was taken after the last step. Where the episode did not end there, the step is left out: this spares
    # an unroll of the policy over the replay, whose only use would be that action.
    known = batch._replace(mask_t=batch.mask_t.at[-1].multiply(batch.terminated_t[-1]))
    action = jnp.concatenate([batch.action_t, batch.action_t[-1:]])
    view = batches.views(method.core.env, batch)
    return critic_step(method, state, known, view, action, hp._replace(td_lambda=jnp.zeros_like(hp.td_lambda)))


def critic_step(
    method: Method, state: LearnerState, batch: Episode, view: View, action: Int[Array, "slots batch agents"], hp: Hp
) -> Update:
    """One step of the critic towards TD(lambda) of the target critic at the actions taken (SARSA, not a maximum)."""
    chosen = jax.nn.one_hot(action, method.core.env.spec.n_actions)
    value = team_values(method, state.target_params["critic"], chosen, action, view)  # (T+1, B)
    returns = targets.batch_returns(batch, value, hp)

    def critic_loss(params: Params) -> tuple[jax.Array, None]:
        error = team_values(method, params, chosen, action, view)[:-1] - returns
        return 0.5 * batches.masked_mean(error**2, batch.mask_t), None

    state, _, metrics = actor_critic.critic_step(method.core, state, critic_loss, method.critic_lr, hp)
    metrics |= {"target": batches.masked_mean(returns, batch.mask_t)}
    return Update(state, metrics, batches.suspect_state(batch, value))


def policy_loss(
    method: Method, logits: Float[Array, "slots batch agents actions"], params: Params, view: View, batch: Episode
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """-(mixed value of all agents' probabilities) - adaptive entropy bonus; and the entropy. Logits are over slots."""
    view = jax.tree.map(lambda x: x[:-1], view)
    pi = policy.distribution(logits[:-1], view.avail)
    value = team_values(method, params, jnp.asarray(pi.probs), batch.action_t, view)
    entropy = policy.mean_entropy(pi, batch.mask_t)
    bonus = method.entropy_weight * policy.adaptive_bonus(entropy)
    return -batches.masked_mean(value, batch.mask_t) - bonus, entropy


def team_values(
    method: Method, params: Params, chosen: jax.Array, action: jax.Array, view: View
) -> Float[Array, "time batch"]:
    """Mixed values of all samples; `chosen` (..., N, A) holds one-hot actions or probabilities."""
    one = lambda chosen, action, view: method.mixer.apply(
        params["mixer"], mixer_inputs(method, params, chosen, action, view)
    )
    return jax.vmap(jax.vmap(one))(chosen, action, view)


def mixer_inputs(
    method: Method, params: Params, chosen: Float[Array, "agents actions"], action: Int[Array, " agents"], view: View
) -> MixerInputs:
    """Inputs of the mixer for one sample: the agents' critics in the place of their Q-values."""
    value = critics.apply(method.critic, params["agents"], inputs_of(view.obs, chosen)).squeeze(-1)
    return MixerInputs(value, jax.lax.stop_gradient(value), action, view.state, view.fields)


def inputs_of(obs: Float[Array, "agents obs"], chosen: Float[Array, "agents actions"]) -> critics.Inputs:
    """The critics' input for one sample: observation, agent number, own action."""
    return {"obs": obs, "id": jnp.eye(obs.shape[0]), "action": chosen}, {}


def credit(method: Method) -> CreditWeights:
    """d(team value)/d(agent's critic)."""
    weights = lambda params, inputs: slopes(method.mixer, params["critic"]["mixer"], inputs)
    return CreditWeights(partial(credit_inputs, method), weights)


def credit_inputs(method: Method, params: Params, episode: Episode) -> MixerInputs:
    """Inputs of the mixer in every slot, at the actions taken; in the last one at the most likely ones."""
    view = jax.vmap(method.core.env.view)(episode.env_state)
    logits = batches.unroll_episode(method.core, params["agent"], episode)
    likely = policy.distribution(logits[-1:], view.avail[-1:]).mode()
    action = jnp.concatenate([episode.action_t, likely])  # (T+1, N)
    chosen = jax.nn.one_hot(action, method.core.env.spec.n_actions)
    return jax.vmap(partial(mixer_inputs, method, params["critic"]))(chosen, action, view)
