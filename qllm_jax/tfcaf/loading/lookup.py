"""The function that a configuration means: named, in a file, or the one that is named as its environment."""

from qllm_envs import Spec, outside
from qllm_jax.config import split_control
from qllm_jax.errors import UserError
from qllm_jax.tfcaf.loading.source import NOUNS, Source, find, names
from qllm_jax.tfcaf.static.vocabulary import Kind

# What can be done where the environment is from outside, or has no function in the library.
ADVICE: dict[Kind, str] = {
    "value": "give algo.mixer.function=FILE.py, which python -m qllm_jax.generate writes, or another method, such as "
    "algo=matched_qmix",
    "reward": "give algo.learner.function=FILE.py, which python -m qllm_jax.generate kind=reward writes",
    "task": "give algo.learner.task=FILE.py, which python -m qllm_jax.generate kind=task writes",
}


def find_for_env(spec: Spec, function: str, kind: Kind = "value") -> Source:
    """Return the text of a function by its name or path, which may end with a control; empty: that of the environment.

    UserError for one that does not exist, and for the name of an environment that has none.
    """
    env = spec.made_by or spec.name
    if function in ("", env) and (outside.parse(env) or spec.name not in names(kind)):
        raise UserError(f"environment {env!r} has no {NOUNS[kind]} in the library: {ADVICE[kind]}")
    return find(split_control(function)[0] or spec.name, kind)
