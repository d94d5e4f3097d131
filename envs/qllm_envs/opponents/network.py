"""Small feed-forward networks as plain arrays, and the files that they ship in.

A file holds no date: equal training gives equal bytes.
"""

import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from qllm_envs.opponents.frame import Framed, Layout, frame
from qllm_envs.opponents.scripts import Policy

Network = tuple[tuple[Any, Any], ...]  # (weight (in, out), bias (out,)) of each layer
META = "meta"


def init(key: jax.Array, sizes: tuple[int, ...]) -> Network:
    """Layers with widths `sizes`, input first: uniform in +-1/sqrt(fan_in), the last a hundredth of it."""
    # No orthogonal initializer: batched QR can deadlock XLA on a CPU. Small last weights start with a uniform policy.
    layers = []
    keys = jax.random.split(key, len(sizes) - 1)
    for i, (n_in, n_out) in enumerate(itertools.pairwise(sizes)):
        bound = (0.01 if i == len(sizes) - 2 else 1.0) / n_in**0.5
        layers.append((jax.random.uniform(keys[i], (n_in, n_out), minval=-bound, maxval=bound), jnp.zeros(n_out)))
    return tuple(layers)


def apply(net: Network, x: Float[Array, " features"]) -> Float[Array, " outputs"]:
    for weight, bias in net[:-1]:
        x = jax.nn.relu(x @ weight + bias)
    weight, bias = net[-1]
    return x @ weight + bias


def logits(net: Network, seen: Framed) -> Float[Array, " actions"]:
    """Logits of a policy over the actions of the world."""
    return apply(net, seen.features)[seen.actions]


def policy(net: Network, layout: Layout) -> Policy:
    """Return the policy of the action with the highest logit; the key is not used."""
    return lambda key, obs: jnp.argmax(logits(net, frame(layout, obs))).astype(jnp.int32)


def save(path: Path, nets: Mapping[str, Network], meta: Mapping[str, Any]) -> None:
    arrays = {META: np.array(json.dumps(dict(meta), sort_keys=True))}
    for name, net in nets.items():
        for i, (weight, bias) in enumerate(net):
            arrays |= {f"{name}/{i}/weight": np.asarray(weight), f"{name}/{i}/bias": np.asarray(bias)}
    with path.open("wb") as file:  # given a path, NumPy would append its own suffix
        np.savez(file, **arrays)  # pyright: ignore[reportArgumentType]


def load(path: Path, name: str) -> Network:
    """Load one network of a file as NumPy arrays, which start no device. KeyError if the file has no such network."""
    with np.load(path) as file:
        layers = {key.split("/")[1] for key in file.files if key.startswith(f"{name}/")}
        if not layers:
            raise KeyError(f"{path} has no network {name!r}")
        return tuple((file[f"{name}/{i}/weight"], file[f"{name}/{i}/bias"]) for i in sorted(map(int, layers)))


def load_meta(path: Path) -> dict[str, Any]:
    """Load the provenance of a file: the command that trains it, versions of packages, and sizes."""
    with np.load(path) as file:
        return json.loads(str(file[META]))
