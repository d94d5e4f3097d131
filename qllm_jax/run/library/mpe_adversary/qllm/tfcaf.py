# A credit function (TFCAF) for mpe_adversary, 2 agents, written by a language model.
# Model: Claude
# Date: 2026-11-21, round_3_candidate_1_try_0 of qllm_jax.generate.
# Prompts: sha256 2811cc140c89b00379ab0c1e2dd6d528fb0bf225a46c87208a795e2b3f8f6b15.
# Chosen by the evaluator: It gives the greatest share to the agent likeliest to stay nearest to the goal, as only that
#   distance counts, and a smaller share to free agents that can lure at false landmarks, with a cap on the gap that
#   lets a far but free agent keep most of the decoy's part against the one at the goal and that also holds for larger
#   teams. Its bias reads from the adversary's position at which landmark it may settle, so what is expected of the
#   rest of the episode changes with what the adversary does, where a plain mean over the landmarks would not. All
#   scales grow with the distance, ...
# IGM on: All agents share one reward and nobody blocks anybody, and since all positions are in the state, covering the
#   goal and luring the adversary are good for the team whenever they are good by an agent's own value, so nothing
#   calls for a negative weight.

import jax
import jax.numpy as jnp

IGM = True


def length(d):
    return jnp.sqrt(jnp.maximum(jnp.sum(d * d, axis=-1), 1e-12))


def credit(state):
    """The agent likeliest to stay nearest to the goal sets the distance that counts, so it gets the largest share, the
    more so while the goal is not yet covered; the others earn theirs as decoys at false landmarks, and each keeps a
    common part. The bias is the reward per agent of the present positions, which one action can hardly change, plus the
    distance from the goal at which the adversary is likely to end up if it settles at a landmark not far from it."""
    agents = state["agent_pos"]
    adversary = state["adversary_pos"]
    goal = state["goal_pos"]
    landmarks = state["landmark_pos"]
    n = agents.shape[0]

    to_goal = length(agents - goal[None, :])  # (n,)
    nearest = jnp.min(to_goal)
    adversary_to_goal = length(adversary - goal)

    # Who covers the goal: an agent moves only a little per step, so small differences in
    # distance can still turn round, and the more so the farther all of them are away.
    goal_scale = 0.3 + 0.25 * nearest
    goal_share = jax.nn.softmax(-(to_goal - nearest) / goal_scale)  # (n,), sums to 1

    # Who can lure the adversary: agents near a false landmark that are not needed at the goal.
    # A landmark at the goal itself lures nobody away, so its worth is zero; this also
    # removes the goal's own row without having to know its index.
    landmark_to_goal = length(landmarks - goal[None, :])  # (l,)
    worth = 1.0 - jnp.exp(-(landmark_to_goal**2) / 0.5)  # (l,), 0 to 1
    to_landmark = length(agents[:, None, :] - landmarks[None, :, :])  # (n, l)
    closest = jnp.min(to_landmark, axis=0)  # (l,)
    lure_scale = 0.4 + 0.25 * closest
    # The penalty for covering the goal is log(0.05), about -3. For 2 agents the gap is capped at 2,
    # below that penalty, so that an agent that is far away, but free, keeps most of the decoy's
    # part against the one that stays at the goal. With more agents the cap grows by the log of
    # their number, so that all far ones together weigh as much as the single far one does with 2
    # and cannot outweigh an agent that really is at the landmark.
    gap_cap = 2.0 + jnp.log(1.0 * max(n - 1, 1))
    gap = jnp.minimum((to_landmark - closest[None, :]) / lure_scale[None, :], gap_cap)
    free = jnp.log(1.05 - goal_share)  # from about -3 to about 0
    cover = jax.nn.softmax(free[:, None] - gap, axis=0)  # (n, l), each column sums to 1
    decoy_share = jnp.sum(cover * worth[None, :], axis=1) / jnp.maximum(jnp.sum(worth), 0.5)

    # The farther the goal is from being covered, the more the nearest agent's approach can gain.
    goal_part = 0.38 + 0.17 * nearest / (nearest + 0.5)

    # Luring matters more once the goal is covered and when the adversary is close to the goal.
    settled = jnp.exp(-nearest / 0.5)
    threat = jnp.exp(-adversary_to_goal)
    decoy_part = 0.15 + 0.1 * settled + 0.1 * threat

    # What is left over, at least 0.2, is shared evenly, so that every agent goes on learning;
    # where the landmarks lie together and nobody can lure, the decoys' part goes there too.
    special = goal_part * goal_share + decoy_part * decoy_share
    rest = jnp.maximum(1.0 - jnp.sum(special), 0.1)
    weights = special + rest / n

    # Where the adversary may settle: it does not know the goal, so any landmark is possible, but one
    # that it is close to is likelier; from far away its position says less, so the scale grows.
    to_guess = length(landmarks - adversary[None, :])  # (l,)
    nearest_guess = jnp.min(to_guess)
    guess_scale = 0.7 + 0.25 * nearest_guess
    guess = jax.nn.softmax(-(to_guess - nearest_guess) / guess_scale)  # (l,), sums to 1

    now = jnp.minimum(adversary_to_goal, 3.0) - jnp.minimum(nearest, 3.0)
    later = jnp.sum(guess * landmark_to_goal)
    bias = now + later
    return weights, bias
