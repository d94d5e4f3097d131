"""Mixers, one file each; `make(name, spec, **options)` builds one."""

from importlib import import_module
from pathlib import Path
from typing import Any

from qllm_envs import Spec, parts
from qllm_jax.errors import UserError
from qllm_jax.mixers.base import Mixer, MixerInputs, slopes

__all__ = ["Mixer", "MixerInputs", "make", "names", "names_for_state_values", "slopes"]

_FOLDER = Path(__file__).parent


def names() -> tuple[str, ...]:
    """Names of all mixers."""
    return parts.part_names(_FOLDER)


def names_for_state_values() -> tuple[str, ...]:
    """Names of the mixers for agents with one value each: those whose file sets no NEEDS_ACTION_VALUES."""
    needs = lambda name: getattr(import_module(f"{__name__}.{name}"), "NEEDS_ACTION_VALUES", False)
    return tuple(name for name in names() if not needs(name))


def make(name: str, spec: Spec, **options: Any) -> Mixer:
    """Build the mixer `name` for an environment. UserError for an unknown name or option."""
    try:
        maker = parts.find(__name__, _FOLDER, "mixer", name, options)
    except ValueError as error:
        raise UserError(str(error)) from error
    return maker(spec, **options)
