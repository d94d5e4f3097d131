"""The pytree of a checkpoint on disk, in dicts, and the same as `TrainState`, in records: from one to the other."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from orbax.checkpoint import v1 as ocp

from qllm_jax.errors import UserError

UNREAD: Any = ocp.PLACEHOLDER  # in place of an array that is not read


def as_stored(like: Any, stored: Any) -> Any:
    """Return `like` in the dicts of a checkpoint, without fields that are None here and that it does not have.

    A version without `Episode.credit_t`, for example, wrote no None for it.
    """
    if not (hasattr(like, "_asdict") and isinstance(stored, dict)):
        return like
    fields = like._asdict().items()
    return {name: as_stored(value, stored.get(name)) for name, value in fields if name in stored or value is not None}


def as_here(loaded: Any, like: Any) -> Any:
    """Return what `as_stored` gave, loaded, in the records of `like`."""
    if not (hasattr(like, "_asdict") and isinstance(loaded, dict)):
        return loaded
    fields = like._asdict().items()
    return type(like)(**{name: as_here(loaded[name], value) if name in loaded else None for name, value in fields})


def check_shapes(path: Path, stored: Any, like: Any) -> None:
    """UserError that names the first array whose stored shape differs from the expected one."""
    expected = {name: None if leaf is UNREAD else stored_shape(leaf) for name, leaf in leaves_by_name(like).items()}
    unread = {name for name, shape in expected.items() if shape is None}
    found = {name: tuple(leaf.shape) for name, leaf in leaves_by_name(stored).items()}
    for name in sorted((found.keys() | expected.keys()) - unread):
        have, want = found.get(name), expected.get(name)
        if have != want:
            raise UserError(
                f"checkpoint {path} does not fit its run: {name} is {describe_shape(have)} there and must be "
                f"{describe_shape(want)}; config.yaml, the environment or the code changed since it was written"
            )


def describe_shape(shape: tuple[int, ...] | None) -> str:
    """A shape as text; None: the leaf does not exist."""
    return "absent" if shape is None else f"of shape {shape}"


def stored_shape(x: Any) -> tuple[int, ...]:
    """The shape in a checkpoint: a typed PRNG key is stored as its raw words."""
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        return tuple(jax.eval_shape(jax.random.key_data, x).shape)
    return tuple(x.shape)


def leaves_by_name(tree: Any) -> dict[str, Any]:
    """Leaves by name, like `runs/learner/params`: NamedTuple fields, dict keys or indices, separated by slashes."""
    leaves = jax.tree_util.tree_flatten_with_path(tree, is_leaf=lambda x: hasattr(x, "shape"))[0]
    part = lambda k: str(getattr(k, "name", getattr(k, "key", getattr(k, "idx", k))))
    return {"/".join(part(k) for k in path): leaf for path, leaf in leaves}
