"""The contract of an environment, part by part, for those who write one: all that is broken, and how to mend it."""

from collections.abc import Iterator
from typing import NamedTuple

from qllm_envs.check import EnvContractError, checks
from qllm_envs.core import Env


class Promise(NamedTuple):
    """Outcome of one part of the contract."""

    title: str
    problem: str  # "" if it is kept
    hint: str  # to mend it


# Parts of the contract in the order in which they are checked, with what to do where one is broken.
HINTS = {
    "spec": "write into the Spec the sizes, names and fields that the functions have, and a state_layout of all "
    "state_dim numbers",
    "shapes and dtypes": "return arrays of the types in qllm_envs.core, and write for jax.jit: jnp.where in place of "
    "if, no float() or int() of an array, no NumPy on arrays; step.state and notable states must have the structure of "
    "reset's state; spec.ends_early is True unless step.terminated is a constant",
    "scene": "return a Scene of Python numbers whose shapes lie in its bounds; it is drawn on the host",
    "pure functions": "compute from the arguments alone: draw from the key, change no global variable and no argument",
    "views": "keep numbers finite, fields in the ranges of their Field, and an action available to each agent",
    "layout of the state": "let spec.state_layout give the entries of view.state in order, from the named fields",
    "end of the episode": "count steps in the state; truncated is True in step number spec.horizon, terminated where "
    "the task ended before, and then spec.ends_early is True",
    "notable states": "return states of the same structure as reset's, whose fields lie in their ranges, by phrases",
}


def promises(env: Env, n_steps: int | None = None, seed: int = 0) -> Iterator[Promise]:
    """Check the parts of the contract one by one, as `check_env` does, and go on after one that is broken.

    Nothing is run if the spec or the shapes are wrong: then these are the last.
    """
    for title, check in checks(env, n_steps, seed):
        problem = ""
        try:
            check()
        except EnvContractError as error:
            problem = str(error)
        except Exception as error:
            problem = f"{env.spec.name}: {title}: {type(error).__name__}: {str(error).partition(chr(10))[0]}"
        yield Promise(title, problem, HINTS[title])
        if problem and title in ("spec", "shapes and dtypes"):
            return
