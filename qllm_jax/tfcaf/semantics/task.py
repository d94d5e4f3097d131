"""Tasks: an environment as a credit function in it is tried, and its way into the process of a candidate."""

import io
from typing import Any, NamedTuple

import numpy as np

from qllm_envs.core import Field, Spec
from qllm_jax.tfcaf.loading.signatures import ACTIONS, REWARD, STATE, step_inputs
from qllm_jax.tfcaf.semantics import probes
from qllm_jax.tfcaf.semantics.probes import Box, States
from qllm_jax.tfcaf.static.vocabulary import Kind


class Task(NamedTuple):
    """The spec of an environment, and the states of its rollouts as probe states."""

    spec: Spec
    others: dict[int, Spec]  # the same environment with other numbers of agents
    kind: Kind  # of the functions that are tried
    seen: States  # arrays that a function reads, in rollouts (R, ...): fields of states, or arrays of steps
    notable: States  # the same of what good play reaches (M, ...), see `Env.notable`
    phrases: tuple[str, ...]  # M, each follows "on a state"
    # Of the same states; without rows for steps, which no function of the paper's signature reads.
    seen_state: np.ndarray  # (R, S)
    notable_state: np.ndarray  # (M, S)
    state_range: np.ndarray  # (2, S), lowest and highest of each number in all states of the rollouts; (0, S): none

    @property
    def n_seen(self) -> int:
        """Number of states, or steps, of rollouts."""
        return len(next(iter(self.seen.values()), self.seen_state))

    @property
    def n_reached(self) -> int:
        """Number of these and of the states, or steps, that good play reaches."""
        return self.n_seen + len(self.phrases)

    def boxes(self, is_flat: bool) -> dict[str, Box]:
        """Return the ranges of what a function reads: fields of a state, arrays of a step, or the flat `STATE`."""
        fields = self.spec.fields
        if is_flat:
            bounded = all(np.isfinite([field.low, field.high]).all() for field in fields.values())
            reached = np.concatenate([self.seen_state, self.notable_state, self.state_range])
            return {STATE: probes.flat_box(reached, bounded)}
        reached = {name: np.concatenate([values, self.notable[name]]) for name, values in self.seen.items()}
        found = {name: probes.box(field.low, field.high, reached[name]) for name, field in fields.items()}
        if self.kind != "reward":
            return found
        actions = probes.box(0, max(self.spec.n_actions - 1, 0), reached[ACTIONS])
        return step_inputs(found, actions, probes.box(-np.inf, np.inf, reached[REWARD]), found)

    def probe_states(self, boxes: dict[str, Box], is_flat: bool) -> tuple[States, list[str]]:
        """Return all probe states (P, ...) and, for each, a phrase that follows "on a state"."""
        if is_flat:
            return probes.states(boxes, {STATE: self.seen_state}, {STATE: self.notable_state}, self.phrases)
        return probes.states(boxes, self.seen, self.notable, self.phrases)


_FLAT = ("seen_state", "notable_state", "state_range")


def pack(task: Task) -> tuple[dict[str, Any], bytes]:
    """Return the task for another process: JSON and arrays."""
    arrays, names = io.BytesIO(), list(task.seen)
    named = {name: getattr(task, name) for name in _FLAT}
    named |= {f"seen.{name}": x for name, x in task.seen.items()}
    named |= {f"notable.{name}": x for name, x in task.notable.items()}
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
        seen, notable = ({name: stored[f"{of}.{name}"] for name in packed["names"]} for of in ("seen", "notable"))
        flat = [stored[name] for name in _FLAT]
    return Task(spec, specs, packed["kind"], seen, notable, tuple(packed["phrases"]), *flat)


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
