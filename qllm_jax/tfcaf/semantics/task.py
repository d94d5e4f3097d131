"""Tasks: an environment as a credit function in it is tried, and its way into the process of a candidate."""

import io
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from qllm_envs.core import Field, Spec
from qllm_jax.tfcaf.loading.signatures import STATE
from qllm_jax.tfcaf.semantics import probes
from qllm_jax.tfcaf.semantics.probes import Box, States
from qllm_jax.tfcaf.static.vocabulary import Kind


class Task(NamedTuple):
    """The spec of an environment, and the states of its rollouts as probe states."""

    spec: Spec
    seen: States  # arrays that a function reads, in rollouts (R, ...): fields of states, or arrays of steps
    seen_state: np.ndarray  # (R, S)
    reached_state: np.ndarray  # (2, S), lowest and highest of each number in all states of the rollouts; (0, S): none
    others: dict[int, Spec]  # the same environment with other numbers of agents
    notable: States = MappingProxyType({})  # pyright: ignore[reportAssignmentType]  # fields (M, ...) of `Env.notable`
    notable_state: np.ndarray = np.zeros((0, 0), np.float32)  # (M, S)
    phrases: tuple[str, ...] = ()  # M, each follows "on a state"
    kind: Kind = "value"  # of the functions that are tried

    @property
    def n_seen(self) -> int:
        """Number of states, or steps, of rollouts."""
        return len(next(iter(self.seen.values()), self.seen_state))

    @property
    def n_reached(self) -> int:
        """Number of these and of the states, or steps, that good play reaches."""
        return self.n_seen + len(self.phrases)

    @property
    def reached_fields(self) -> States:
        """Fields (R + M, ...) of the states of rollouts, and then of those that good play reaches."""
        if not self.phrases:
            return self.seen
        return {name: np.concatenate([values, self.notable[name]]) for name, values in self.seen.items()}

    @property
    def reached_states(self) -> np.ndarray:
        """Flat states (R + M, S) of the same."""
        return np.concatenate([self.seen_state, self.notable_state]) if self.phrases else self.seen_state

    def boxes(self, is_flat: bool) -> dict[str, Box]:
        """Return the ranges of a state: of its fields, or of the flat one under `STATE`."""
        fields = self.spec.fields
        if is_flat:
            bounded = all(np.isfinite([field.low, field.high]).all() for field in fields.values())
            return {STATE: probes.flat_box(np.concatenate([self.reached_states, self.reached_state]), bounded)}
        reached = self.reached_fields
        return {name: probes.box(field.low, field.high, reached[name]) for name, field in fields.items()}

    def probe_states(self, boxes: dict[str, Box], is_flat: bool) -> tuple[States, list[str]]:
        """Return all probe states (P, ...) and, for each, a phrase that follows "on a state"."""
        if is_flat:
            return probes.states(boxes, {STATE: self.seen_state}, {STATE: self.notable_state}, self.phrases)
        return probes.states(boxes, self.seen, self.notable, self.phrases)


def pack(task: Task) -> tuple[dict[str, Any], bytes]:
    """Return the task for another process: JSON and arrays."""
    arrays, names = io.BytesIO(), list(task.seen)
    flat = {"seen_state": task.seen_state, "reached_state": task.reached_state, "notable_state": task.notable_state}
    named = flat | {f"field_{name}": x for name, x in task.seen.items()}
    named |= {f"notable_{name}": x for name, x in task.notable.items()}
    np.savez(arrays, allow_pickle=False, **named)
    specs = {str(spec.n_agents): _sizes(spec) for spec in (task.spec, *task.others.values())}
    packed = {"n_agents": task.spec.n_agents, "name": task.spec.name, "specs": specs, "phrases": task.phrases}
    packed |= {"kind": task.kind, "names": names}
    return packed, arrays.getvalue()


def unpack(packed: dict[str, Any], arrays: bytes) -> Task:
    """Return what `pack` packed, as far as a credit function can depend on it."""
    specs = {int(n): _spec(packed["name"], int(n), sizes) for n, sizes in packed["specs"].items()}
    spec = specs.pop(packed["n_agents"])
    with np.load(io.BytesIO(arrays)) as stored:
        seen = {name: stored[f"field_{name}"] for name in packed["names"]}
        phrases = tuple(packed["phrases"])
        notable = {name: stored[f"notable_{name}"] for name in seen} if phrases else {}
        flat = [stored[name] for name in ("seen_state", "reached_state", "notable_state")]
        return Task(spec, seen, flat[0], flat[1], specs, notable, flat[2], phrases, packed["kind"])


def _sizes(spec: Spec) -> dict[str, Any]:
    fields = {name: [list(field.shape), field.meaning, field.low, field.high] for name, field in spec.fields.items()}
    return {"state_dim": spec.state_dim, "n_actions": spec.n_actions, "fields": fields}


def _spec(name: str, n_agents: int, sizes: dict[str, Any]) -> Spec:
    fields = {
        key: Field(tuple(shape), text, "", low, high) for key, (shape, text, low, high) in sizes["fields"].items()
    }
    return Spec(
        name=name,
        n_agents=n_agents,
        n_actions=sizes["n_actions"],
        obs_dim=0,
        state_dim=sizes["state_dim"],
        horizon=0,
        fields=fields,
        action_names=(),
        reward="",
        source="",
        task="",
    )
