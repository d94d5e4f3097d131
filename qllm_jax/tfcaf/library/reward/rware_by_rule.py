# Reward credit for the robotic warehouse by a rule: what each agent delivered, as rware itself pays its agents.
import jax.numpy as jnp


def credit(state, actions, reward, next_state):
    """Agents on a goal with a requested shelf share the reward; if there are none, those that put down a shelf."""
    on_goal = (jnp.abs(next_state["agent_pos"][:, None] - state["goal_pos"][None]).sum(-1) < 0.5).any(-1)
    load, load_tp1 = jnp.round(state["agent_load"]), jnp.round(next_state["agent_load"])
    delivers = on_goal & (load_tp1[:, None] == jnp.round(state["request"])[None]).any(-1)
    puts_down = (load >= 0.0) & (load_tp1 < 0.0)  # pays with reward_type=two_stage alone
    who = jnp.where(delivers.any(), delivers, puts_down)
    even = jnp.ones(actions.shape[0]) / actions.shape[0]
    return reward * jnp.where(who.any(), who / jnp.maximum(who.sum(), 1), even)
