# Tasks of agents for lbf, 2 agents, written by a language model.
# Model: claude
# Date: 2026-11-27, round_1_candidate_1_try_0 of qllm_jax.generate.
# Prompts: sha256 68458eb85a52fe60cb92cb0e2d49c37d6a172d96ebdbb96858688f241311024d.
# Chosen by rule: the first of this round's functions with the fewest repairs

import jax
import jax.numpy as jnp

TASKS = 6
SOFT = 0.25


def assign(state):
    """All agents are sent to the food that the whole team can reach soonest: 1 to 4 say whether it lies north, south,
    west or east of the agent, 5 that the agent is beside it and is to load, and 0 that no food is left."""
    pos, food, there = state["agent_pos"], state["food_pos"], state["food_level"] > 0.0
    steps = jnp.abs(pos[:, None] - food[None]).sum(-1)
    # Of two foods that are as far, the first, so that nobody changes his mind.
    team = jnp.where(there, steps.sum(0) + SOFT * jnp.arange(food.shape[0]), 1000.0)
    goal = jax.nn.one_hot(jnp.argmin(team), food.shape[0])
    apart = (goal[:, None] * food).sum(0)[None] - pos
    rows, columns = apart[:, 0], apart[:, 1]
    vertical = jnp.where(rows < 0.0, 1, 2)
    horizontal = jnp.where(columns < 0.0, 3, 4)
    direction = jnp.where(jnp.abs(rows) >= jnp.abs(columns), vertical, horizontal)
    task = jnp.where(jnp.abs(rows) + jnp.abs(columns) < 1.5, 5, direction)
    return jnp.where(there.any(), task, 0).astype(jnp.int32)
