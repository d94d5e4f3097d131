"""Mixers, one file each; `make(name, spec, **options)` builds one."""

import sys
from typing import Any

from qllm_envs import Spec

from qllm_jax.mixers.base import Mixer, MixerInputs
from qllm_jax.registry import check_options, find_make, part_names

__all__ = ["Mixer", "MixerInputs", "make", "names"]

_PACKAGE = sys.modules[__name__]
_NOT_MIXERS = ("base",)


def names() -> tuple[str, ...]:
    """Names of all mixers."""
    return part_names(_PACKAGE, _NOT_MIXERS)


def make(name: str, spec: Spec, **options: Any) -> Mixer:
    """Build the mixer `name` for an environment. UserError for an unknown name or option."""
    maker = find_make(_PACKAGE, "mixer", name, _NOT_MIXERS)
    check_options(maker, f"mixer {name!r}", options)
    return maker(spec, **options)
