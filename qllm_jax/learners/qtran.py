"""QTRAN-base (Son et al. 2019, arxiv.org/abs/1905.05408): a joint value of any form, and agents whose sum agrees with
it at their greedy actions.

The sum of the agents' values is tied to the joint value by penalties instead of a structure: there is no mixer, and
`Q_jt`'s network reads the agents' hidden states. This is PyMARL's variant (`qtran_arch: qtran_paper`).
"""

from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from qllm_envs import View
from qllm_jax.core import options
from qllm_jax.core.networks import Mlp
from qllm_jax.core.types import Choice, Episode, Hp, Params
from qllm_jax.errors import UserError
from qllm_jax.learners import batches, double_q, targets
from qllm_jax.learners.base import Core, Learner, LossAux

PART = "learner 'qtran'"


class JointNetwork(nn.Module):
    """Q_jt(s, h, u) = f([s, sum_i g([h_i, onehot u_i])]) and V_jt(s), for one sample."""

    n_actions: int
    hidden_dim: int

    @nn.compact
    def __call__(self, state: Array, hidden: Array, action: Array) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Return (Q_jt, V_jt): state (S,), hidden states (N, H) and actions (N,) of the agents."""
        agents = jnp.concatenate([hidden, jax.nn.one_hot(action, self.n_actions)], -1)
        width = agents.shape[-1]
        code = jnp.sum(Mlp((width,), width, name="agents")(agents), 0)
        joint = Mlp((self.hidden_dim,) * 2, 1, name="joint")(jnp.concatenate([state, code]))
        return joint.squeeze(-1), Mlp((self.hidden_dim,) * 2, 1, name="value")(state).squeeze(-1)


class Method(NamedTuple):
    """The parts and the checked options of the method. All static."""

    core: Core
    network: JointNetwork
    opt_weight: float
    nopt_weight: float


class Values(NamedTuple):
    """Values of one episode. Leaves (T,)."""

    joint: Float[Array, " time"]  # Q_jt of the actions taken
    best_joint: Float[Array, " time"]  # Q_jt of the greedy actions
    offset: Float[Array, " time"]  # V_jt
    taken_sum: Float[Array, " time"]  # sum of the agents' values of the actions taken
    best_sum: Float[Array, " time"]  # sum of their largest available values
    returns: Float[Array, " time"]  # target of Q_jt


def make(core: Core, *, joint_dim: int = 64, opt_weight: float = 1.0, nopt_weight: float = 0.1) -> Learner:
    """`joint_dim` is the width of the joint networks; the weights are lambda_opt and lambda_nopt of equation 4.

    Defaults are PyMARL's. UserError for bad values, or with a mixer.
    """
    if core.mixer is not None:
        raise UserError("algo.learner 'qtran' has no mixer: set algo.mixer={}")
    method = Method(
        core,
        JointNetwork(core.env.spec.n_actions, options.integer(PART, "joint_dim", joint_dim)),
        options.number(PART, "opt_weight", opt_weight, low=0),
        options.number(PART, "nopt_weight", nopt_weight, low=0),
    )
    return double_q.learner(core, partial(init_params, method), partial(loss, method), ("agent", "joint"))


def init_params(method: Method, key: jax.Array, choice: Choice) -> Params:
    """Parameters of the agent and the joint networks. The key is consumed."""
    del choice
    key_agent, key_joint = jax.random.split(key)
    spec, agent = method.core.env.spec, method.core.agent
    state, action = jnp.zeros(spec.state_dim), jnp.zeros(spec.n_agents, jnp.int32)
    joint = method.network.init(key_joint, state, agent.initial_hidden(), action)
    return {"agent": agent.init(key_agent), "joint": joint}


def loss(
    method: Method, params: Params, target_params: Params, batch: Episode, view: View, hp: Hp
) -> tuple[Float[Array, ""], LossAux]:
    """L_td + lambda_opt L_opt + lambda_nopt L_nopt over a time-major batch (equations 4 to 7), and metrics."""
    online, target = batches.unroll_hidden(method.core, (params["agent"], target_params["agent"]), batch)
    of_episode = partial(episode_values, method, params["joint"], target_params["joint"])
    got = jax.vmap(of_episode, (1, 1, 1, 1, None), 1)(online, target, view, batch, hp)  # (T, B) each
    mean = lambda x: batches.masked_mean(x, batch.mask_t)
    error = got.joint - got.returns
    # The joint value is fixed in both penalties: the agents move towards it, not it towards them.
    fixed = jax.lax.stop_gradient
    opt = mean((got.best_sum - fixed(got.best_joint) + got.offset) ** 2)
    nopt = mean(jnp.minimum(got.taken_sum - fixed(got.joint) + got.offset, 0.0) ** 2)
    td = mean(error**2)
    total = td + method.opt_weight * opt + method.nopt_weight * nopt
    metrics = {"loss": total, "td_loss": td, "opt_loss": opt, "nopt_loss": nopt, "q_tot": mean(got.joint)}
    metrics |= {"target": mean(got.returns), "td_abs": mean(jnp.abs(error))}
    return total, (metrics, None)


def episode_values(
    method: Method, params: Params, target_params: Params, online: tuple[jax.Array, jax.Array],
    target: tuple[jax.Array, jax.Array], view: View, episode: Episode, hp: Hp,
) -> Values:  # fmt: skip
    """Values of one episode from the (hidden (T+1, N, H), q (T+1, N, A)) of the online and the target agents.

    The target of Q_jt is the target network's value of the online agents' greedy actions (double Q).
    """
    (hidden, q), (target_hidden, _) = online, target
    taken, best = double_q.taken_and_best(q, view, episode.action_t)
    joint: Any = jax.vmap(method.network.apply, (None, 0, 0, 0))  # pyright: ignore[reportArgumentType]
    of_taken, offset = joint(params, view.state, hidden, taken)
    of_best, _ = joint(params, view.state, hidden, best)
    bootstrap, _ = joint(target_params, view.state, target_hidden, best)
    returns = jax.lax.stop_gradient(targets.lambda_returns(episode, bootstrap, hp))
    sums = jnp.sum(batches.chosen_values(q[:-1], taken[:-1]), -1), jnp.sum(batches.chosen_values(q[:-1], best[:-1]), -1)
    return Values(of_taken[:-1], of_best[:-1], offset[:-1], *sums, returns)
