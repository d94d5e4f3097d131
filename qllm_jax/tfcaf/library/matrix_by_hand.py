"""Credit for repeated matrix games: whoever's choice can move the payoff. Works for any table, any number of agents."""

import jax.numpy as jnp

IGM = True


def credit(state):
    """An agent's stake is the gap between its best and its worst action if the others repeat what they last did.

    Half of the credit is shared out equally, so that all agents go on learning, and half of it by stake.
    """
    payoff, last = state["payoff"], state["last_action"]
    n, actions = last.shape[0], payoff.shape[0]
    # Before the first step there is nothing to repeat: then the others choose evenly.
    repeated = 1.0 * (last[:, None] == jnp.arange(actions)[None])
    chance = jnp.where(last[:, None] < 0, 1.0 / actions, repeated)  # (agents, actions)
    stakes = []
    for i in range(n):
        own = jnp.moveaxis(payoff, i, 0)  # the agent's own action first, then the others in order
        for j in range(n - 1, -1, -1):
            if j != i:
                own = own @ chance[j]  # takes the last axis away
        stakes.append(jnp.max(own) - jnp.min(own))
    stake = jnp.stack(stakes)
    total = jnp.sum(stake)
    share = jnp.where(total > 0, stake / jnp.where(total > 0, total, 1.0), 1.0 / n)
    return 0.5 / n + 0.5 * share, 0.0
