"""Tiny environments whose right answer is known by hand, each isolating one part of the learner."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from qllm_envs import Env, Field, Scene, Spec, Step, View


class ProbeState(NamedTuple):
    t: Int[Array, ""]
    cue: Float[Array, ""]  # drawn at the reset, constant in an episode


def probe(horizon: int, ends_at: int | None, reward, avail=(True, True, True), cue_shown_at: int = 0) -> Env:
    """Two agents with three actions. `reward(state, actions)`; the task terminates after step `ends_at` (from 1).

    The cue, -1 or 1, is in the observation at step `cue_shown_at` only: acting on it later needs memory.
    """
    spec = Spec(
        name="probe",
        n_agents=2,
        n_actions=3,
        obs_dim=2,
        state_dim=2,
        horizon=horizon,
        fields={"cue": Field((), "the cue", "none", -1.0, 1.0), "t": Field((), "steps taken", "steps", 0.0, horizon)},
        action_names=("a", "b", "c"),
        reward="given by the test",
        source="tests/probes.py",
        task="probe",
        ends_early=ends_at is not None,
    )

    def reset(key: jax.Array) -> ProbeState:
        return ProbeState(jnp.int32(0), jnp.where(jax.random.bernoulli(key), 1.0, -1.0))

    def step(key: jax.Array, state: ProbeState, actions: Int[Array, " agents"]) -> Step:
        del key
        t = state.t + 1
        terminated = jnp.bool_(False) if ends_at is None else t >= ends_at
        return Step(
            ProbeState(t, state.cue), jnp.asarray(reward(state, actions), jnp.float32), terminated, t >= horizon
        )

    def view(state: ProbeState) -> View:
        shown = jnp.where(state.t == cue_shown_at, state.cue, 0.0)
        row = jnp.stack([shown, state.t / horizon])
        obs = jnp.broadcast_to(row[None], (2, 2))
        fields = {"cue": state.cue, "t": state.t.astype(jnp.float32)}
        return View(obs, jnp.broadcast_to(jnp.asarray(avail)[None], (2, 3)), row, fields)

    def scene(state: ProbeState) -> Scene:
        del state
        return Scene((), (-1.0, -1.0, 1.0, 1.0))

    return Env(spec, reset, step, view, scene)
