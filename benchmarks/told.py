"""Returns of teams of `matched_taca` that are told no task, as in evaluations, and that are told all: what they lost.

    python benchmarks/told.py RUN

RUN is a run folder. The parameters are those of each run's best evaluation; episodes are greedy.
"""

import argparse

import common
import jax
import jax.numpy as jnp
import numpy as np

from qllm_jax.config import given_task
from qllm_jax.core.types import Params
from qllm_jax.errors import UserError
from qllm_jax.learners import tasks
from qllm_jax.program import one_run
from qllm_jax.program.experiment import Experiment
from qllm_jax.run.load import load_run
from qllm_jax.stats import mean_with_interval


def returns(exp: Experiment, params: Params, kept: float, episodes: int) -> np.ndarray:
    """Mean returns (R,) of parameters (R, ...) in greedy episodes of which a share `kept` has tasks.

    UserError for a method without tasks.
    """
    task = given_task(exp.config.algo)
    if not task:
        raise UserError(f"{exp.config.algo.name} tells no tasks: give the folder of a run of matched_taca")
    env = tasks.in_training(exp.env, tasks.load(exp.env.spec, task), jnp.float32(kept))
    sizes = one_run.Sizes(1, 1, 1, 1, exp.config.env["time_limit_is_terminal"], 0.0)
    parts = one_run.Parts(env, exp.agent, exp.learner, sizes)
    play = lambda params: one_run.play(parts, params, jax.random.key(0), episodes, jnp.zeros(()))
    return np.asarray(jax.jit(jax.vmap(play))(params).returns).mean(-1)


def arguments() -> argparse.Namespace:
    """Arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="folder of a run of matched_taca")
    parser.add_argument("--episodes", type=common.positive, default=320)
    return parser.parse_args()


def main() -> None:
    """Print both returns."""
    given = arguments()
    run = load_run(given.run)
    for words, kept in (("told no task", 0.0), ("told all tasks", 1.0)):
        found = returns(run.exp, run.params, kept, given.episodes)
        print(f"{words:<16}{mean_with_interval(found)}; by run {', '.join(f'{x:.3f}' for x in found)}")


if __name__ == "__main__":
    common.run(main)
