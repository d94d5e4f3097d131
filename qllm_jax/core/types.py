"""The records that cross function boundaries, and the letters of their axes.

R runs · B episodes of a batch · E parallel environments · T steps of an episode · N agents · A actions
O observation · S flat global state · H hidden units.
Slots: an episode of T steps has T+1 states; `x_t` covers steps 0..T-1, arrays over slots cover 0..T.
"""

from typing import Any, NamedTuple

from jaxtyping import Array, Bool, Float, Int

from qllm_envs import EnvState

Params = Any  # a pytree of float arrays


class Episode(NamedTuple):
    """One whole episode, time leading. Steps after the end are padding with `mask_t` 0 and reward 0."""

    env_state: EnvState  # leaves (T+1, ...): observations are recomputed from it, which is smaller to store
    action_t: Int[Array, "time agents"]
    reward_t: Float[Array, " time"]
    terminated_t: Bool[Array, " time"]  # step t ended the task: no value is bootstrapped behind it
    mask_t: Float[Array, " time"]  # 1 where step t happened


class Scores(NamedTuple):
    """How episodes ended; leaves have the same axes, on the device or (NumPy) on the host."""

    returns: Any  # float, undiscounted, of the team
    won: Any = None  # bool, or the share of several episodes; None: the task knows no winner


class Hp(NamedTuple):
    """Numbers that may differ between runs of one program: traced, so they never change a shape."""

    lr: Float[Array, ""]
    gamma: Float[Array, ""]
    td_lambda: Float[Array, ""]  # 0: one-step targets
    target_tau: Float[Array, ""]  # share of the online network copied at a target update; 1: hard
    epsilon_start: Float[Array, ""]
    epsilon_end: Float[Array, ""]
    epsilon_steps: Float[Array, ""]  # environment steps of the linear anneal
    grad_clip: Float[Array, ""]  # largest global norm


class Clock(NamedTuple):
    """Counters that all runs share. They stay unbatched: a vmapped counter would turn `cond` into "run both"."""

    env_steps: Int[Array, ""]  # per run; an episode that ends early counts with all its slots, to keep runs in step
    episodes: Int[Array, ""]  # stored so far, per run
    updates: Int[Array, ""]  # gradient steps, per run
