"""Methods, one file each; `make(name, core, **options)` builds one."""

from pathlib import Path
from typing import Any

from qllm_envs import parts
from qllm_jax.errors import UserError
from qllm_jax.learners.base import OPTIMIZERS, Core, Learner, LearnerState

__all__ = ["OPTIMIZERS", "Core", "Learner", "LearnerState", "make", "names"]

_FOLDER = Path(__file__).parent


def names() -> tuple[str, ...]:
    """Names of all methods."""
    return parts.part_names(_FOLDER)


def make(name: str, core: Core, **options: Any) -> Learner:
    """Build the learner `name`. UserError for an unknown name, option or optimizer, or a mixer that is missing."""
    if core.optimizer not in OPTIMIZERS:
        allowed = parts.suggest(core.optimizer, OPTIMIZERS)
        raise UserError(f"algo.optimizer {core.optimizer!r} does not exist: {allowed}")
    try:
        maker = parts.find(__name__, _FOLDER, "learner", name, options)
    except ValueError as error:
        raise UserError(str(error)) from error
    return maker(core, **options)
