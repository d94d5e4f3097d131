"""Options of the critic that is asked for credit during training (`algo.learner.asking`)."""

from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from qllm_jax.config import KNOWN_KEYS, Count, Positive, explain_validation
from qllm_jax.errors import UserError

KEY = "algo.learner.asking"
CRITICS = ("", "rule", "llm")  # values of algo.learner.critic: no critic, the function of the configuration, a model


@dataclass(frozen=True, config=KNOWN_KEYS)
class Asking:
    """Questions of a training: which, how many, to whom."""

    episodes: Count = 4  # of each run in a round
    interval: Count = 10_000  # env steps between two rounds
    unlabelled: Literal["equal", "skip"] = "equal"  # batches with episodes that have no label, at the equal split
    bound: Positive = 10.0  # largest size of a number
    llm: str = "manual"  # a file of configs/llm
    llm_options: dict[str, Any] | None = None  # keys of that file
    max_calls: Count | None = 400
    max_tokens: Count | None = None
    max_usd: Positive | None = None
    max_minutes: Positive | None = None  # of asking, not of training


def read(given: Any) -> Asking:
    """Validate the mapping of a configuration. UserError names the key, its value and what is allowed."""
    try:
        return TypeAdapter(Asking).validate_python(given)
    except ValidationError as error:
        problems = (explain_validation(detail) for detail in error.errors())
        raise UserError("; ".join(f"{KEY}.{problem}" for problem in problems)) from error
