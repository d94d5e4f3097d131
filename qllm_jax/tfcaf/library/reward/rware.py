# Reward credit for rware, 2 agents, written by a language model.
# Model: claude
# Date: 2026-11-27, round_2_candidate_1_try_0 of qllm_jax.generate.
# Prompts: sha256 7f72301bfde4ef1bb3ce84501e98b53aaf68acb6b7e4c4f25f068ac8ca7e9306.
# Chosen by the evaluator: It pays the agent that delivers and measures each errand by one number before and after the
#   step, and it sends agents with empty hands to different requested shelves where it can. Gains and losses of one
#   measure cancel when an agent goes to and fro.

import jax
import jax.numpy as jnp

NEAR = 0.01
CARRIES = 0.5
IDLE_LOAD = 0.1


def nearest(pos, cells, usable):
    """Steps from each agent to the nearest of the cells that are usable for it; 20 if there is none."""
    steps = jnp.abs(pos[:, None] - cells[None]).sum(-1)
    return jnp.minimum(jnp.where(usable, steps, 20.0).min(-1), 20.0)


def own_shelves(state):
    """Which shelves each agent may count: those to which no other agent with empty hands is nearer, else all."""
    steps = jnp.abs(state["agent_pos"][:, None] - state["shelf_pos"][None]).sum(-1)
    empty = (state["agent_load"] < -0.5)[:, None]
    first = jnp.where(empty, steps, 1000.0).min(0, keepdims=True)
    return steps <= first + 0.5


def standing(state, request, own):
    """How far each agent is with its errand: fetch a requested shelf, bring it to a goal, put an idle one away."""
    pos, load = state["agent_pos"], jnp.round(state["agent_load"])
    n_agents, n_shelves = pos.shape[0], state["shelf_pos"].shape[0]
    index = jnp.arange(n_shelves)
    wanted = (index[:, None] == jnp.round(request)[None]).any(-1)
    carried = (index[:, None] == load[None]).any(-1)
    has = load >= 0.0
    has_wanted = (jnp.round(request)[None] == load[:, None]).any(-1)
    full = (jnp.abs(state["storage_pos"][:, None] - state["shelf_pos"][None]).sum(-1) + 100.0 * carried[None]).min(-1)
    to_goal = nearest(pos, state["goal_pos"], jnp.ones((n_agents, state["goal_pos"].shape[0]), bool))
    free = jnp.broadcast_to(wanted & ~carried, (n_agents, n_shelves))
    mine = free & own
    usable = jnp.where(mine.any(-1, keepdims=True), mine, free)
    to_shelf = nearest(pos, state["shelf_pos"], usable)
    to_store = nearest(pos, state["storage_pos"], jnp.broadcast_to(full > 0.5, (n_agents, full.shape[0])))
    fetch = -NEAR * to_shelf
    bring = CARRIES - NEAR * to_goal
    away = -NEAR * 20.0 - IDLE_LOAD - NEAR * to_store
    return jnp.where(has_wanted, bring, jnp.where(has, away, fetch))


def credit(state, actions, reward, next_state):
    """The agent that delivers a requested shelf gets the pay for it. Besides, each agent gets what its errand gained in
    the step (nearer to a requested shelf, lifted it, nearer to a goal, an idle shelf put away) and loses what it lost."""
    request = state["request"]
    load = jnp.round(next_state["agent_load"])
    on_goal = (jnp.abs(next_state["agent_pos"][:, None] - state["goal_pos"][None]).sum(-1) < 0.5).any(-1)
    delivers = on_goal & (jnp.round(request)[None] == load[:, None]).any(-1)
    n = actions.shape[0]
    who = delivers.astype(jnp.float32)
    share = jnp.where(who.sum() > 0.0, who / jnp.maximum(who.sum(), 1.0), 1.0 / n)
    own = own_shelves(state)
    gained = standing(next_state, request, own) - standing(state, request, own)
    return reward * share + jnp.where(delivers, 0.0, gained)
