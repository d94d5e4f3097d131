"""The function that a configuration means: named, in a file, or the one that is named as its environment."""

from qllm_envs import Spec, outside
from qllm_jax.config import split_control
from qllm_jax.errors import UserError
from qllm_jax.tfcaf.loading.source import NOUNS, Source, find
from qllm_jax.tfcaf.static.vocabulary import Kind

# What can be done where the environment is from outside, so that the library has no function for it.
ADVICE: dict[Kind, str] = {
    "value": "give algo.mixer.function=FILE.py, which python -m qllm_jax.generate writes, or another method, such as "
    "algo=matched_qmix",
    "reward": "give algo.learner.function=FILE.py, which python -m qllm_jax.generate kind=reward writes",
    "task": "give algo.learner.task=FILE.py, which python -m qllm_jax.generate kind=task writes",
}


def find_for_env(spec: Spec, function: str, kind: Kind = "value") -> Source:
    """Return the text of a function by its name or path, which may end with a control; empty: that of the environment.

    UserError for one that does not exist, and for the name of an environment from outside.
    """
    if function in ("", spec.made_by) and outside.parse(spec.made_by):
        raise UserError(f"environment {spec.made_by!r} has no {NOUNS[kind]} in the library: {ADVICE[kind]}")
    return find(split_control(function)[0] or spec.name, kind)
