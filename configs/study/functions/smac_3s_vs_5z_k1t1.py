# A credit function (TFCAF) for smax, written by a language model.
# Model: Claude
# Date: 2026-11-27, round_1_candidate_1_try_0 of qllm_jax.generate.
# Prompts: sha256 9108c38228c9614421ea68aa0f5be8c94f8aba97214aec09772c1e0944ed31d2.
# Chosen by rule: the first of this round's functions with the fewest repairs
# IGM on: as its author set it

import jax
import jax.numpy as jnp

IGM = True

FAR = 46.0  # a distance longer than the diagonal of the map
SHOOT_RANGE = 6.0  # center to center, where an attack becomes available
MELEE_REACH = 1.37  # of a zealot, center to center
ZEALOT_STEP = 1.12
STALKER_STEP = 1.48
DEAD_SCORE = -2.0
UNIFORM_PART = 0.12


def credit(state):
    """Reward comes from damage and kills, so living stalkers that have a ready weapon, an enemy in range and above all
    a nearly dead one get more weight. Zealots must walk up to hit, so stalkers that are chased or about to be caught,
    whose retreat keeps the team's fire alive and draws enemies off the others, get more too; dead ones keep a little.
    """
    n = state["agent_pos"].shape[0]
    m = state["enemy_pos"].shape[0]
    alive = state["agent_alive"] > 0.5
    e_alive = state["enemy_alive"] > 0.5
    alive_f = alive.astype(jnp.float32)
    e_alive_f = e_alive.astype(jnp.float32)
    pair = alive[:, None] & e_alive[None, :]
    pair_f = pair.astype(jnp.float32)

    # what is left of each unit, as a share of its points (stalker 80 + 80, zealot 100 + 50)
    life = jnp.clip(0.5 * state["agent_health"] + 0.5 * state["agent_shield"], 0.0, 1.0)
    e_life = jnp.clip((100.0 * state["enemy_health"] + 50.0 * state["enemy_shield"]) / 150.0, 0.0, 1.0)
    e_weak = 1.0 - e_life

    # distances of living pairs; all others are far apart
    d = state["agent_pos"][:, None, :] - state["enemy_pos"][None, :, :]
    dist = jnp.sqrt(jnp.maximum(jnp.sum(d * d, axis=-1), 1e-12))
    dist = jnp.where(pair, dist, FAR)

    # weapon: readiness, and whether something can be shot now or after a step towards it
    ready = 1.0 - jnp.clip(state["agent_cooldown"], 0.0, 1.0)
    in_reach = pair_f * jax.nn.sigmoid((SHOOT_RANGE + 0.5 * STALKER_STEP - dist) / 0.5)
    can_shoot = jnp.max(in_reach, axis=1)
    fire = can_shoot * (0.35 + 0.65 * ready)

    # a chance to finish a weakened enemy
    finish = jnp.max(in_reach * (e_weak**2)[None, :], axis=1) * (0.4 + 0.6 * ready)

    # danger: zealots that strike now or after about one or two steps of walking
    strike = MELEE_REACH + 1.5 * ZEALOT_STEP
    near = jnp.sum(pair_f * jax.nn.sigmoid((strike - dist) / 0.6), axis=1)
    danger = near / (1.0 + near)

    # draw: the share of living enemies for which this agent is the nearest one to walk to
    pull = jax.nn.softmax(-dist / 1.5, axis=0) * pair_f
    draw = jnp.sum(pull, axis=1) / jnp.maximum(jnp.sum(e_alive_f), 1.0)

    # focus: fire that was just put on a living enemy, more on one that others also shoot or that is weak
    target = state["last_action"][:, None] - 6.0 - jnp.arange(m).astype(jnp.float32)[None, :]
    aims = (jnp.abs(target) < 0.5).astype(jnp.float32) * pair_f
    shared = jnp.sum(aims, axis=0) / max(n, 1)
    focus = jnp.sum(aims * (0.5 * shared + 0.5 * e_weak)[None, :], axis=1)

    score = (
        0.5 * life
        + 0.8 * fire
        + 0.6 * finish
        + 0.5 * danger
        + 0.4 * danger * (1.0 - ready)
        + 0.3 * danger * (1.0 - life)
        + 0.5 * draw
        + 0.3 * focus
    )
    score = jnp.where(alive, score, DEAD_SCORE)

    weights = (1.0 - UNIFORM_PART) * jax.nn.softmax(score) + UNIFORM_PART / max(n, 1)
    bias = 0.0
    return weights, bias
