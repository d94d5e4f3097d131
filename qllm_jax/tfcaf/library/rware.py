# A credit function (TFCAF) for rware, 2 agents, written by a language model.
# Model: Claude
# Date: 2026-11-27, round_3_candidate_1_try_0 of qllm_jax.generate.
# Prompts: sha256 e2916af82cf1c597d19d94296fec70c7f43a48e573a4e4519b2763927bac43d8.
# Chosen by the evaluator: It counts the steps, turns included, to the next delivery of each agent through all three
#   stages of the work, and matches agents and open requests one to one, so that no request counts twice. Its weights
#   grow with the nearness of that delivery within a ratio of five, so that a team far from any is corrected evenly,
#   and the same nearness in the bias shows a right turn and a pickup in the next state, where deliveries are far
#   apart. A stake for agents beside a carrier would credit many that are in nobody's way, and an even half of all
#   weight would only blunt the ...
# IGM on: Deliveries add up, each is made by one agent, and an agent that makes way or leaves a shelf to another gains
#   by the shared reward too, so no negative weight is needed.

import jax
import jax.numpy as jnp

IGM = True

# All ways are counted in whole steps: only whole numbers compare equal however they are computed.
LOAD = 1.0      # picking up a shelf or putting it down
TURNS = 2.0     # turns on a way that begins later, of which the heading is not known yet
FAR = 200.0     # no delivery in sight
HORIZON = 20.0  # a delivery that is this much further away counts less by a factor of e
BASE = 0.25     # stake that every agent has in any state; a delivery at once adds 1
# Bias of a delivery at once, in standardized rewards. A round trip takes some 40 steps, so a team of two that works well
# is paid in one step of 20: a pay of 1 is then 1 / sqrt(0.05 * 0.95) = 4.6. Less is the safe side.
PAY = 4.0

def cells_between(a, b):
    return jnp.sum(jnp.abs(a[:, None, :] - b[None, :, :]), axis=-1)


def steps_to(pos, heading, target):
    # On an empty floor: a step for each cell, and the turns. Facing away takes two, a bend or a target to the side one.
    x = (jnp.abs(heading - 3.0) < 0.5).astype(jnp.float32) - (jnp.abs(heading - 2.0) < 0.5).astype(jnp.float32)
    y = (jnp.abs(heading - 1.0) < 0.5).astype(jnp.float32) - (jnp.abs(heading) < 0.5).astype(jnp.float32)
    offset = target[None, :, :] - pos[:, None, :]
    ahead = offset[:, :, 0] * x[:, None] + offset[:, :, 1] * y[:, None]
    aside = offset[:, :, 0] * y[:, None] + offset[:, :, 1] * x[:, None]
    turns = jnp.where(ahead < -0.5, 2.0, jnp.where(jnp.abs(aside) > 0.5, 1.0, 0.0))
    return cells_between(pos, target) + turns


def credit(state):
    """Each agent is some steps, turns included, away from the next delivery that it can make: to a goal if it carries a
    requested shelf, else over a requested shelf that is left to it, after putting its own back. Agents and requests are
    matched, the shortest way first, so that no request counts twice. The nearer the delivery, the greater the weight,
    within a ratio of five; the same nearness is the bias, so that a right turn or a pickup shows in the next state."""
    pos = state["agent_pos"]
    heading = state["agent_heading"]
    load = state["agent_load"]
    shelf = state["shelf_pos"]
    request = state["request"]
    goal = state["goal_pos"]
    storage = state["storage_pos"]
    n = pos.shape[0]
    m = request.shape[0]
    n_shelves = shelf.shape[0]

    carries = load > -0.5
    match = jnp.abs(load[:, None] - request[None, :]) < 0.5  # (agents, requests): the agent carries that shelf
    delivering = carries & jnp.any(match, axis=1)
    taken = jnp.any(match, axis=0)

    # A storage cell is empty unless a shelf stands in it that nobody carries; cells are compared by one number.
    carried = jnp.any(jnp.abs(load[:, None] - jnp.arange(n_shelves)[None, :]) < 0.5, axis=0)
    shelf_cell = jnp.where(carried, -1.0, shelf[:, 0] + 1000.0 * shelf[:, 1])
    storage_cell = storage[:, 0] + 1000.0 * storage[:, 1]
    full = jnp.any(jnp.abs(storage_cell[:, None] - shelf_cell[None, :]) < 0.5, axis=1)
    to_storage = jnp.where(full[None, :], FAR, steps_to(pos, heading, storage))

    # Steps from each agent over each requested shelf to a goal; an agent with another shelf puts that one back first.
    index = jnp.clip(request, 0, n_shelves - 1).astype(jnp.int32)
    wanted_pos = shelf[index]
    rest = LOAD + TURNS + jnp.min(cells_between(wanted_pos, goal), axis=1)
    back = jnp.min(to_storage, axis=1) + LOAD + TURNS
    empty = storage[jnp.argmin(to_storage, axis=1)]
    later = back[:, None] + cells_between(empty, wanted_pos)
    ways = jnp.where(carries[:, None], later, steps_to(pos, heading, wanted_pos)) + rest[None, :]
    ways = jnp.where(delivering[:, None] | taken[None, :], FAR, jnp.minimum(ways, FAR))
    bring = jnp.min(steps_to(pos, heading, goal), axis=1)

    # The shortest way that is left is chosen, and its agent and its request are gone, until one of both is used up.
    way = jnp.full((n,), FAR)
    for _ in range(min(n, m)):
        chosen = jax.nn.one_hot(jnp.argmin(ways.reshape(-1)), n * m).reshape((n, m))
        agent = jnp.sum(chosen, axis=1) > 0.5
        gone = agent[:, None] | (jnp.sum(chosen, axis=0) > 0.5)[None, :]
        way = jnp.where(agent, jnp.minimum(way, jnp.min(ways)), way)
        ways = jnp.where(gone, FAR, ways)
    way = jnp.where(delivering, bring, way)
    near = jnp.exp(-way / HORIZON)

    stake = BASE + near
    weights = stake / jnp.maximum(jnp.sum(stake), BASE)
    bias = PAY * jnp.sum(near) / n  # weights and bias are multiplied by n in training
    return weights, bias
