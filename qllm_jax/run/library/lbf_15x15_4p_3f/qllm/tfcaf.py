# A credit function (TFCAF) for lbf, 4 agents, written by a language model.
# Model: Claude
# Date: 2026-11-21, round_3_candidate_3_try_0 of qllm_jax.generate.
# Prompts: sha256 9e24007d986ef08dff2d5975fc313f7bd81a7f70ef91d0a0fc88a33548a87fdb.
# Chosen by the evaluator: It credits an agent at a food by whether its level is probably among the first that suffice
#   there and by how long the food would wait without it, and takes some of that credit away if a clearly sooner food
#   needs the agent and would make it late; the credit at the sooner food stays. Lateness is reckoned for each agent
#   from the later of its own arrival and the time when the food is ready, so an agent that is far off or on the way
#   anyway is not charged for a detour that costs nothing, and it uses the same six-step scale as the cost of doing
#   without the agent. The ...
# IGM on: All agents share one reward that is never negative and a failed load costs nothing here, so going to a food
#   and loading together never has to look worse to an agent by its own value, and sums with nonnegative weights can
#   rank the joint actions well enough for agents that act each by its own value.

import jax
import jax.numpy as jnp

IGM = True

FAR = 60.0  # steps, longer than an episode: stands for "never"
HORIZON = 6.0  # steps over which a nearer food counts for more than a farther one
VALUE_HORIZON = 10.0  # steps over which the worth of a food fades in the bias
EVEN_PART = 0.45  # part of the credit that is shared evenly
WIDTH_BESIDE = 0.3  # steps of doubt about who arrives first, beside the food
WIDTH_GROWTH = 0.07  # further doubt per step that the two agents still have to go
SOONER = 4.0  # steps by which one food must come before another to go first for sure
BUSY = 0.8  # how much an agent that an earlier food holds up loses for a later one


def steps_to_foods(agent_pos, food_pos):
    # Steps that each agent needs to stand beside each food, shape (agents, foods).
    gap = jnp.abs(agent_pos[:, None, :] - food_pos[None, :, :])
    return jnp.maximum(jnp.sum(gap, axis=-1) - 1.0, 0.0)


def steps_between_foods(food_pos):
    # Steps from a cell beside food g to one beside food f, shape (foods, foods), at least 0.
    gap = jnp.abs(food_pos[:, None, :] - food_pos[None, :, :])
    return jnp.maximum(jnp.sum(gap, axis=-1) - 2.0, 0.0)


