# A credit function (TFCAF) for duty, 10 agents, written by a language model.
# Model: Claude
# Date: 2026-11-27, round_3_candidate_1_try_0 of qllm_jax.generate.
# Prompts: sha256 71d0805770c0f410df58ea176b13717c54ba5926b4640e74a6a9cc051c99f9e9.
# Chosen by the evaluator: It divides all of the weight equally among the agents on duty and gives exactly 0 to the
#   others, which is just how the reward is made, and it rightly ignores the symbols. It does so in one line without
#   clipping or a fallback for states that cannot occur, and its comment says why the bound on the count is there. The
#   others compute the same weights; this one is the plainest in code and explanation.
# IGM on: The reward is a sum of separate shares, one for each agent on duty, that depend only on that agent's own
#   answer, so the best answer of each agent by its own value is also best for the team and no negative weight is
#   needed.

import jax
import jax.numpy as jnp

IGM = True


def credit(state):
    """Only the answers of the agents on duty bring reward, each in equal share, so they share all of the weight equally and the others get exactly 0.
    Symbols and later duty are drawn by chance and depend on no action, so they move no weight and the bias is 0."""
    on_duty = state["on_duty"]

    # Equal shares among those on duty, which sum to 1 and are never negative.
    # An agent off duty gets 0: what it answers changes nothing, so a correction
    # would only be noise to it. It learns in the steps in which it is on duty,
    # and all agents are equally likely to be. Some agent is on duty in every
    # state, so the bound of one agent only keeps the division safe.
    weights = on_duty / jnp.maximum(jnp.sum(on_duty), 1.0)
    bias = 0.0
    return weights, bias
