# Reward credit for couriers, 2 agents, written by a language model.
# Model: Claude
# Date: 2026-11-27, round_2_candidate_1_try_0 of qllm_jax.generate.
# Prompts: sha256 21919ec08da63ec1ec163b03e3bf7eac29fe66ca446461f0a19896f7f6a8dab5.
# Chosen by the evaluator: It pays deliverers, credits each agent's share in shortening the team's plan round the
#   hazards, and blames only the movers that cause a crash, more when it forfeits more parcels or the mover had nothing
#   left to do. It alone joins small costs of entering cells near another agent and of idle walking, both below a cell
#   of progress, so it guards against crashes in all phases where the others cover only one or none. Its one-time value
#   of a pick-up cannot be earned twice and keeps a pick-up from being charged when the other agent happens to stand on
#   a destination, at the ...

import jax
import jax.numpy as jnp

GRID = 6          # rows and columns of the grid
FAR = 100.0       # length of a way that a hazard blocks
DETOUR = 6.0      # longest detour round the hazards, in cells
BIG = 1000.0      # cost of a pairing that is not possible
LATER = 12.0      # cost of a waiting parcel that no agent is left for
PICK = 1.5        # work of picking up a waiting parcel, in cells
BLOCK = 1.5       # cost of an idle agent that stands on a destination in use
STEP = 0.05       # credit for one cell of progress
CRASH = 0.45      # credit taken for causing a crash, whatever is left
LOSS = 0.5        # and as much more as this, times the share of parcels that the crash forfeits
IDLE_CRASH = 0.25  # and this, for an agent that had no reason to move at all
IDLE_MOVE = 0.02  # credit taken for moving about with nothing left to do
RISK = 0.015      # credit taken for entering a cell that another agent could have entered too
CRASH_COST = 0.25  # what the team pays for each agent that crashes
SHARE = 0.25      # part of the others' credit that each agent gets too


def between(a, b, x):
    return (x >= jnp.minimum(a, b)) & (x <= jnp.maximum(a, b))


def bends(sr, sc, tr, tc, hr, hc):
    # shortest free way of the form: along the row of s to line k, along line k, along the row of t to t
    k = jnp.arange(GRID).astype(jnp.float32)
    first = jnp.any((hr[None, None, :] == sr[:, None, None])
                    & between(sc[:, None, None], k[None, :, None], hc[None, None, :]), axis=2)
    last = jnp.any((hr[None, None, :] == tr[:, None, None])
                   & between(tc[:, None, None], k[None, :, None], hc[None, None, :]), axis=2)
    spans = between(sr[:, None, None], tr[None, :, None], hr[None, None, :])
    on_line = k[:, None] == hc[None, :]
    middle = jnp.any(spans[:, :, None, :] & on_line[None, None, :, :], axis=3)
    blocked = first[:, None, :] | last[None, :, :] | middle
    length = (jnp.abs(sc[:, None] - k[None, :])[:, None, :]
              + jnp.abs(tc[:, None] - k[None, :])[None, :, :]
              + jnp.abs(sr[:, None] - tr[None, :])[:, :, None])
    return jnp.min(jnp.where(blocked, FAR, length), axis=2)


def ways(s, t, h):
    # walking distance from each cell in s to each cell in t, round the hazards h
    straight = jnp.sum(jnp.abs(s[:, None, :] - t[None, :, :]), axis=2)
    by_rows = bends(s[:, 0], s[:, 1], t[:, 0], t[:, 1], h[:, 0], h[:, 1])
    by_cols = bends(s[:, 1], s[:, 0], t[:, 1], t[:, 0], h[:, 1], h[:, 0])
    return jnp.minimum(jnp.minimum(by_rows, by_cols), straight + DETOUR)


def remaining(m, way0, way1, hold0, hold1, done0, hop, length):
    # work left to the team, in cells, if only the agents marked in m had made their step
    n = hold0.shape[0]
    n_parcels = hold0.shape[1]
    agents = jnp.arange(n)
    ids = jnp.arange(n_parcels)
    moved = (m > 0.5)[:, None]
    way = jnp.where(moved, way1, way0)
    to_parcel = way[:, :n_parcels]
    to_dest = way[:, n_parcels:]
    hold = jnp.where(moved, hold1, hold0)
    done = done0 | jnp.any(moved & hold0 & (~hold1), axis=0)
    waits = (~jnp.any(hold, axis=0)) & (~done)
    loaded = jnp.any(hold, axis=1)

    # way of each agent to each waiting parcel; a carrier delivers its load first
    own = jnp.sum(jnp.where(hold, to_dest, 0.0), axis=1)
    onward = jnp.sum(jnp.where(hold[:, :, None], hop[None, :, :], 0.0), axis=1)
    reach = own[:, None] + jnp.where(loaded[:, None], onward, to_parcel)

    total = jnp.sum(own) + jnp.sum(jnp.where(waits, length + PICK, 0.0))

    # one agent for each waiting parcel: each parcel asks for its nearest free agent, and an agent
    # asked for by several takes the one with the largest regret; exact for 2 agents and 2 parcels
    free = agents >= 0
    todo = waits
    for k in range(min(n, n_parcels, 3)):
        cost = jnp.where(free[:, None], reach, BIG)
        nearest = agents[:, None] == jnp.argmin(cost, axis=0)[None, :]
        low = jnp.min(cost, axis=0)
        second = jnp.min(jnp.where(nearest, BIG, cost), axis=0)
        asks = nearest & todo[None, :] & free[:, None]
        bid = jnp.where(asks, (second - low)[None, :], -1.0)
        taken = asks & (ids[None, :] == jnp.argmax(bid, axis=1)[:, None])
        total = total + jnp.sum(jnp.where(taken, reach, 0.0))
        free = free & (~jnp.any(taken, axis=1))
        todo = todo & (~jnp.any(taken, axis=0))
    rest = jnp.min(jnp.where(free[:, None], reach, LATER), axis=0)
    total = total + jnp.sum(jnp.where(todo, jnp.minimum(rest, LATER), 0.0))

    # agents with nothing left to do should not stand on a destination that is still needed
    idle = (~loaded) & (~jnp.any(waits))
    on_dest = jnp.any((to_dest < 0.5) & (~done)[None, :], axis=1)
    return total + BLOCK * jnp.sum(jnp.where(idle & on_dest, 1.0, 0.0))


