"""MASER (Jeon et al. 2022, arxiv.org/abs/2206.10607): each agent is paid for nearing a subgoal, the observation of the
replayed episode in which its own and the team's value were highest. On top of any mixer; the original is on QMIX."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from qllm_envs import View
from qllm_jax.core import options
from qllm_jax.core.networks import Mlp
from qllm_jax.core.types import Choice, Episode, Hp, Params
from qllm_jax.learners import base, batches, double_q, targets, value
from qllm_jax.learners.base import Core, Learner, LossAux

PART = "learner 'maser'"
AUXILIARY = 0.001  # of all losses but the team's, fixed in the released code
TINY = 1e-6  # added to probabilities before their logarithm, as there


class Method(NamedTuple):
    """The parts and the checked options of the method. All static."""

    core: Core
    phi: Mlp
    mode: str
    alpha: float
    lam: float
    ind: float
    mix: float
    expl: float
    dis: float


class Terms(NamedTuple):
    """Terms that one episode adds to the losses."""

    q_tot: Float[Array, " time"]
    target_tot: Float[Array, " slots"]  # of the target network
    returns: Float[Array, " time"]
    individual: Float[Array, " time"]  # squared errors of the agents' own values, summed over agents
    auxiliary: Float[Array, " agents"]  # exploration and distance losses
    intrinsic: Float[Array, " time"]  # mean reward of the agents for being near their subgoals


def make(
    core: Core, *, mode: str = "released", alpha: float = 0.5, lam: float = 0.03, ind: float = 1.0, mix: float = 1.0,
    expl: float = 1.0, dis: float = 1.0, phi_dim: int = 128,
) -> Learner:  # fmt: skip
    """MASER with its released code's numbers. UserError without a mixer, and for values out of range.

    `alpha` is the share of an agent's own value in the choice of its subgoal, `lam` the weight of intrinsic rewards,
    `ind` of the individual loss, and `mix` of `expl` times the exploration loss and `dis` times the distance loss.
    `mode` "released": as in the original code, where these two losses reach no parameter that the optimizer holds, so
    phi stays a random projection. "as_intended": the distance loss trains phi and the exploration loss the agents.
    """
    base.require_mixer(core, "maser")
    weights = {"lam": lam, "ind": ind, "mix": mix, "expl": expl, "dis": dis}
    checked = {name: options.number(PART, name, weight, low=0) for name, weight in weights.items()}
    method = Method(
        core,
        Mlp((options.integer(PART, "phi_dim", phi_dim),), core.env.spec.n_actions),
        options.choice(PART, "mode", mode, ("released", "as_intended")),
        options.number(PART, "alpha", alpha, low=0, high=1),
        **checked,
    )
    credit = value.credit(core)
    return double_q.learner(core, partial(init_params, method), partial(td_loss, method), credit=credit)


def init_params(method: Method, key: jax.Array, choice: Choice) -> Params:
    """Parameters of the agent, the mixer, and phi, which embeds observations for distances. Consumes the key."""
    key_value, key_phi = jax.random.split(key)
    phi = method.phi.init(key_phi, jnp.zeros(method.core.env.spec.obs_dim))
    return {**value.init_params(method.core, key_value, choice), "phi": phi}


def td_loss(
    method: Method, params: Params, target_params: Params, batch: Episode, view: View, hp: Hp
) -> tuple[Float[Array, ""], LossAux]:
    """The team's TD loss with intrinsic rewards in its targets, and the weighted auxiliary losses."""
    q, target_q = batches.unroll(method.core, (params["agent"], target_params["agent"]), batch)  # (T+1, B, N, A) each
    of_episode = partial(episode_terms, method, params, target_params)
    terms = jax.vmap(of_episode, (1, 1, 1, 1, None), 1)(q, target_q, view, batch, hp)
    mean = lambda x: batches.masked_mean(x, batch.mask_t)
    error, individual = terms.q_tot - terms.returns, mean(terms.individual)
    loss = mean(error**2) + AUXILIARY * (method.ind * individual + method.mix * jnp.mean(terms.auxiliary))
    metrics = {"loss": loss, "q_tot": mean(terms.q_tot), "target": mean(terms.returns), "td_abs": mean(jnp.abs(error))}
    metrics |= {"individual_loss": individual, "intrinsic": mean(terms.intrinsic)}
    return loss, (metrics, batches.suspect_state(batch, terms.target_tot))


