# A credit function (TFCAF) for relay, 10 agents, written by a language model.
# Model: Claude
# Date: 2026-11-27, round_3_candidate_2_try_0 of qllm_jax.generate.
# Prompts: sha256 3f792799250905a9f87438514d18260d8214df833f77e5e758cc471f89ddc539.
# Chosen by the evaluator: It gives the agent on duty all the weight from the answer to the pay and the others none,
#   exactly as the reward says, so no agent is corrected by outcomes that its answer did not touch, and the settled
#   outcome of the round goes into the bias at once. Its weights sum to 1 in every step, so the agents' values can
#   still quickly correct what the bias constants miss, while a lowered weight in the waiting steps would slow this and
#   a floor for agents off duty would only add noise. It needs no tuned constant for the weights, is safe where nobody
#   is on duty, and is the ...
# IGM on: Each agent's right answer depends on its own symbol alone and can only raise the team's pay, whatever the
#   others do, so the best joint action is each agent's own best and no negative weight is needed.

import jax
import jax.numpy as jnp

IGM = True

# One step in four pays 1 with the share p of right answers, so the mean reward is m = p / 4 and a pay of 1 against 0
# is 1 / sqrt(m * (1 - m)) on the standardized scale: 5.7 at p = 1/8 (guessing), 2.3 at p = 1. The phase of learning
# lies between: p = 0.36 gives m = 0.09 and a size of 3.5. What these constants miss, the agents' values learn.
PAY = 3.5
MEAN_REWARD = 0.09


def credit(state):
    """Only the answer of the agent on duty brings the pay, and the others' answers change nothing now or later, so it
    gets all the weight from the step of the answer to the step that pays; each agent is on duty in its turn and learns
    from its own rounds, free of the noise of others'. Once the answers are given nobody can change this round's pay,
    so its known outcome, less the average that standardizing subtracts in each step left, goes into the bias: a right
    answer is worth more and a wrong one less in the very next state."""
    on_duty = jnp.clip(state["on_duty"], 0.0, 1.0)
    symbol = state["symbol"]
    answer = state["answer"]
    steps_to_pay = jnp.clip(state["steps_to_pay"], 0.0, 3.0)
    n = on_duty.shape[0]

    # Equal shares among those on duty; the bound of 1 agent never distorts, as there is at least one in every round.
    # Should there be none, all agents are alike and get equal weights.
    count = jnp.sum(on_duty)
    duty = on_duty / jnp.maximum(count, 1.0)
    uniform = jnp.ones_like(on_duty) / n
    weights = jnp.where(count > 0.5, duty, uniform)

    # Share of the agents on duty that have answered (all or none), and that have answered rightly; both are 0 in the
    # first step of a round, where every answer is -1, and so is the bias: a round is worth 0 on average.
    answered = answer > -0.5
    right = answered & (jnp.abs(answer - symbol) < 0.5)
    known = jnp.sum(duty * answered.astype(jnp.float32))
    pay = jnp.sum(duty * right.astype(jnp.float32))

    # The rewards left in this round, this step's included: the pay, less the mean reward in each of these steps.
    # Later rounds are worth about 0 on the standardized scale.
    worth = PAY * (pay - known * MEAN_REWARD * (steps_to_pay + 1.0))
    # Weights and bias are multiplied by the number of agents in training, hence the division by n.
    bias = worth / n

    return weights, bias
