"""MAPPO and IPPO (Yu et al. 2022, arxiv.org/abs/2103.01955): PPO with recurrent policies and critics that agents share.

MAPPO's critic sees the global state, IPPO's what the agent sees; they differ in nothing else. There is no mixer: each
agent learns from the team's reward by itself.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float

from qllm_envs import EnvState, View
from qllm_jax.core import options, value_norm
from qllm_jax.core.agents import Agent
from qllm_jax.core.rollout import softmax_sampled
from qllm_jax.core.types import Choice, Episode, Hp, Params
from qllm_jax.core.value_norm import ValueStats
from qllm_jax.errors import UserError
from qllm_jax.learners import base, batches, optimization, policy, targets
from qllm_jax.learners.base import Core, Learner, LearnerState, Update

PART = "learner 'ppo'"
SEES = ("state", "obs")
EPS = 1e-8  # of the standard deviation of advantages, as rewards may be all alike


class Method(NamedTuple):
    """The parts and the checked options of the method. All static."""

    core: Core
    critic: Agent
    critic_sees: str
    epochs: int
    minibatches: int
    clip: float
    value_clip: float
    huber_delta: float
    entropy_weight: float
    normalize_values: bool


class Rollout(NamedTuple):
    """A time-major batch with what was known when it was played."""

    batch: Episode
    avail: Bool[Array, "slots batch agents actions"]
    log_prob: Float[Array, "time batch agents"]  # of the actions taken
    value: Float[Array, "time batch agents"]  # outputs of the critic
    returns: Float[Array, "time batch agents"]  # not normalized
    advantage: Float[Array, "time batch agents"]  # normalized over the batch


def make(
    core: Core,
    *,
    critic_sees: str = "state",
    epochs: int = 10,
    minibatches: int = 1,
    clip: float = 0.2,
    value_clip: float = 0.2,
    huber_delta: float = 10.0,
    entropy_weight: float = 0.01,
    normalize_values: bool = True,
) -> Learner:
    """Learns on-policy. `td_lambda` is the lambda of the advantages (GAE).

    Minibatches are of whole episodes. UserError for a bad value, or with a mixer.
    """
    if core.mixer is not None:
        raise UserError("algo.learner 'ppo' has no mixer: set algo.mixer={}")
    sees = options.choice(PART, "critic_sees", critic_sees, SEES)
    spec = core.env.spec
    method = Method(
        core=core,
        critic=core.agent.alike(spec.state_dim if sees == "state" else spec.obs_dim, 1),
        critic_sees=sees,
        epochs=options.integer(PART, "epochs", epochs),
        minibatches=options.integer(PART, "minibatches", minibatches),
        clip=options.number(PART, "clip", clip, low=1e-6),
        value_clip=options.number(PART, "value_clip", value_clip, low=1e-6),
        huber_delta=options.number(PART, "huber_delta", huber_delta, low=1e-6),
        entropy_weight=options.number(PART, "entropy_weight", entropy_weight, low=0),
        normalize_values=options.flag(PART, "normalize_values", normalize_values),
    )

    def init(key: jax.Array, choice: Choice = None) -> LearnerState:
        del choice
        key, key_agent, key_critic = jax.random.split(key, 3)
        params = {"agent": core.agent.init(key_agent), "critic": method.critic.init(key_critic)}
        opt_state: dict[str, Any] = {name: optimization.init_optimizer(core, group) for name, group in params.items()}
        return base.initial_state(params, (), opt_state | {"values": value_norm.initial()}, key)

    return Learner(
        init, partial(update, method), softmax_sampled, on_policy=True, explores=False, unread=("target_tau",)
    )


def update(
    method: Method, state: LearnerState, batch: Episode, recent: None, hp: Hp, copy_target: Bool[Array, ""]
) -> Update:
    """`epochs` passes over a batch in `minibatches` steps each. Metrics are means over all steps."""
    del recent, copy_target
    stats, batch = targets.standardize_rewards(method.core, state.reward_stats, batch)
    key, key_order = jax.random.split(state.key)
    rollout = prepare_rollout(method, state, batch, hp)
    order = optimization.minibatches(PART, key_order, batch, method.epochs, method.minibatches)
    state = state._replace(reward_stats=stats, key=key)
    one = lambda state, rows, hp: step(method, state, take(rollout, rows), hp)
    state, metrics, _ = optimization.scan_minibatches(one, state, order, hp)
    return Update(state, metrics | {"target": batches.agents_mean(rollout.returns, batch.mask_t)})


def take(rollout: Rollout, rows: Array) -> Rollout:
    """Some episodes of a batch."""
    return jax.tree.map(lambda x: x[:, rows], rollout)


def unroll_critic(method: Method, params: Params, batch: Episode) -> Float[Array, "slots batch agents"]:
    """Outputs of the critic over all slots of a time-major batch."""

    def observe(state: EnvState) -> Float[Array, "batch rows inputs"]:
        view: View = jax.vmap(method.core.env.view)(state)
        return view.obs if method.critic_sees == "obs" else view.state[:, None]  # one row for all agents

    return method.critic.unroll((params,), observe, batch.env_state, batch.action_t)[0].squeeze(-1)


def prepare_rollout(method: Method, state: LearnerState, batch: Episode, hp: Hp) -> Rollout:
    """The batch with the outputs of the networks before the update, whose policy has played it."""
    core = method.core
    avail = jax.vmap(jax.vmap(lambda state: core.env.view(state).avail))(batch.env_state)
    (logits,) = batches.unroll(core, (state.params["agent"],), batch)
    pi = policy.distribution(logits[:-1], avail[:-1])
    output = unroll_critic(method, state.params["critic"], batch)
    value = value_norm.denormalize(state.opt_state["values"], output) if method.normalize_values else output
    returns = targets.batch_returns(batch, value, hp)  # (T, B, N)
    advantage = returns - value[:-1]
    mean = lambda x: batches.agents_mean(x, batch.mask_t)
    center = advantage - mean(advantage)
    advantage = center / (jnp.sqrt(mean(center**2)) + EPS)
    log_prob = jnp.asarray(pi.log_prob(batch.action_t))
    return Rollout(batch, avail, log_prob, output[:-1], returns, advantage)


def step(method: Method, state: LearnerState, rollout: Rollout, hp: Hp) -> Update:
    """One step of the policy and one of the critic on a minibatch."""
    values: ValueStats = state.opt_state["values"]
    if method.normalize_values:
        agents = jnp.broadcast_to(rollout.batch.mask_t[..., None], rollout.returns.shape)
        values = value_norm.update(values, rollout.returns, agents)
        target = value_norm.normalize(values, rollout.returns)
    else:
        target = rollout.returns
    losses = {
        "agent": jax.value_and_grad(partial(policy_loss, method, rollout), has_aux=True),
        "critic": jax.value_and_grad(partial(critic_loss, method, rollout, target), has_aux=True),
    }
    params, opt_state, metrics, norms, total = {}, {"values": values}, {}, {}, 0.0
    for name, loss in losses.items():
        (value, aux), grads = loss(state.params[name])
        old = state.params[name], state.opt_state[name]
        params[name], opt_state[name] = optimization.gradient_step(method.core, hp.lr, hp.grad_clip, *old, grads)
        metrics, total = metrics | aux, total + value
        norms[name] = optax.tree.norm(grads)
    metrics |= {"loss": total, "grad_norm": norms["critic"], "policy_grad_norm": norms["agent"]}
    return Update(state._replace(params=params, opt_state=opt_state), metrics)


def policy_loss(method: Method, rollout: Rollout, params: Params) -> tuple[Float[Array, ""], dict[str, Array]]:
    """The clipped objective and the entropy bonus, and metrics."""
    batch = rollout.batch
    (logits,) = batches.unroll(method.core, (params,), batch)
    pi = policy.distribution(logits[:-1], rollout.avail[:-1])
    mean = lambda x: batches.agents_mean(x, batch.mask_t)
    ratio = jnp.exp(pi.log_prob(batch.action_t) - rollout.log_prob)
    clipped = jnp.clip(ratio, 1.0 - method.clip, 1.0 + method.clip)
    surrogate = mean(jnp.minimum(ratio * rollout.advantage, clipped * rollout.advantage))
    entropy = policy.mean_entropy(pi, batch.mask_t)
    share = mean(jnp.abs(ratio - 1.0) > method.clip)
    metrics = {"policy_loss": -surrogate, "entropy": entropy, "clipped_share": share}
    return -surrogate - method.entropy_weight * entropy, metrics


def critic_loss(
    method: Method, rollout: Rollout, target: Float[Array, "time batch agents"], params: Params
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """The larger of the Huber losses of the output and of the output held near the one before the update; metrics."""
    output = unroll_critic(method, params, rollout.batch)[:-1]
    near = rollout.value + jnp.clip(output - rollout.value, -method.value_clip, method.value_clip)
    huber = lambda x: optax.losses.huber_loss(x, target, delta=method.huber_delta)
    mean = lambda x: batches.agents_mean(x, rollout.batch.mask_t)
    loss = mean(jnp.maximum(huber(output), huber(near)))
    return loss, {"value_loss": loss, "td_abs": mean(jnp.abs(output - target))}
