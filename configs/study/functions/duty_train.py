# A credit function (TFCAF) for duty, 10 agents, written by a language model.
# Model: Claude
# Date: 2026-11-28, round_3_candidate_1_try_0 of qllm_jax.generate.
# Prompts: sha256 447a0793baee1834c95ffc03ad6c356292cff1cdc518d7b9d9514707690bcbb2.
# Chosen by the evaluator, who saw short trainings: It gives all credit to the agent on duty and exactly none to the
#   others, as the reward has it, at one constant and a half times the length of the plain sum's weights. No difference
#   in return was shown to the same credit at greater lengths, so reading decided: one constant is plainer than a gain
#   that depends on the share on duty or a cap, and its moderate size left a TD error no larger than theirs.
# IGM on: The reward only rises with a right answer of the agent on duty and no agent's answer harms what another
#   earns, so each agent's own best action is also the team's best and negative weights are not needed.

import jax
import jax.numpy as jnp

IGM = True

GAIN = 1.5  # length of the weights, in lengths of the plain sum's


def credit(state):
    """Only the agents on duty bring about the reward, so they carry all of the credit, and those off duty get none in this step.
    The weights are one and a half times as long (root of the sum of squares) as those of the plain sum, because a reward that hangs on few agents says more about each of them, and each is corrected more rarely."""
    duty = jnp.clip(state["on_duty"], 0.0, 1.0)
    n = duty.shape[0]
    even = jnp.ones_like(duty) / n
    # at least one agent on duty: the sum of squares is 1 or more; nobody on duty: the plain sum
    length = jnp.sqrt(jnp.maximum(jnp.sum(duty * duty), 1.0))
    weights = jnp.where(jnp.sum(duty) > 0.5, GAIN * duty / (length * n**0.5), even)
    bias = 0.0
    return weights, bias
