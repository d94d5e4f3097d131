"""Learning from a dataset alone: its episodes in place of what the agents play."""

import jax
import numpy as np

from qllm_envs import Env
from qllm_jax import files
from qllm_jax.core import dataset
from qllm_jax.core.types import Episode
from qllm_jax.errors import UserError

KEY = "algo.learner.data"


def read(path: str, env: Env, only_labelled: bool) -> Episode:
    """Read the episodes (E, ...) of a dataset as NumPy arrays; `only_labelled` leaves out those without a label.

    UserError if it does not fit the environment, or has no episode to learn from.
    """
    try:
        episodes, index = dataset.read(files.expanded(path), env)
    except UserError as error:
        raise UserError(f"{KEY}: {error}") from error
    kept = np.flatnonzero(index["labelled"]) if only_labelled else np.arange(len(index["labelled"]))
    if not len(kept):
        which = " with a label, and algo.learner.asking.unlabelled=skip leaves out the others" if only_labelled else ""
        raise UserError(f"{KEY}: {path} has no episode{which}")
    return jax.tree.map(lambda x: x[kept], episodes)
