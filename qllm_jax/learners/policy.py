"""Stochastic policies of the actor-critic methods, for which the outputs of the agents' network are logits.

The policy that learns is the softmax itself. Exploration beyond it (`epsilon_*`, a floor of uniform draws) is part of
the behavior only.
"""

import distrax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from qllm_jax.core import options
from qllm_jax.core.rollout import Policy, epsilon_greedy, softmax_sampled
from qllm_jax.learners import batches

UNAVAILABLE = -1e10  # logit; finite, as gradients through -inf are NaN
MIN_ENTROPY = 1e-6  # nats: below it the adaptive bonus fades instead of dividing by zero
IN_EVALUATION: dict[str, Policy] = {"greedy": epsilon_greedy, "sampled": softmax_sampled}


def in_evaluation(part: str, choice: str) -> Policy:
    """Return the policy of evaluations: "greedy" or "sampled". UserError for any other choice."""
    return IN_EVALUATION[options.choice(part, "evaluation", choice, IN_EVALUATION)]


def distribution(
    logits: Float[Array, "... agents actions"], avail: Bool[Array, "... agents actions"]
) -> distrax.Categorical:
    """Softmax policies of all agents over their available actions."""
    return distrax.Categorical(logits=jnp.where(avail, logits, UNAVAILABLE))


def actions_of_slots(
    key: jax.Array, pi: distrax.Categorical, action_t: Int[Array, "time batch agents"]
) -> Int[Array, "slots batch agents"]:
    """Return the actions taken and, for the last slot, in which none was, a draw from the policy `pi` of all slots.

    The key is consumed.
    """
    return jnp.concatenate([action_t, pi[-1:].sample(seed=key)])


def straight_through(
    key: jax.Array, logits: Float[Array, "... agents actions"], avail: Bool[Array, "... agents actions"]
) -> Float[Array, "... agents actions"]:
    """A one-hot draw whose gradient is that of the softmax of the noisy logits. The key is consumed.

    Hard Gumbel-softmax of temperature 1 (Jang et al. 2017, arxiv.org/abs/1611.01144).
    """
    noisy = jnp.where(avail, logits + jax.random.gumbel(key, logits.shape), UNAVAILABLE)
    soft = jax.nn.softmax(noisy, -1)
    hard = jax.nn.one_hot(jnp.argmax(noisy, -1), logits.shape[-1])
    return hard + (soft - jax.lax.stop_gradient(soft))


def mean_entropy(pi: distrax.Categorical, mask: Float[Array, "time batch"]) -> Float[Array, ""]:
    """Entropy of policies (T, B, N), mean over agents and the steps that happened."""
    return batches.agents_mean(jnp.asarray(pi.entropy()), mask)


def adaptive_bonus(entropy: Float[Array, ""]) -> Float[Array, ""]:
    """Entropy over itself: its gradient is relative, so one coefficient serves all scales (LICA's regularizer)."""
    return entropy / jnp.maximum(jax.lax.stop_gradient(entropy), MIN_ENTROPY)
