# Reward credit for mpe_spread, 3 agents, written by a language model.
# Model: claude
# Date: 2026-11-27, round_1_candidate_1_try_0 of qllm_jax.generate.
# Prompts: sha256 cf827947e0db1b37bae1838db0309fe25ce88a7b5b9eea2daf11016fdf8536e4.
# Chosen by rule: the first of this round's functions with the fewest repairs

import jax
import jax.numpy as jnp

FAR = 5.0
CLOSE = 0.3


def lengths(d):
    return jnp.sqrt(jnp.maximum(jnp.sum(d * d, axis=-1), 1e-12))


def credit(state, actions, reward, next_state):
    """Each agent gets an equal share of the team's reward, and what the team would lose without it: how much nearer it
    brings the landmarks to an agent, less the collisions that it has part in."""
    pos, marks = next_state["agent_pos"], next_state["landmark_pos"]
    n = pos.shape[0]
    away = jnp.minimum(lengths(pos[:, None] - marks[None]), FAR)
    same = jnp.eye(n)
    # Distance of each landmark to the nearest of the other agents, for each agent.
    others = jnp.minimum((away[None] + FAR * same[:, :, None]).min(1), FAR)
    covers = (others - away.min(0)[None]).sum(-1)
    near = (lengths(pos[:, None] - pos[None]) < CLOSE).astype(jnp.float32) * (1.0 - same)
    return reward / n + 0.5 * n * covers - near.sum(-1)
