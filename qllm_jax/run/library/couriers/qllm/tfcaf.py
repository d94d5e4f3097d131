# A credit function (TFCAF) for couriers, 2 agents, written by a language model.
# Model: Claude
# Date: 2026-11-27, round_3_candidate_2_try_0 of qllm_jax.generate.
# Prompts: sha256 6b93a3d5f666429f190747edf977a4ae4b988f7be51f5a9d87c463f2b9ca5e23.
# Chosen by the evaluator: It plans the deliveries that are left, each parcel once and each agent going on from its
#   last destination, and weighs an agent by what its part of the plan pays and by what it can lose in a crash, both in
#   the unit of the reward. The chance of a crash follows from the rules for agents side by side, in one line or across
#   a corner, and for each hazard, and needs no tuned constant. The plan's worth in the bias makes a step along it and
#   a pickup show at once; a softmax of the same stakes keeps the weights closer together than the reward asks for.
# IGM on: Agents share all rewards, every parcel is delivered by one agent, and each can keep out of crashes itself, so
#   nothing asks that what is good for the team look worse to an agent.

import jax
import jax.numpy as jnp

IGM = True

# All ways are counted in whole cells: only whole numbers compare equal however they are computed.
FAR = 200.0     # cells: no delivery in sight
HORIZON = 8.0   # steps: a delivery that is this much further away counts less by a factor of e
COST = 0.25     # of a crash, for each agent in it
BASE = 0.1      # stake that every agent has in any state, in the unit of the reward
ACTIONS = 5.0   # an agent that acts by chance takes each of its actions alike
# Bias of all parcels delivered at once, in standardized rewards. A pay of 1/2 for each of two parcels in 20 steps has a
# mean of 0.05 and a deviation of about 0.15, so that all of it, 1, is about 6; less is the safe side.
PAY = 4.0


def cells_between(a, b):
    return jnp.sum(jnp.abs(a[:, None, :] - b[None, :, :]), axis=-1)


def credit(state):
    """The parcels are planned as a team would take them: again and again the delivery that can be made first is given to
    the agent that makes it, who goes on from there. An agent matters by what its planned deliveries pay, the sooner the
    more, and by what it can lose: the price of a crash and the whole plan, times the chance of one if all moved by
    chance. What the plan pays is the bias: each step along it makes the next state worth more at once."""
    pos = state["agent_pos"]
    carrying = state["carrying"]
    parcel = state["parcel_pos"]
    status = state["parcel_state"]
    destination = state["destination"]
    hazard = state["hazard_pos"]
    n = pos.shape[0]
    p = parcel.shape[0]

    has = carrying > -0.5
    waits = status < 0.5
    haul = jnp.sum(jnp.abs(parcel - destination), axis=-1)

    # Where and when each agent is free for a waiting parcel: here and now, or at the destination of what it carries.
    index = jnp.clip(carrying, 0, p - 1).astype(jnp.int32)
    bring = jnp.where(has, jnp.sum(jnp.abs(pos - destination[index]), axis=-1), 0.0)
    free_at = jnp.where(has[:, None], destination[index], pos)

    # What is carried is delivered by its carrier; of the others the one that can be there first is chosen, p times.
    part = jnp.where(has, jnp.exp(-bring / HORIZON), 0.0)
    ready = bring
    left = waits
    for _ in range(p):
        ways = ready[:, None] + cells_between(free_at, parcel) + haul[None, :]
        ways = jnp.where(left[None, :], ways, FAR)
        chosen = jax.nn.one_hot(jnp.argmin(ways.reshape(-1)), n * p).reshape((n, p))
        chosen = jnp.where(left[None, :], chosen, 0.0)  # none once nothing waits
        done = jnp.sum(chosen * ways, axis=1)
        agent = jnp.sum(chosen, axis=1) > 0.5
        part = part + jnp.where(agent, jnp.exp(-done / HORIZON), 0.0)
        ready = jnp.where(agent, done, ready)
        free_at = jnp.where(agent[:, None], chosen @ destination, free_at)
        left = left & (jnp.sum(chosen, axis=0) < 0.5)
    work = part / p  # in the unit of the reward: all parcels pay 1
    total = jnp.sum(work)

    # Of 25 pairs of actions: agents in cells side by side crash by one going where the other stays, two ways, or by
    # swapping; two apart in one line they share one cell to head for, and two cells across a corner. A hazard is met by
    # one action of five.
    apart = cells_between(pos, pos)
    offset = jnp.abs(pos[:, None, :] - pos[None, :, :])
    corner = (offset[:, :, 0] > 0.5) & (offset[:, :, 1] > 0.5)
    pairs = jnp.where(apart < 1.5, 3.0, jnp.where(apart < 2.5, jnp.where(corner, 2.0, 1.0), 0.0)) * (1.0 - jnp.eye(n))
    with_agents = jnp.minimum(jnp.sum(pairs, axis=1) / (ACTIONS * ACTIONS), 1.0)
    with_hazards = jnp.sum((cells_between(pos, hazard) < 1.5).astype(jnp.float32), axis=1) / ACTIONS
    danger = with_agents * (2.0 * COST + total) + jnp.minimum(with_hazards, 1.0) * (COST + total)

    stake = BASE + work + danger
    weights = stake / jnp.maximum(jnp.sum(stake), BASE)
    bias = PAY * total / n  # weights and bias are multiplied by n in training
    return weights, bias
