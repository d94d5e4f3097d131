# A credit function (TFCAF) for modes, 10 agents, written by a language model.
# Model: Claude
# Date: 2026-11-27, round_1_candidate_3_try_0 of qllm_jax.generate.
# Prompts: sha256 09337d65a871e351df0a24467b154f0ce476fa91abeeef50162cc374ff538929.
# Chosen by the evaluator: It gives each agent exactly what the right answer changes in the team's reward, +1/n in the
#   common mode and -2/n in the rare one, so one mode-blind value per symbol and action fits the reward in every state
#   without blur, and the right answer stays the best action. The others keep the same 1 to -2 ratio and only divide it
#   by a constant of about 1.32, which does not change who gets credit and adds a constant that does not follow from
#   the reward. It reads the mode correctly, holds in all states and for any team size, and is the plainest to follow.
# IGM off: Agents do not see their mode, and in the rare mode the answer that is best on average, and so looks best to
#   the agent, pays nothing while the other pays 2, so no sum of their values with positive weights ranks the joint
#   actions rightly in those states, while negative weights there do and still leave the right answer as each agent's
#   own best.

import jax
import jax.numpy as jnp

IGM = False

COMMON_GAIN = 1.0   # pay(right answer) - pay(other answer) in the common mode: 1 - 0
RARE_GAIN = -2.0    # pay(right answer) - pay(other answer) in the rare mode: 0 - 2


def credit(state):
    """The right answer gains an agent +1 in the common mode and loses it 2 in the rare one, so with weights +1/n
    and -2/n the unseen mode no longer blurs what an agent learns about its symbol, and its best action stays the
    right answer, which is also the best on average (0.75 against 0.5). If the right answer counts as 1/3 and the
    other as -2/3, the team's reward is exactly 2/3 plus the weighted sum in every state, so what is left for the
    bias does not depend on the state and is close to the mean that standardization removes: 0."""
    rare = state["rare"]
    n = rare.shape[0]
    gain = jnp.where(rare > 0.5, RARE_GAIN, COMMON_GAIN)
    weights = gain / n
    bias = 0.0
    return weights, bias
