# A credit function (TFCAF) for lbf, 2 agents, written by a language model.
# Model: Claude
# Date: 2026-11-28, round_3_candidate_1_try_0 of qllm_jax.generate.
# Prompts: sha256 1497e65b80b25601f7be4dd6447711b5678c1a66bee865a08ee772df00586aeb.
# Chosen by the evaluator, who saw short trainings: Most weight is equal, as each food needs all agents, and a bounded
#   part leans to the agent still missing at the food that the team can eat first. As the reward is zero until a food
#   is eaten, its small bias rises with the team's nearness to a common food and is exactly 0 when none is left, so
#   that progress is told apart without touching the weights. The trainings show no difference between the candidates;
#   this one is plain, bounded and right in all states.
# IGM on: A load in vain costs nothing here, and going to a food and loading beside it is good by each agent's own
#   value and for the team, so positive weights suffice.

import jax
import jax.numpy as jnp

IGM = True

BASE = 0.6
VALUE = 0.5
REACH = 14.0


def credit(state):
    """Every food needs all agents together, so most weight is equal and the rest leans to the agent still missing at
    the food the team is about to eat. The bias is a small value of the state that rises smoothly as the team as a
    whole, and above all its last agent, comes near to a living food, and is exactly 0 when none is left."""
    pos = state["agent_pos"]
    food = state["food_pos"]
    alive = state["food_level"] > 0.5
    loading = (jnp.abs(state["last_action"] - 5.0) < 0.5).astype(jnp.float32)
    n = pos.shape[0]

    # steps from agent i to a cell beside food f, shape (n, foods); gone foods are masked below
    steps = jnp.sum(jnp.abs(jnp.expand_dims(pos, 1) - jnp.expand_dims(food, 0)), axis=-1) - 1.0
    steps = jnp.maximum(steps, 0.0)

    # agents that wait at a food and load there bind the team to it
    beside = (steps < 0.5).astype(jnp.float32)
    waiting = jnp.mean(beside * jnp.expand_dims(loading, 1), axis=0)

    longest = jnp.max(steps, axis=0)
    average = jnp.mean(steps, axis=0)
    score = -jnp.minimum(longest, 30.0) / 2.0 - 0.1 * jnp.minimum(average, 30.0) + 1.5 * waiting
    target = jax.nn.softmax(jnp.where(alive, score, -40.0))

    any_food = jnp.any(alive).astype(jnp.float32)
    way = jnp.sum(steps * jnp.expand_dims(target, 0), axis=1) * any_food

    # how far behind the team's mean an agent is, brought to about one unit and bounded
    lag = jnp.clip((way - jnp.mean(way)) / 4.0, -1.0, 1.0)
    weights = BASE / n + (1.0 - BASE) * jax.nn.softmax(lag)

    # closeness of the team to its nearest common food: half for the mean way, half for the last agent's way
    near = 1.0 - jnp.clip((0.5 * average + 0.5 * longest) / REACH, 0.0, 1.0)
    near = jnp.where(alive, near, 0.0)
    bias = VALUE * jnp.max(near) * any_food
    return weights, bias
