"""Tasks: an environment as a credit function in it is tried, and its way into the process of a candidate."""

import io
from typing import Any, NamedTuple

import numpy as np

from qllm_envs.core import Field, Spec
from qllm_jax.tfcaf.semantics.probes import States


class Task(NamedTuple):
    """The spec of an environment, and the states of its rollouts as probe states."""

    spec: Spec
    seen: States  # fields in rollouts (R, ...)
    seen_state: np.ndarray  # (R, S)
    reached_state: np.ndarray  # (2, S), lowest and highest of each number in all states of the rollouts; (0, S): none
    others: dict[int, Spec]  # the same environment with other numbers of agents


def pack(task: Task) -> tuple[dict[str, Any], bytes]:
    """Return the task for another process: JSON and arrays."""
    arrays = io.BytesIO()
    flat = {"seen_state": task.seen_state, "reached_state": task.reached_state}
    named = flat | {f"field_{name}": x for name, x in task.seen.items()}
    np.savez(arrays, allow_pickle=False, **named)
    specs = {str(spec.n_agents): _sizes(spec) for spec in (task.spec, *task.others.values())}
    return {"n_agents": task.spec.n_agents, "name": task.spec.name, "specs": specs}, arrays.getvalue()


def unpack(packed: dict[str, Any], arrays: bytes) -> Task:
    """Return what `pack` packed, as far as a credit function can depend on it."""
    specs = {int(n): _spec(packed["name"], int(n), sizes) for n, sizes in packed["specs"].items()}
    spec = specs.pop(packed["n_agents"])
    with np.load(io.BytesIO(arrays)) as stored:
        seen = {name: stored[f"field_{name}"] for name in spec.fields}
        return Task(spec, seen, stored["seen_state"], stored["reached_state"], specs)


def _sizes(spec: Spec) -> dict[str, Any]:
    fields = {name: [list(field.shape), field.meaning, field.low, field.high] for name, field in spec.fields.items()}
    return {"state_dim": spec.state_dim, "fields": fields}


def _spec(name: str, n_agents: int, sizes: dict[str, Any]) -> Spec:
    fields = {
        key: Field(tuple(shape), text, "", low, high) for key, (shape, text, low, high) in sizes["fields"].items()
    }
    return Spec(
        name=name,
        n_agents=n_agents,
        n_actions=0,
        obs_dim=0,
        state_dim=sizes["state_dim"],
        horizon=0,
        fields=fields,
        action_names=(),
        reward="",
        source="",
        task="",
    )
