# Tasks of agents for mpe_spread, 3 agents, written by a language model.
# Model: claude
# Date: 2026-11-27, round_1_candidate_1_try_0 of qllm_jax.generate.
# Prompts: sha256 5ce3fa103d28b56f8eb82e342631ac6f2402caee7367fef2314bb1e0e2c5d815.
# Chosen by rule: the first of this round's functions with the fewest repairs

import jax
import jax.numpy as jnp

TASKS = 5
THERE = 0.1
TAKEN = 100.0


def assign(state):
    """Agents are matched with landmarks, the nearest pair first, so that each landmark has one. The task is the push
    that leads there: 1 left, 2 right, 3 down, 4 up, and 0 to stay once the agent is on its landmark."""
    pos, marks = state["agent_pos"], state["landmark_pos"]
    n, m = pos.shape[0], marks.shape[0]
    apart = marks[None] - pos[:, None]
    left = jnp.abs(apart).sum(-1)
    goal = jnp.zeros((n, 2))
    for _ in range(n):
        pair = jax.nn.one_hot(jnp.argmin(left.reshape(-1)), n * m).reshape(n, m)
        goal = goal + (pair[:, :, None] * apart).sum(1)
        left = left + TAKEN * (pair.sum(1)[:, None] + pair.sum(0)[None])
    x, y = goal[:, 0], goal[:, 1]
    push = jnp.where(jnp.abs(x) >= jnp.abs(y), jnp.where(x < 0.0, 1, 2), jnp.where(y < 0.0, 3, 4))
    return jnp.where(jnp.maximum(jnp.abs(x), jnp.abs(y)) < THERE, 0, push).astype(jnp.int32)
