# A credit function (TFCAF) for modes, 10 agents, written by a language model.
# Model: Claude
# Date: 2026-11-27, round_2_candidate_2_try_0 of qllm_jax.generate.
# Prompts: sha256 1934b74aafa0631a08795a540c9b7f342d23a92cf3d4e600e314134e865f8929.
# Chosen by the evaluator: It gives every agent the same weight 1/n and a bias of 0 in all states, which matches a
#   reward that is the mean of independent pays: as no agent sees its mode, each has to learn the plain average pay of
#   its actions (0.75 for the common against 0.5 for the rare one), and weights that follow the modes would distort
#   that comparison. The candidates differ only in how they justify the bias of 0; this one's formula p + (2 - 3p) *
#   mean(rare) follows exactly from the reward and shows why no fixed bias from the modes suits all that the team may
#   play.
# IGM on: The reward is a mean of pays that each depend only on the agent's own action and mode, so what is best for an
#   agent by its own value is also best for the team, and no negative weight is needed.

import jax
import jax.numpy as jnp

IGM = True


def credit(state):
    """All agents are alike, each adds its own pay to the mean with the same share 1/n, and none sees its mode, so
    each must learn the plain average pay of its actions over both modes (0.75 against 0.5), which equal weights give,
    while weights that rise with the rare mode would count its pay more often than it occurs (from 1.5 times the
    common weight on they would turn the best action round).
    The bias is 0 because, when a share p of the agents plays action 0, the expected reward given the modes is
    p + (2 - 3p) * mean(rare), whose slope in mean(rare) changes sign at p = 2/3, so no fixed bias that depends on the
    modes is right for all that the agents may be doing, and modes are drawn anew, so they say nothing of later steps.
    """
    rare = state["rare"]
    n = rare.shape[0]
    weights = jnp.full_like(rare, 1.0 / n)
    bias = 0.0
    return weights, bias
