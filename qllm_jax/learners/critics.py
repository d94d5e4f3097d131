"""The critics' network, and two groups of parameters with an optimizer each: "agent" and "critic"."""

from collections.abc import Iterable
from typing import cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float

from qllm_jax import rewards
from qllm_jax.initializers import dense, uniform
from qllm_jax.learners import base
from qllm_jax.learners.base import Core, LearnerState
from qllm_jax.types import Hp, Params


class Critic(nn.Module):
    """Linear, ReLU, linear, ReLU, linear on the concatenation of named parts, for ONE agent.

    Each part has its own rows of the first kernel: under a vmap over agents, a part that they share (the state, which
    is most of the input) is multiplied once for all of them and never copied.
    """

    hidden_dim: int
    n_outputs: int

    @nn.compact
    def __call__(self, parts: dict[str, jax.Array]) -> jax.Array:
        fan_in = sum(part.shape[0] for part in parts.values())
        x = self.param("in_bias", uniform, (self.hidden_dim,), fan_in)
        for name, part in parts.items():
            x = x + part @ self.param(f"{name}_kernel", uniform, (part.shape[0], self.hidden_dim), fan_in)
        x = nn.relu(dense(self.hidden_dim, "hidden")(nn.relu(x)))
        return dense(self.n_outputs, "out")(x)


Inputs = tuple[dict[str, jax.Array], dict[str, jax.Array]]  # own parts (N, ...) of the agents, and shared ones


def init(critic: Critic, key: jax.Array, inputs: Inputs) -> Params:
    """Parameters for inputs like these. The key is consumed."""
    own, shared = inputs
    return critic.init(key, {name: part[0] for name, part in own.items()} | shared)


def of_agents(critic: Critic, params: Params, inputs: Inputs) -> Float[Array, "agents outputs"]:
    """The critic of every agent, for one sample."""
    own, shared = inputs
    one = lambda own: cast(jax.Array, critic.apply(params, own | shared))
    return jax.vmap(one)(own)


def initial(core: Core, params: dict[str, Params], followed: Iterable[str], key: jax.Array) -> LearnerState:
    """A state that has learned nothing: an optimizer a group, targets of the groups `followed`. Keeps the key."""
    optimizer = base.OPTIMIZERS[core.optimizer](1.0)
    opt_state = {name: optimizer.init(group) for name, group in params.items()}
    target_params = jax.tree.map(jnp.copy, {name: params[name] for name in followed})
    return LearnerState(params, target_params, opt_state, rewards.initial(), key)


def step(core: Core, state: LearnerState, group: str, lr: float | Array | None, hp: Hp, grads: Params) -> LearnerState:
    """One optimizer step of one group, at hp.lr where `lr` is None."""
    rate = jnp.asarray(hp.lr if lr is None else lr)
    old = (state.params[group], state.opt_state[group])
    params, opt_state = base.gradient_step(core, rate, hp.grad_clip, *old, grads)
    return state._replace(params=state.params | {group: params}, opt_state=state.opt_state | {group: opt_state})


def follow(state: LearnerState, hp: Hp, copy_target: Bool[Array, ""]) -> LearnerState:
    """The groups that have targets, an update later."""
    online = {name: state.params[name] for name in state.target_params}
    return state._replace(target_params=base.follow(online, state.target_params, hp, copy_target))


def metrics(loss: Array, grads: Params) -> dict[str, Array]:
    """What every method reports of its critic."""
    return {"loss": loss, "grad_norm": optax.tree.norm(grads)}


def policy_metrics(loss: Array, entropy: Array, grads: Params) -> dict[str, Array]:
    """What every method reports of its policy; the entropy is a mean over agents, in nats."""
    return {"policy_loss": loss, "entropy": entropy, "policy_grad_norm": optax.tree.norm(grads)}
