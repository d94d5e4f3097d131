"""Mixers, one file each or from outside; `make(name, spec, **options)` builds one."""

from importlib import import_module
from pathlib import Path
from typing import Any

from qllm_envs import Spec, parts
from qllm_jax.config import MIXERS
from qllm_jax.errors import UserError
from qllm_jax.mixers.base import Mixer, MixerInputs, slopes

__all__ = ["Mixer", "MixerInputs", "make", "names", "names_for_state_values", "slopes"]

KIND = parts.Kind(__name__, Path(__file__).parent, "mixer", entry_points=MIXERS, given="spec")


def names() -> tuple[str, ...]:
    """Names of all mixers."""
    return parts.names(KIND)


def names_for_state_values() -> tuple[str, ...]:
    """Names of our mixers for agents with one value each: those whose file sets no NEEDS_ACTION_VALUES."""
    needs = lambda name: getattr(import_module(f"{__name__}.{name}"), "NEEDS_ACTION_VALUES", False)
    return tuple(name for name in parts.part_names(KIND.folder) if not needs(name))


def make(name: str, spec: Spec, **options: Any) -> Mixer:
    """Build the mixer `name` for an environment. UserError for an unknown name or option."""
    try:
        maker = parts.find(KIND, name, options)
    except ValueError as error:
        raise UserError(str(error)) from error
    mixer = maker(spec, **options)
    if not isinstance(mixer, Mixer):
        raise UserError(f"mixer {name!r} must return a qllm_jax.mixers.Mixer, got a {type(mixer).__name__}")
    return mixer
