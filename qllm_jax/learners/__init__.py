"""Methods, one file each or from outside; `make(name, core, **options)` builds one."""

from pathlib import Path
from typing import Any

from qllm_envs import parts
from qllm_jax.config import LEARNERS
from qllm_jax.errors import UserError
from qllm_jax.learners.base import Core, Learner, LearnerState, Update
from qllm_jax.learners.optimization import OPTIMIZERS

__all__ = ["OPTIMIZERS", "Core", "Learner", "LearnerState", "Update", "make", "names"]

KIND = parts.Kind(__name__, Path(__file__).parent, "learner", entry_points=LEARNERS, given="core")


def names() -> tuple[str, ...]:
    """Names of all methods."""
    return parts.names(KIND)


def make(name: str, core: Core, **options: Any) -> Learner:
    """Build the learner `name`. UserError for an unknown name, option or optimizer, or a mixer that is missing."""
    if core.optimizer not in OPTIMIZERS:
        allowed = parts.suggest(core.optimizer, OPTIMIZERS)
        raise UserError(f"algo.optimizer {core.optimizer!r} does not exist: {allowed}")
    try:
        maker = parts.find(KIND, name, options)
    except ValueError as error:
        raise UserError(str(error)) from error
    learner = maker(core, **options)
    if not isinstance(learner, Learner):
        raise UserError(f"learner {name!r} must return a qllm_jax.learners.Learner, got a {type(learner).__name__}")
    return learner
