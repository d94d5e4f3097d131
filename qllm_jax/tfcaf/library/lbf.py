# A credit function (TFCAF) for lbf, 4 agents, written by a language model.
# Model: Claude
# Date: 2026-11-21, round_3_candidate_3_try_0 of qllm_jax.generate.
# Prompts: sha256 99b521631307c4432f41f76798455409163eb8d6ab6de609b97754cb07103c61.
# Chosen by the evaluator: It shares each food by the Shapley value of levels and arrival times and trusts each food's
#   shares by how near its own meal is, whereas a single trust set by the next meal also sharpens the shares of foods
#   that are still far away. A load in vain makes the whole food count more, which has an effect, while a half-step
#   head start for the loaders themselves has none, since loaders whose levels suffice would already have eaten. It
#   stays one pass that a person can follow, without the rough and longer estimate of detours from one meal to the
#   next, and gives sound, equal ...
# IGM on: All agents share one reward, a load that fails costs nothing, and coming near a food and loading with the
#   others never lowers what the team can earn, so no agent's value needs a negative weight.

import jax
import jax.numpy as jnp

IGM = True

# steps over which a later meal loses its weight
HORIZON = 6.0
# steps of delay over which a substitute loses its worth, for a meal that can be had at once
SPARE = 3.0
# how much wider that span gets with each step that the meal is away
SPREAD = 0.2
# a time, in steps, that stands for "not within the episode"
NEVER = 50.0
# sums of levels 0 .. BINS - 1 are told apart; no food has a level above BINS
BINS = 8


def credit(state):
    """Each food left is shared by Shapley value: how much sooner it can be eaten for an agent's coming, on average over
    the teams it may join, so that a level that makes no difference earns little and substitutes share. Foods that pay
    more, can be eaten sooner or are already being loaded count more, and the further off a food's meal is, the nearer
    its shares are to equal."""
    pos = state["agent_pos"]
    level = state["agent_level"]
    food_pos = state["food_pos"]
    food_level = state["food_level"]
    last = state["last_action"]
    n = pos.shape[0]
    n_food = food_pos.shape[0]

    live = food_level > 0.5  # (F,)
    live_f = live.astype(jnp.float32)

    # steps that each agent needs to come beside each food, (n, F)
    cells = jnp.sum(jnp.abs(pos[:, None, :] - food_pos[None, :, :]), axis=-1)
    dist = jnp.where(live[None, :], jnp.maximum(cells - 1.0, 0.0), NEVER)

    # the part of each food's level that is already there and loading, and waits for the rest, (F,)
    beside = (cells < 1.5) & live[None, :]
    loading = (last > 4.5) & (last < 5.5)
    loaders = (beside & loading[:, None]).astype(jnp.float32)
    begun = jnp.sum(loaders * level[:, None], axis=0) / jnp.maximum(food_level, 1.0)
    begun = jnp.clip(begun, 0.0, 1.0)

    # the times at which agents arrive, in order, and who is there by then: axes k (time), j (agent), f (food)
    times = jnp.sort(dist, axis=0)  # (K, F) with K = n
    there = (dist[None, :, :] <= times[:, None, :] + 0.25).astype(jnp.float32)  # (K, n, F)
    gathered = jnp.sum(there * level[None, :, None], axis=1)  # (K, F)
    enough = gathered >= food_level[None, :] - 0.5
    meal_time = jnp.min(jnp.where(enough, times, NEVER), axis=0)  # (F,)

    # a meal at time k is worth this part of a meal at the earliest time that the whole team can make; the same delay
    # matters less for a meal that is far off. The worth of a team is the sum of the drops at all times by which it has
    # gathered enough levels
    span = SPARE + SPREAD * jnp.maximum(meal_time, 0.0)
    value = jnp.exp(-jnp.maximum(times - meal_time[None, :], 0.0) / span[None, :])
    later = jnp.concatenate([value[1:], jnp.zeros_like(value[:1])], axis=0)
    drop = value - later  # (K, F)

    # Shapley value as an integral over the chance q that each other agent joins, by Gauss's rule with three nodes
    # (exact for up to six agents); chance is that of each sum of levels: axes i (left out), k, f, q, sum
    node = jnp.array([0.1127017, 0.5, 0.8872983])
    node_weight = jnp.array([5.0 / 18.0, 8.0 / 18.0, 5.0 / 18.0])
    bins = jnp.arange(BINS).astype(jnp.float32)
    start = (bins < 0.5).astype(jnp.float32)
    chance = jnp.broadcast_to(start, (n, n, n_food, 3, BINS))
    other = 1.0 - jnp.eye(n)
    for j in range(n):
        can = other[:, j][:, None, None] * there[:, j, :][None, :, :]  # (i, K, F)
        join = (can[:, :, :, None] * node[None, None, None, :])[:, :, :, :, None]
        step = (jnp.abs(bins[None, :] - bins[:, None] - level[j]) < 0.5).astype(jnp.float32)
        moved = jnp.matmul(chance, step)
        chance = chance * (1.0 - join) + moved * join

    # agent i is decisive where the others fall short of the food's level and it makes up for the rest
    short = bins[None, None, :] < food_level[None, :, None] - 0.5
    made_up = bins[None, None, :] > (food_level[None, :] - level[:, None])[:, :, None] - 0.5
    turns = (short & made_up).astype(jnp.float32)  # (n, F, BINS)
    decisive = jnp.sum(chance * turns[:, None, :, None, :], axis=-1)  # (n, K, F, q)
    decisive = jnp.sum(decisive * node_weight[None, None, None, :], axis=-1)  # (n, K, F)
    decisive = decisive * jnp.swapaxes(there, 0, 1)
    share = jnp.sum(decisive * drop[None, :, :], axis=1) * live_f[None, :]  # (n, F), sums to 1 for each food left

    # the further off a food's meal, the less sure who will take part in it
    equal = jnp.ones_like(level) / n
    trust = 0.3 + 0.4 * jnp.exp(-jnp.maximum(meal_time, 0.0) / HORIZON)  # (F,)
    share = (1.0 - trust)[None, :] * equal[:, None] + trust[None, :] * share

    # which food is the next to pay, and how much; one that is being loaded pays as soon as the missing level joins
    next_meal = jnp.min(jnp.where(live, meal_time, NEVER))
    wait = jnp.maximum(meal_time - next_meal, 0.0)
    worth = live_f * food_level * (1.0 + begun) * jnp.exp(-wait / HORIZON)
    focus = worth / jnp.maximum(jnp.sum(worth), 1.0)

    claim = jnp.sum(share * focus[None, :], axis=1)  # (n,)
    weights = jnp.where(jnp.any(live), claim, equal)
    weights = weights / jnp.maximum(jnp.sum(weights), 0.25)
    bias = jnp.sum(weights) * 0.0
    return weights, bias