def episode_terms(
    method: Method, params: Params, target_params: Params, q: jax.Array, target_q: jax.Array, view: View,
    episode: Episode, hp: Hp,
) -> Terms:  # fmt: skip
    """Terms of one episode."""
    taken, best = double_q.taken_and_best(q, view, episode.action_t)
    online, target = batches.mixer_inputs(q, taken, view), batches.mixer_inputs(target_q, best, view)
    mix = jax.vmap(base.require_mixer(method.core, "maser").apply, (None, 0))
    q_tot, target_tot = mix(params["mixer"], online)[:-1], mix(target_params["mixer"], target)  # (T,), (T+1,)

    goal = subgoals(target.chosen_q[:-1], target_tot[:-1], episode.mask_t, method.alpha)
    apart = distances(method.phi, params["phi"], view.obs[:-1], goal)  # (T, N)
    intrinsic = -jax.lax.stop_gradient(apart)
    team_intrinsic = jnp.mean(intrinsic, -1)
    reward_t = episode.reward_t + method.lam * team_intrinsic
    returns = targets.lambda_returns(episode._replace(reward_t=reward_t), target_tot, hp)

    share = jax.nn.softmax(target.chosen_q[1:], -1)  # of the team's reward, (T, N)
    own_reward_t = share * reward_t[:, None] + method.lam * intrinsic
    own_error = online.chosen_q[:-1] - targets.agent_returns(episode, target.chosen_q, hp, own_reward_t)

    auxiliary = jnp.zeros(goal.shape)
    if method.mode == "as_intended":
        explored = exploration_loss(q[:-1], view.avail[:-1], goal, episode.mask_t)
        known = jnp.where(view.avail, target_q, 0.0)[:-1]
        auxiliary = method.expl * explored + method.dis * distance_loss(apart, known, goal, episode.mask_t)
    return Terms(q_tot, target_tot, returns, jnp.sum(own_error**2, -1), auxiliary, team_intrinsic)


def subgoals(
    own: Float[Array, "time agents"], team: Float[Array, " time"], mask_t: Float[Array, " time"], alpha: float
) -> Int[Array, " agents"]:
    """Steps whose observations are the agents' subgoals, among those that happened (the original takes padding too)."""
    worth = alpha * own + (1.0 - alpha) * team[:, None] / own.shape[1]
    return jnp.argmax(jnp.where(mask_t[:, None] > 0, worth, -jnp.inf), 0)


def distances(
    phi: Mlp, params: Params, obs: Float[Array, "time agents obs"], goal: Int[Array, " agents"]
) -> Float[Array, "time agents"]:
    """Euclidean distances to the subgoals in phi's space."""
    embedded = jnp.asarray(phi.apply(params, obs))
    # At the subgoal itself the plain norm's gradient is NaN.
    return optax.safe_norm(embedded - at_goal(embedded, goal), 0.0, axis=-1)


def at_goal(x: Float[Array, "time agents X"], goal: Int[Array, " agents"]) -> Float[Array, "1 agents X"]:
    """Rows of the agents at their subgoals."""
    return jnp.take_along_axis(x, goal[None, :, None], 0)


def exploration_loss(
    q: Float[Array, "time agents actions"], avail: Array, goal: Int[Array, " agents"], mask_t: Float[Array, " time"]
) -> Float[Array, " agents"]:
    """Mean divergence of softmax(q) from the uniform distribution over available actions, from the subgoal on."""
    probs = jax.nn.softmax(jnp.where(avail, q, -jnp.inf), -1) + TINY
    n_avail = jnp.sum(avail, -1, keepdims=True)
    divergence = jnp.sum(jnp.where(avail, probs * jnp.log(probs * n_avail), 0.0), -1)  # (T, N)
    after_goal = jnp.arange(len(mask_t))[:, None] >= goal[None]
    return agent_means(divergence, after_goal * mask_t[:, None])


def distance_loss(
    apart: Float[Array, "time agents"], known: Float[Array, "time agents actions"], goal: Int[Array, " agents"],
    mask_t: Float[Array, " time"],
) -> Float[Array, " agents"]:  # fmt: skip
    """Mean squared difference between distances in phi's space and cosine distances of action values."""
    unlike = 1.0 - optax.cosine_similarity(known, at_goal(known, goal), epsilon=TINY)
    return agent_means((apart - unlike) ** 2, jnp.broadcast_to(mask_t[:, None], apart.shape))


def agent_means(x: Float[Array, "time agents"], weight: Float[Array, "time agents"]) -> Float[Array, " agents"]:
    """Means of each agent over the steps with weight 1, of which there is at least the subgoal's."""
    return jnp.sum(weight * x, 0) / jnp.sum(weight, 0)