def credit(state, actions, reward, next_state):
    """Each agent gets the pay of its own deliveries, its share in shortening the team's best plan (one agent
    for each parcel, ways round the hazards), and the blame for crashes that its own move caused, larger the
    more the crash forfeits. Progress is a difference of a measure of state, so it cannot be earned twice; small
    costs of risky and of idle moves make agents keep clear of each other, and a small part of the others'
    credit keeps agents that are done from spoiling the work of the rest."""
    n = actions.shape[0]
    n_parcels = state["destination"].shape[0]

    pos0 = jnp.round(state["agent_pos"])
    pos1 = jnp.round(next_state["agent_pos"])
    parcel = jnp.round(state["parcel_pos"])
    dest = jnp.round(state["destination"])
    hazard = jnp.round(state["hazard_pos"])
    done0 = state["parcel_state"] > 1.5

    # who holds which parcel, before and after
    ids = jnp.arange(n_parcels).astype(jnp.float32)
    hold0 = jnp.abs(state["carrying"][:, None] - ids[None, :]) < 0.5
    hold1 = jnp.abs(next_state["carrying"][:, None] - ids[None, :]) < 0.5

    # distances to parcels (first columns) and destinations (last columns)
    targets = jnp.concatenate([parcel, dest], axis=0)
    way0 = ways(pos0, targets, hazard)
    way1 = ways(pos1, targets, hazard)
    hop = ways(dest, parcel, hazard)
    length = jnp.sum(hop * jnp.eye(n_parcels), axis=1)

    # progress: what each agent's own step took off the work left, alone and after the others' steps
    mine = jnp.eye(n)
    masks = jnp.concatenate([jnp.zeros((1, n)), jnp.ones((1, n)), mine, 1.0 - mine], axis=0)
    left = jax.vmap(lambda m: remaining(m, way0, way1, hold0, hold1, done0, hop, length))(masks)
    alone = left[0] - left[2:2 + n]
    after = left[2 + n:2 + 2 * n] - left[1]
    progress = STEP * 0.5 * (alone + after)

    # pay, to those that delivered
    crashed = next_state["crashed"] > 0.5
    n_crashed = jnp.sum(jnp.where(crashed, 1.0, 0.0))
    paid = jnp.maximum(reward + CRASH_COST * n_crashed, 0.0)
    gave = jnp.where(jnp.any(hold0 & (~hold1), axis=1), 1.0, 0.0)
    count = jnp.sum(gave)
    pay = paid * jnp.where(count > 0.5, gave / jnp.maximum(count, 1.0), 1.0 / n)

    # where each agent headed
    d_row = jnp.where(actions == 1, -1.0, jnp.where(actions == 2, 1.0, 0.0))
    d_col = jnp.where(actions == 3, -1.0, jnp.where(actions == 4, 1.0, 0.0))
    goal = jnp.clip(pos0 + jnp.stack([d_row, d_col], axis=1), 0.0, GRID - 1.0)
    moves = jnp.any(goal != pos0, axis=1)
    other = jnp.eye(n) < 0.5

    # agents with nothing left to do, while others still carry
    waits0 = jnp.any(state["parcel_state"] < 0.5)
    idle = (~jnp.any(hold0, axis=1)) & (~waits0)
    in_way = jnp.any((way0[:, n_parcels:] < 0.5) & (~done0)[None, :], axis=1)

    # blame, to those whose own move made the crash; less for following one that crashed, none for staying
    into_hazard = jnp.any(jnp.all(goal[:, None, :] == hazard[None, :, :], axis=2), axis=1)
    same_goal = jnp.all(goal[:, None, :] == goal[None, :, :], axis=2) & other
    heads_for = jnp.all(goal[:, None, :] == pos0[None, :, :], axis=2) & other
    swap = heads_for & heads_for.T
    direct = into_hazard | jnp.any(same_goal | swap, axis=1)
    weight = jnp.where(moves, jnp.where(direct, 1.0, 0.4), 0.0)
    left_share = jnp.mean(jnp.where(next_state["parcel_state"] < 1.5, 1.0, 0.0))
    size = CRASH + LOSS * left_share + jnp.where(idle, IDLE_CRASH, 0.0)
    blame = jnp.where(crashed, weight * size, 0.0)

    # small costs: entering a cell that another agent was on or next to, and moving with nothing left to do
    gap = jnp.sum(jnp.abs(goal[:, None, :] - pos0[None, :, :]), axis=2)
    near = jnp.any((gap < 1.5) & other, axis=1)
    care = (jnp.where(moves & near & (~crashed), RISK, 0.0)
            + jnp.where(moves & idle & (~in_way) & (~crashed), IDLE_MOVE, 0.0))

    own = pay + progress - blame
    others = (jnp.sum(own) - own) / max(n - 1, 1)
    each = own + SHARE * others - care
    return each
