# A credit function (TFCAF) for mpe_tag, 3 agents, written by a language model.
# Model: Claude
# Date: 2026-11-27, round_1_candidate_1_try_0 of qllm_jax.generate.
# Prompts: sha256 fcdeaaaf7211d2ef97ec52092cb038e8fcdf79773c678c8c5c44073a540fb193.
# Chosen by rule: the first of this round's functions with the fewest repairs
# IGM on: as its author set it

import jax
import jax.numpy as jnp

IGM = True

TOUCH = 0.125        # centers nearer than this: the agent touches the prey
REACH = 0.5          # length over which an agent's influence on the prey fades
MAX_LEAD = 0.4       # seconds that positions are extrapolated at most
AGENT_SPEED = 1.0    # top speed of an agent
PREY_SPEED = 1.3     # top speed of the prey
FLOOR = 0.3          # part of the weight that is shared out equally


def length(d):
    return jnp.sqrt(jnp.maximum(jnp.sum(d * d, axis=-1), 1e-12))


def credit(state):
    """Reward comes only from agents that touch the prey, so weight goes to those that touch it or soon can: near it now
    and shortly ahead, closing in, with no obstacle in the way, and those that cut off its escape from the others.
    Influence fades with distance, so agents that are all far away share equally, and a floor lets each one learn."""
    pos = state["agent_pos"]
    vel = state["agent_vel"]
    prey = state["prey_pos"]
    prey_vel = state["prey_vel"]
    obstacles = state["obstacle_pos"]
    n = pos.shape[0]

    # Where the prey is, seen from each agent, now and after a short lead time.
    rel = jnp.expand_dims(prey, 0) - pos
    rel_vel = jnp.expand_dims(prey_vel, 0) - vel
    dist = length(rel)
    gap = jnp.maximum(dist - TOUCH, 0.0)
    lead = jnp.expand_dims(jnp.clip(gap / AGENT_SPEED, 0.0, MAX_LEAD), 1)
    gap_ahead = jnp.maximum(length(rel + lead * rel_vel) - TOUCH, 0.0)

    near = jnp.exp(-(0.6 * gap + 0.4 * gap_ahead) / REACH)
    touch = jax.nn.sigmoid((TOUCH - dist) / 0.02)

    # Speed at which the distance shrinks, from -1 to 1.
    direction = rel / jnp.expand_dims(jnp.maximum(dist, 0.05), 1)
    closing = -jnp.sum(rel_vel * direction, axis=-1) / (AGENT_SPEED + PREY_SPEED)
    closing = jnp.clip(closing, -1.0, 1.0)

    # Is an obstacle on the straight way from the agent to the prey?
    to_obs = jnp.expand_dims(obstacles, 0) - jnp.expand_dims(pos, 1)
    rel_row = jnp.expand_dims(rel, 1)
    along = jnp.sum(to_obs * rel_row, axis=-1)
    square = jnp.expand_dims(jnp.maximum(dist * dist, TOUCH * TOUCH), 1)
    part = jnp.expand_dims(jnp.clip(along / square, 0.0, 1.0), 2)
    miss = length(to_obs - part * rel_row)
    free = jnp.prod(1.0 - jax.nn.sigmoid((0.22 - miss) / 0.02), axis=1)
    blocked = (1.0 - free) * (1.0 - touch)

    # Holding a side of the prey that near teammates do not hold: 0 to 1.
    apart = 0.5 * (1.0 - jnp.clip(jnp.matmul(direction, direction.T), -1.0, 1.0))
    others = 1.0 - jnp.eye(n)
    flank = jnp.sum(others * apart * jnp.expand_dims(near, 0), axis=1) / max(n - 1, 1)

    # All terms but the touch fade with distance; the scores span about 3 units.
    score = near * (1.6 + 0.6 * closing + 0.5 * flank - 0.6 * blocked) + 0.6 * touch

    weights = (1.0 - FLOOR) * jax.nn.softmax(score) + FLOOR / n
    bias = 0.0
    return weights, bias
