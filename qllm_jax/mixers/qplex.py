"""QPLEX (Wang et al. 2021, arxiv.org/abs/2008.01062): duplex dueling, any team value with the agents' argmax."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from qllm_envs import Spec
from qllm_jax.core import options
from qllm_jax.core.networks import Mlp, mlp_heads
from qllm_jax.mixers.base import Mixer, MixerInputs

PART = "mixer 'qplex'"
TINY = 1e-10  # added to every |weight|, as the original does: agents' greedy actions stay the team's
NEEDS_ACTION_VALUES = True  # the advantage compares the chosen value with the largest one


class QplexNetwork(nn.Module):
    """Q_tot = sum_i q~_i + sum_i sg(q~_i - m~_i) (lambda_i(s, a) - 1).

    q~ = w(s) q + v(s) of the chosen actions and m~ of the best ones, w > 0; lambda > 0 is a sum over `heads`. sg stops
    the gradient: the agents learn through the first sum alone, as in the original code, with the slope w. The function
    itself has the slope w lambda by a chosen value while the best ones stay; `stops=False` leaves sg out.
    """

    n_actions: int
    heads: int
    adv_layers: int
    adv_dim: int
    hypernet_dim: int
    stops: bool = True

    @nn.compact
    def __call__(self, inputs: MixerInputs) -> jax.Array:
        n_agents, state = inputs.chosen_q.shape[0], inputs.state
        w = jnp.abs(Mlp((self.hypernet_dim,), n_agents, name="w")(state)) + TINY
        v = Mlp((self.hypernet_dim,), n_agents, name="v")(state)
        chosen = w * inputs.chosen_q + v
        advantage = w * (inputs.chosen_q - inputs.max_q)
        advantage = jax.lax.stop_gradient(advantage) if self.stops else advantage
        return jnp.sum(chosen) + advantage @ (self._importance(state, inputs.action) - 1.0)

    def _importance(self, state: jax.Array, action: jax.Array) -> jax.Array:
        """lambda (N,)."""
        n_agents, hidden = action.shape[0], (self.adv_dim,) * (self.adv_layers - 1)
        joint = jnp.concatenate([state, jax.nn.one_hot(action, self.n_actions).reshape(-1)])
        key = jnp.abs(mlp_heads(self.heads, hidden, 1, "key")(state)) + TINY  # (heads, 1)
        agents = nn.sigmoid(mlp_heads(self.heads, hidden, n_agents, "agents")(state))  # (heads, N)
        actions = nn.sigmoid(mlp_heads(self.heads, hidden, n_agents, "actions")(joint))
        return jnp.sum(key * agents * actions, 0)


def make(spec: Spec, *, heads: int = 4, adv_layers: int = 2, adv_dim: int = 64, hypernet_dim: int = 64) -> Mixer:
    """QPLEX for any environment. UserError for sizes that make no network.

    Sizes are pymarl2's unless given. The original's: heads 4 and adv_layers 1 on SMAC, heads 10 and adv_layers 3 on toy
    games (its `num_kernel`, `adv_hypernet_layers`, `adv_hypernet_embed`; `hypernet_dim` is its `hypernet_embed`).
    """
    network = QplexNetwork(
        spec.n_actions,
        options.integer(PART, "heads", heads),
        options.integer(PART, "adv_layers", adv_layers),
        options.integer(PART, "adv_dim", adv_dim),
        options.integer(PART, "hypernet_dim", hypernet_dim),
    )
    return Mixer(
        network.init,
        network.apply,  # pyright: ignore[reportArgumentType]
        needs_action_values=NEEDS_ACTION_VALUES,
        unstopped=network.clone(stops=False).apply,  # pyright: ignore[reportArgumentType]
    )
