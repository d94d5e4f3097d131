"""Mixers, one file each; `make(name, spec, **options)` builds one."""

from pathlib import Path
from typing import Any

from qllm_envs import Spec, parts
from qllm_jax.errors import UserError
from qllm_jax.mixers.base import Mixer, MixerInputs, slopes

__all__ = ["Mixer", "MixerInputs", "make", "names", "slopes"]

_FOLDER = Path(__file__).parent


def names() -> tuple[str, ...]:
    """Names of all mixers."""
    return parts.part_names(_FOLDER)


def make(name: str, spec: Spec, **options: Any) -> Mixer:
    """Build the mixer `name` for an environment. UserError for an unknown name or option."""
    try:
        maker = parts.find(__name__, _FOLDER, "mixer", name, options)
    except ValueError as error:
        raise UserError(str(error)) from error
    return maker(spec, **options)
