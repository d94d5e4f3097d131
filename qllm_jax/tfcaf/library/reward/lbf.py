# Reward credit for lbf, 2 agents, written by a language model.
# Model: claude
# Date: 2026-11-27, round_2_candidate_1_try_0 of qllm_jax.generate.
# Prompts: sha256 a1d3eb26ffdc76a36f218a8436f3cd6b2fbb94fcc851e376b17555389d696bf4.
# Chosen by the evaluator: It pays the loaders beside an eaten food by level, and weighs progress softly towards the
#   food that the whole team reaches soonest, so a change of mind shifts little. It gives nothing for staying anywhere,
#   so no credit can be collected while nothing is eaten.

import jax
import jax.numpy as jnp

LOAD = 5
PROGRESS = 0.02
SOFT = 2.0


def steps_to(pos, food):
    """Steps from each agent to each food; beside it is 1."""
    return jnp.maximum(jnp.abs(pos[:, None] - food[None]).sum(-1), 1.0)


def credit(state, actions, reward, next_state):
    """The agents that load beside an eaten food share its pay by their levels. Besides, each agent gets a little for a
    step towards the foods, most for the one that the whole team can reach soonest, and loses as much for a step away."""
    food, level = state["food_pos"], state["food_level"]
    before, after = steps_to(state["agent_pos"], food), steps_to(next_state["agent_pos"], food)
    there, left = level > 0.0, next_state["food_level"] > 0.0

    eaten = (there & ~left)[None]
    loads = actions == LOAD
    part = jnp.where(eaten & loads[:, None] & (before < 1.5), state["agent_level"][:, None], 0.0)
    worth = jnp.where(eaten, level[None], 0.0)
    paid = (worth * part / jnp.maximum(part.sum(0, keepdims=True), 1.0)).sum(-1) / jnp.maximum(worth.sum(), 1.0)
    n = actions.shape[0]
    busy = loads.astype(jnp.float32)
    blame = jnp.where(busy.sum() > 0.0, busy / jnp.maximum(busy.sum(), 1.0), 1.0 / n)
    share = jnp.where(paid.sum() > 0.0, paid, blame)

    stays = there & left
    near = jax.nn.softmax(jnp.where(stays, -before.sum(0) / SOFT, -100.0))
    closer = ((before - after) * (near * stays)[None]).sum(-1)
    return reward * share + PROGRESS * closer
