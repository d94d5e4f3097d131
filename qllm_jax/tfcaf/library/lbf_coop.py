# A credit function (TFCAF) for lbf, 2 agents, written by a language model.
# Model: Claude
# Date: 2026-11-21, round_3_candidate_2_try_0 of qllm_jax.generate.
# Prompts: sha256 610d22e0f67fb3a797fdc1b707d84f30f4625138dd649bf7f2d15e978afee2c3.
# Chosen by the evaluator: It gives moderately more weight to the agent that holds up the joint load: the one with the
#   longer walk to the likely target, or the one that did not load while all are beside a food. Once the whole team is
#   beside a food it takes that food as the target almost surely, so distances to the other food hardly tilt the
#   weights there, and the missing load counts in full without being averaged over targets. Its bias stays a plain
#   discounted worth of the foods left, with timing between foods that is consistent up to a constant, whereas the
#   alternatives let the other food leak ...
# IGM on: A food is eaten when all agents come beside it and load, and a load in vain costs nothing here, so walking
#   there and loading never makes a teammate's good action worse in a way that would need a negative weight, and agents
#   act each by its own value.

import jax
import jax.numpy as jnp

IGM = True

DECAY = 0.08          # loss of worth per step that a food is still away, as exp(-DECAY * steps)
FOOD_SHARPNESS = 1.5  # steps; how clearly the nearer food is taken as the team's target
COMMIT_STEPS = 1.0    # steps; how much nearer a food counts as target if an agent beside it is loading already
READY_STEPS = 3.0     # steps; how much nearer a food counts as target if the whole team is beside it
DETOUR_STEPS = 2.0    # steps; cost of going round a teammate that stands on the wanted side of a food
LATE_LOAD_STEPS = 4.0  # steps; extra lag of an agent that does not load while the whole team is beside a food
LAG_SCALE = 4.0       # steps; a lag of this size counts as a large one
LAG_GAIN = 0.5        # greatest change of an agent's logit


def credit(state):
    """Every food needs the levels of all agents at once, so each agent is pivotal whatever its level, and the agent that
    still owes the most (walking to the team's likely target, or the one load that is missing when all are beside it)
    decides when the reward comes and gets moderately more weight. The bias is the discounted worth of the foods that
    are left, by how soon the whole team can be beside them, and is zero when none is left."""
    agent_pos = state["agent_pos"]
    food_pos = state["food_pos"]
    n = agent_pos.shape[0]
    m = food_pos.shape[0]

    alive = (state["food_level"] > 0.5).astype(jnp.float32)                           # (m,)
    loading = (jnp.abs(state["last_action"] - 5.0) < 0.5).astype(jnp.float32)         # (n,)

    # Steps that agent i has to walk to each of the four sides of food f. Foods are not at the border and at least 3
    # steps apart, so each side is a cell of the grid without a food, and belongs to one food only.
    offsets = jnp.array([[-1.0, 0.0], [1.0, 0.0], [0.0, -1.0], [0.0, 1.0]])           # (4, 2)
    sides = food_pos[:, None, :] + offsets[None, :, :]                                # (m, 4, 2)
    side_walk = jnp.sum(jnp.abs(agent_pos[:, None, None, :] - sides[None, :, :, :]), axis=-1)  # (n, m, 4)

    # A side on which a teammate stands cannot be entered; who stands there already is beside the food all the same.
    there = (side_walk < 0.5).astype(jnp.float32)
    mates_there = jnp.sum(there, axis=0)[None, :, :] - there
    blocked = ((mates_there > 0.5) & (side_walk > 0.5)).astype(jnp.float32)
    walk = jnp.min(side_walk + DETOUR_STEPS * blocked, axis=-1)                       # (n, m)
    beside = (walk < 0.5).astype(jnp.float32)                                         # (n, m)
    all_beside = jnp.min(beside, axis=0) * alive                                      # (m,)

    # Steps until the team is at food f: the last one decides, the mean lets every approach count.
    team_walk = 0.5 * jnp.max(walk, axis=0) + 0.5 * jnp.mean(walk, axis=0)            # (m,)

    # Which food the team is likely to eat next: a near one, rather one that an agent is already loading at, and almost
    # surely one that the whole team is beside; all zeros if no food is left.
    at_work = beside * loading[:, None]                                               # (n, m)
    committed = jnp.max(at_work, axis=0)                                              # (m,)
    target_steps = team_walk - COMMIT_STEPS * committed - READY_STEPS * all_beside
    target_logits = jnp.where(alive > 0.5, -target_steps / FOOD_SHARPNESS, -50.0)
    target = jax.nn.softmax(target_logits) * alive                                    # (m,)

    # Steps that each agent still owes on the way to the target: its walk, and one more unless it is loading there.
    owed = jnp.sum((walk + 1.0 - at_work) * target[None, :], axis=1)                  # (n,)

    # If the whole team is beside a food, only the missing load keeps the reward away. No agent can be beside two foods,
    # so this needs no average over targets; where none loaded it is the same for all and changes nothing.
    owed = owed + LATE_LOAD_STEPS * jnp.max(all_beside) * (1.0 - loading)

    lag = (owed - jnp.mean(owed)) / LAG_SCALE
    weights = jax.nn.softmax(LAG_GAIN * jnp.tanh(lag))

    # Worth of going to food t first and to the other foods from there, each food an equal share of 1.
    food_gap = jnp.sum(jnp.abs(food_pos[:, None, :] - food_pos[None, :, :]), axis=-1)    # (m, m)
    others = (1.0 - jnp.eye(m)) * alive[None, :]
    later = jnp.sum(others * jnp.exp(-DECAY * food_gap), axis=1)                      # (m,)
    plan = alive * jnp.exp(-DECAY * team_walk) * (1.0 + later) / m
    # Training multiplies the bias by the number of agents, so it is divided by it here.
    bias = jnp.max(plan) / n

    return weights, bias
