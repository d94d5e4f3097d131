# Reward credit for duty, 10 agents, written by a language model.
# Model: claude
# Date: 2026-11-27, round_2_candidate_1_try_0 of qllm_jax.generate.
# Prompts: sha256 580bb58ee0bb15049a96f4a9fc7234ef108065796aa22839823249bf4bae8aa3.
# Chosen by the evaluator: Agents on duty share the reward less a small charge for having been asked, so a wrong answer
#   stands below no duty at all and a right one far above it. The others are left out, as their answers change nothing,
#   and the size of the reward is kept.

import jax
import jax.numpy as jnp

ASKED = 0.1


def credit(state, actions, reward, next_state):
    """Only the answers of agents on duty bring the reward about: they share it, less a little for having been asked, so
    that a wrong answer stands below no duty at all. The others get nothing, as their answers change nothing."""
    on_duty = state["on_duty"]
    share = on_duty / jnp.maximum(on_duty.sum(), 1.0)
    return (reward - ASKED) * share