def credit(state):
    """An agent gets credit for a food if it probably belongs to the first agents whose levels suffice to eat it (a
    matter that is open far from the food and settled beside it), more the longer the food would have to wait without
    this agent, and less if an earlier food needs the agent and would make it late for this one; foods count by their
    level and by how soon they can be eaten. A part is shared evenly so that all agents learn, and the bias is a
    cautious estimate of what the remaining foods are worth, given how near the agents that they need are."""
    level = jnp.maximum(state["agent_level"], 1.0)
    n = level.shape[0]
    n_foods = state["food_level"].shape[0]

    alive = (state["food_level"] > 0.5) & (state["food_pos"][:, 0] > -0.5)
    alive_f = alive.astype(jnp.float32)
    need = jnp.maximum(state["food_level"], 1.0)  # safe also for foods that are gone

    d = steps_to_foods(state["agent_pos"], state["food_pos"])  # (n, foods)
    not_self = jnp.eye(n)[:, :, None] < 0.5  # (n, n, 1)

    # When are enough levels beside the food: with all agents, and without agent i?
    arrived = (d[:, None, :] <= d[None, :, :] + 0.5).astype(jnp.float32)  # i is there when k arrives
    brought = level[:, None, None] * arrived  # (i, k, foods)
    present = jnp.sum(brought, axis=0)  # (k, foods)
    ready = jnp.min(jnp.where(present >= need[None, :] - 0.01, d, FAR), axis=0)  # (foods,)

    others = present[None, :, :] - brought  # (i, k, foods)
    enough = (others >= need[None, None, :] - 0.01) & not_self
    ready_without = jnp.min(jnp.where(enough, d[None, :, :], FAR), axis=1)  # (i, foods)
    delay = jnp.maximum(ready_without - ready[None, :], 0.0)
    loss = 1.0 - jnp.exp(-delay / HORIZON)  # from 0 (replaceable) to 1 (indispensable)

    # How probably is another agent j at the food before agent i? One half for equals; the farther both still have to
    # go, the less one step of difference decides.
    width = WIDTH_BESIDE + WIDTH_GROWTH * (d[:, None, :] + d[None, :, :])
    first = jax.nn.sigmoid((d[:, None, :] - d[None, :, :]) / width)  # (i, j, foods)
    first = first * not_self.astype(jnp.float32)

    # Is agent i still needed after those? The levels there before it have a mean and a variance; the more they are in
    # doubt, the softer the answer (0.3 turns a variance into the squared scale of a sigmoid).
    before = jnp.sum(level[None, :, None] * first, axis=1)  # (i, foods)
    doubt = jnp.sum(level[None, :, None] * level[None, :, None] * first * (1.0 - first), axis=1)
    scale = jnp.sqrt(0.0625 + 0.3 * jnp.maximum(doubt, 0.0))  # at least a quarter of a level
    needed = jax.nn.log_sigmoid((need[None, :] - before - 0.5) / scale)
    needed = jnp.maximum(needed, -8.0)

    # Would a clearly sooner food g hold agent i up, so that it comes late for food f? Not if it can eat g and still be
    # beside f by the time that f would be ready anyway, and hardly if it already stands beside f.
    sooner = jnp.clip((ready[None, :] - ready[:, None]) / SOONER, 0.0, 1.0) * alive_f[:, None]  # (g, f)
    after = ready[:, None] + 1.0 + steps_between_foods(state["food_pos"])  # (g, f): beside f, having eaten g
    planned = jnp.maximum(d, ready[None, :])  # (i, f): when agent i is of use at f if it goes there directly
    late = jnp.maximum(after[None, :, :] - planned[:, None, :], 0.0)  # (i, g, f)
    held_up = jnp.exp(needed)[:, :, None] * sooner[None, :, :] * (1.0 - jnp.exp(-late / HORIZON))
    busy = jnp.max(held_up, axis=1) * jnp.minimum(d / 2.0, 1.0)  # (i, f), from 0 to 1

    # Share of each agent in each food: needed, strong enough to help, hard to replace, free to come.
    useful = jnp.maximum(jnp.minimum(level[:, None], need[None, :]), 1.0)
    logits = needed + 0.5 * jnp.log(useful) + jnp.log(0.4 + loss) - BUSY * busy
    part = jax.nn.softmax(logits, axis=0)  # (n, foods), sums to 1 over the agents

    # How much each food matters now: its level, and how soon it can be eaten. The soonest has at least level 1.
    soonest = jnp.min(jnp.where(alive, ready, FAR))
    wait = jnp.maximum(ready - soonest, 0.0)
    worth = alive_f * need * jnp.exp(-wait / HORIZON)
    attention = worth / jnp.maximum(jnp.sum(worth), 1.0)  # sums to 1, or to 0 if no food is left

    share = jnp.sum(part * attention[None, :], axis=1) + (1.0 - jnp.sum(attention)) / n
    weights = EVEN_PART / n + (1.0 - EVEN_PART) * share

    # Bias: worth of the remaining foods, growing as the agents that they need come near. The divisor is fixed within an
    # episode and exceeds the sum of all food levels, so that to eat a food always pays more than the bias loses by it.
    highest = jnp.sum(jnp.sort(level)[:3])
    team_steps = jnp.sum(part * d, axis=0)
    steps = 0.5 * jnp.minimum(ready, FAR) + 0.5 * team_steps
    value = jnp.sum(alive_f * need * jnp.exp(-steps / VALUE_HORIZON)) / (n_foods * (1.0 + highest))
    bias = value / n
    return weights, bias
