"""The records that cross function boundaries, and the letters of their axes. Read this file first.

One program trains many runs at once, and each axis has one letter in all comments and signatures:

    R  runs, the leading axis of a program's state: configurations x seeds
    E  parallel environments, which play one episode each in an iteration
    B  episodes of a batch
    C  capacity of the replay buffer, in episodes
    T  steps of an episode, always the horizon; steps after the end are padding
    N  agents      A  actions of an agent
    O  numbers of an observation      S  numbers of the flat global state      H  hidden units of the agent
    K  credit functions of a sweep

Functions are written for one run and one sample or episode; callers add axes with `jax.vmap`. An episode of T steps has
T+1 slots, the states before and after each step: arrays named `x_t` hold steps 0 to T-1, arrays over slots hold 0 to T.
Batches are time-major, (T, B, ...) and (T+1, B, ...).
"""

from typing import Any, NamedTuple

from jaxtyping import Array, Bool, Float, Int

from qllm_envs import EnvState

Params = Any  # a pytree of float arrays
Choice = Float[Array, "*runs functions"] | None  # one-hot: the credit function of a run; None: nothing to choose from


class Episode(NamedTuple):
    """One whole episode, time leading. Steps after the end are padding with `mask_t` 0 and reward 0."""

    env_state: EnvState  # leaves (T+1, ...): observations are recomputed from it, which is smaller to store
    action_t: Int[Array, "time agents"]
    reward_t: Float[Array, " time"]
    terminated_t: Bool[Array, " time"]  # step t ended the task: no value is bootstrapped after it
    mask_t: Float[Array, " time"]  # 1 where step t happened
    credit_t: Float[Array, "time agents"] | None = None  # each agent's own reward; None: all learn from the team's


class Scores(NamedTuple):
    """Results of episodes; leaves have the same axes, on the device or (NumPy) on the host."""

    returns: Any  # float, undiscounted, of the team
    won: Any = None  # bool, or the share of several episodes; None: the task knows no winner
    crashed: Any = None  # bool, in some step, or the share of several episodes; None: nothing can crash in the task


class Hp(NamedTuple):
    """Numbers that may differ between runs of one program: traced, so they never change a shape. Each can be swept."""

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

    env_steps: Int[Array, ""]  # per run; an episode that ends early counts with all T steps, to keep runs in step
    episodes: Int[Array, ""]  # stored so far, per run
    updates: Int[Array, ""]  # gradient steps, per run
