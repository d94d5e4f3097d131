# Tasks of agents for duty, 10 agents, written by a language model.
# Model: claude
# Date: 2026-11-27, round_1_candidate_1_try_0 of qllm_jax.generate.
# Prompts: sha256 90b1bf61b6e86821b6a735d4a55d81a122e6d9a801201873acfbb289609d4af6.
# Chosen by rule: the first of this round's functions with the fewest repairs

import jax
import jax.numpy as jnp

TASKS = 2


def assign(state):
    """Task 1 is to answer, for agents on duty; task 0 is to do whatever, as the answer changes nothing."""
    return (state["on_duty"] > 0.5).astype(jnp.int32)
