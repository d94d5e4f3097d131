# A credit function (TFCAF) for matrix, written by a language model.
# Model: Claude
# Date: 2026-11-21, round_3_candidate_3_try_0 of qllm_jax.generate.
# Prompts: sha256 4be17c9ebd6a6aea853fd20b744c01e4d53ee7427e72b27813b262fe86e0e2ae.
# Chosen by the evaluator: It shares credit in direct proportion to how far an agent's own choice moves and can still
#   improve the expected payoff, and it also counts what the choice decides once the partners' actions are given, so
#   pure coordination stakes that cancel in an average still count. Ratios between large effects are kept without the
#   saturation of a tanh or the extra scale of a softmax, and the equal floor keeps a flat table even, the first step
#   well defined and the weights of any two agents within a factor of nine. Last actions are read with care for -1 and
#   are trusted only half, the ...
# IGM on: Each agent acts by its own value alone, and a weight that depends only on the state stays the same for all
#   joint actions, so a negative one would only turn an agent's own ranking of its actions against the team's and could
#   not express the coordination in the table, which an additive sum lacks with either sign.

import jax
import jax.numpy as jnp

IGM = True

# How far an agent's last action is taken as a sign of what it does next; the rest is spread evenly.
REPEAT = 0.5
# Parts of an agent's effect (they add up to 1), each in reward of one step:
# how far its own choice moves the payoff that it can expect,
SWING_PART = 0.4
# how much a better choice would still add to the payoff that it can expect,
GAIN_PART = 0.3
# how far its own choice moves the payoff once the partners' choices are given (coordination).
MATCH_PART = 0.3
# Every agent's share starts from this part of the spread of the payoffs, so that none is left without weight.
FLOOR_PART = 0.5
# The smallest spread of payoffs, in reward of one step, that effects are measured against.
MIN_SPREAD = 1.0
# The spread is never taken for less than this part of the whole width of the table.
WIDTH_PART = 0.25


def credit(state):
    """An agent's share of the credit is in proportion to how far its own choice moves, and can still improve, the
    payoff under its partners' likely actions (last action blended with an even guess), on top of an equal floor.
    The weights sum to one and the bias is 0, since no step changes what a later step pays."""
    last = state["last_action"]
    payoff = state["payoff"]
    n = last.shape[0]
    n_actions = payoff.shape[0]

    # Likely next action of each agent, shape (n, n_actions); even where there is no last action (-1).
    known = (last > -0.5).astype(jnp.float32)[:, None]
    index = jnp.clip(jnp.round(last), 0, n_actions - 1).astype(jnp.int32)
    repeated = jax.nn.one_hot(index, n_actions)
    even = jnp.ones((n, n_actions)) / n_actions
    trust = REPEAT * known
    likely = trust * repeated + (1.0 - trust) * even

    # The typical spread of the payoffs, at least one unit of reward: it sets the size of the equal floor.
    centred = payoff - jnp.mean(payoff)
    deviation = jnp.sqrt(jnp.maximum(jnp.mean(centred * centred), MIN_SPREAD * MIN_SPREAD))
    width = jnp.max(payoff) - jnp.min(payoff)
    spread = jnp.maximum(deviation, WIDTH_PART * width)

    effects = []
    for i in range(n):
        # The own axis goes first; the others keep their order and are averaged out, the last axis first.
        v = jnp.moveaxis(payoff, i, 0)
        # What the own choice decides at each combination of the partners' actions.
        match = jnp.max(v, axis=0) - jnp.min(v, axis=0)
        for j in range(n - 1, -1, -1):
            if j != i:
                v = jnp.dot(v, likely[j])
                match = jnp.dot(match, likely[j])
        # Now v is what each own action can be expected to pay, and match is one number.
        best = jnp.max(v)
        worst = jnp.min(v)
        expected = jnp.dot(v, likely[i])
        effect = SWING_PART * (best - worst) + GAIN_PART * (best - expected) + MATCH_PART * match
        effects.append(jnp.maximum(effect, 0.0))
    effects = jnp.stack(effects)

    # Ratios between large effects are kept; a flat table gives even weights. An effect is at most the width, and the
    # floor at least an eighth of it, so no weight is more than nine times another, for any number of agents.
    shares = effects + FLOOR_PART * spread
    weights = shares / jnp.sum(shares)
    bias = 0.0
    return weights, bias
