"""VDAC-mix (Su et al. 2021, arxiv.org/abs/2007.12306), pymarl2's vmix: actor-critic on mixed state values.

The agents' network has a second head, a value of its own; the mixer makes the team's state value of them. With the
mixer "tfcaf" it is QLLM-VMIX.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float

from qllm_envs import View
from qllm_jax.core import options
from qllm_jax.core.initializers import Dense
from qllm_jax.core.rollout import softmax_sampled
from qllm_jax.core.types import Choice, Episode, Hp, Params
from qllm_jax.learners import base, batches, optimization, policy, targets
from qllm_jax.learners.base import Core, CreditWeights, Learner, LearnerState, LossAux, Update
from qllm_jax.mixers import Mixer, MixerInputs, slopes

PART = "learner 'vmix'"
HEAD = Dense(1)  # an agent's own value, from its hidden state


class Method(NamedTuple):
    """The parts and the checked options of the method. All static."""

    core: Core
    mixer: Mixer
    value_weight: float
    entropy_weight: float


def make(core: Core, *, value_weight: float = 0.1, entropy_weight: float = 0.01, evaluation: str = "greedy") -> Learner:
    """Learns on-policy. UserError for a bad value, or without a mixer."""
    method = Method(
        core=core,
        mixer=base.require_state_value_mixer(core, "vmix"),
        value_weight=options.number(PART, "value_weight", value_weight, low=0),
        entropy_weight=options.number(PART, "entropy_weight", entropy_weight, low=0),
    )

    def init(key: jax.Array, choice: Choice = None) -> LearnerState:
        key_agent, key_head, key_mixer, key_env = jax.random.split(key, 4)
        params = {
            "agent": core.agent.init(key_agent),
            "value": HEAD.init(key_head, core.agent.initial_hidden()),
            "mixer": base.init_mixer(core, method.mixer, key_mixer, key_env, choice),
        }
        # There is no target network: the returns are made with the network that learns them.
        return base.initial_state(params, (), optimization.init_optimizer(core, params))

    return Learner(
        init=init,
        update=partial(update, method),
        act=softmax_sampled,
        act_in_evaluation=policy.in_evaluation(PART, evaluation),
        credit=credit(method),
        on_policy=True,
        unread=("target_tau",),
    )


def update(
    method: Method, state: LearnerState, batch: Episode, recent: None, hp: Hp, copy_target: Bool[Array, ""]
) -> Update:
    """One step of the one optimizer."""
    del recent, copy_target
    core = method.core
    stats, batch = targets.standardize_rewards(core, state.reward_stats, batch)
    view = batches.views(core.env, batch)
    total = lambda params: loss(method, params, batch, view, hp)
    grads, (metrics, suspect) = jax.grad(total, has_aux=True)(state.params)
    params, opt_state = optimization.gradient_step(core, hp.lr, hp.grad_clip, state.params, state.opt_state, grads)
    return Update(LearnerState(params, {}, opt_state, stats), metrics | {"grad_norm": optax.tree.norm(grads)}, suspect)


def loss(method: Method, params: Params, batch: Episode, view: View, hp: Hp) -> tuple[Float[Array, ""], LossAux]:
    """Policy gradient, squared error of the team value and entropy bonus over a time-major batch; and metrics."""
    ((hidden, logits),) = batches.unroll_hidden(method.core, (params["agent"],), batch)
    inputs = jax.vmap(jax.vmap(partial(mixer_inputs, params)))(hidden, view)
    value = jax.vmap(jax.vmap(method.mixer.apply, (None, 0)), (None, 0))(params["mixer"], inputs)  # (T+1, B)
    returns = jax.lax.stop_gradient(targets.batch_returns(batch, value, hp))
    error = returns - value[:-1]  # (T, B): the advantage of all agents alike
    pi = policy.distribution(logits[:-1], view.avail[:-1])
    mean = lambda x: batches.masked_mean(x, batch.mask_t)
    log_prob = jnp.mean(pi.log_prob(batch.action_t), -1)
    policy_loss = -mean(jax.lax.stop_gradient(error) * log_prob)
    entropy = policy.mean_entropy(pi, batch.mask_t)
    total = policy_loss + method.value_weight * mean(error**2) - method.entropy_weight * entropy
    metrics = {"loss": total, "policy_loss": policy_loss, "entropy": entropy}
    metrics |= {"target": mean(returns), "td_abs": mean(jnp.abs(error))}
    return total, (metrics, batches.suspect_state(batch, value))


def mixer_inputs(params: Params, hidden: Float[Array, "agents hidden"], view: View) -> MixerInputs:
    """Inputs of the mixer for one sample: the agents' state values, which belong to no action."""
    value = jnp.asarray(HEAD.apply(params["value"], hidden)).squeeze(-1)
    return MixerInputs(value, jax.lax.stop_gradient(value), jnp.zeros(value.shape, jnp.int32), view.state, view.fields)


def credit(method: Method) -> CreditWeights:
    """dV_tot/dv_i."""
    weights = lambda params, inputs: slopes(method.mixer, params["mixer"], inputs)
    return CreditWeights(partial(credit_inputs, method), weights)


def credit_inputs(method: Method, params: Params, episode: Episode) -> MixerInputs:
    """Inputs of the mixer in every slot."""
    networks, observe = (params["agent"],), partial(batches.observe, method.core.env)
    ((hidden, _),) = method.core.agent.unroll_hidden(networks, observe, episode.env_state, episode.action_t)
    return jax.vmap(partial(mixer_inputs, params))(hidden, jax.vmap(method.core.env.view)(episode.env_state))
