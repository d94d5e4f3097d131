"""Globals of a credit function: the words of its vocabulary, frozen.

The real `jnp` is never handed over: a candidate that writes `jnp.sum = ...` would change it for the whole process, and
`jnp.save` writes a file even while being traced.
"""

from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp

from qllm_jax.tfcaf.loading import cuts, higher
from qllm_jax.tfcaf.loading.indexing import Remarks, Watch, guarded
from qllm_jax.tfcaf.static.vocabulary import BUILTINS, MODULES


class Frozen:
    """The allowed part of a module. Attributes can be read; none can be set or deleted."""

    __slots__ = ("_members", "_path")

    def __init__(self, path: str, members: dict[str, Any]):
        object.__setattr__(self, "_path", path)
        object.__setattr__(self, "_members", MappingProxyType(members))

    def __getattr__(self, name: str) -> Any:
        if name not in MODULES[self._path]:
            raise AttributeError(f"{self._path}.{name} is not available in a credit function")
        return self._members[name]

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{self._path}.{name} cannot be set")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{self._path}.{name} cannot be deleted")


def namespace(watch: Watch | None = None, remarks: Remarks | None = None) -> dict[str, Any]:
    """Return fresh globals for one credit function: `jnp`, `jax`, a few builtins, and the guard of its indices.

    With a `watch`, indices that are known only when the function runs are recorded there; with `remarks`, what Python
    cuts off without a word.
    """
    item, replaced = guarded(watch, remarks)
    replaced |= cuts.functions(watch) | higher.functions(watch)
    members = {"jnp": _freeze("jnp", jnp, replaced), "jax": _freeze("jax", jax, replaced)}
    return {"__builtins__": BUILTINS | {"zip": cuts.zipped(remarks)}, "__item__": item, **members}


def _freeze(path: str, module: Any, replaced: dict[str, Any]) -> Frozen:
    members = {}
    for name in MODULES[path]:
        inner = f"{path}.{name}"
        value = replaced.get(inner, getattr(module, name))
        members[name] = _freeze(inner, value, replaced) if inner in MODULES else value
    return Frozen(path, members)
