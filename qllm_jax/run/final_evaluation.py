"""The final evaluation: episodes from random keys that training never uses, also for `evaluate` and `render`."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qllm_jax.core import lockstep
from qllm_jax.core.rollout import rollout
from qllm_jax.core.types import Episode, Params, Scores
from qllm_jax.errors import UserError
from qllm_jax.program.experiment import Experiment
from qllm_jax.program.one_run import FINAL_STREAM, stream
from qllm_jax.run import results


def final_keys(exp: Experiment, number: int = 0) -> jax.Array:
    """Keys (R,) of the stream that is reserved for the final evaluation; 0: the keys of result.json.

    Runs with the same seed have the same key.
    """
    return jax.vmap(lambda seed: stream(jax.random.fold_in(exp.root, seed), FINAL_STREAM, number))(exp.seeds)


def check_key_number(name: str, number: int) -> int:
    """Return `number` if it can be folded into a key. UserError otherwise."""
    if not 0 <= number < 2**32:
        raise UserError(f"{name} must be at least 0 and less than 2^32, got {number}")
    return number


def greedy_episodes(exp: Experiment, params: Params, key: jax.Array, n: int) -> Episode:
    """Episodes (n, ...) of one run's parameters without exploration. The key is consumed.

    With the key of `final_keys`, the first is the first of `evaluate`, if that plays without epsilon too.
    """
    terminal = exp.config.env["time_limit_is_terminal"]
    act = exp.learner.act_in_evaluation
    one = lambda key: rollout(exp.env, exp.agent, act, params["agent"], key, jnp.zeros(()), terminal)
    return lockstep.vmap(one)(jax.random.split(key, n))


def final_scores(exp: Experiment, params: Any, episodes: int, epsilon: float) -> tuple[Scores, Scores]:
    """Scores (R, episodes) of the policies `params`, and means (R,) of the uniformly random policy."""
    keys = final_keys(exp)
    play = lambda eps: without_spare_runs(exp.program.play(params, keys, episodes, jnp.asarray(eps)), exp)
    return play(epsilon), results.means(play(1.0))


def without_spare_runs(scores: Scores, exp: Experiment) -> Scores:
    """Scores on the host, without those of spare runs."""
    return jax.tree.map(lambda x: np.asarray(x)[: exp.n_runs], scores)
