"""The contract of an environment: `Env`, a record of pure functions over one episode, and the records they exchange.

    env = qllm_envs.make("mpe_spread", n_agents=3)
    state = env.reset(key)                  # private to the environment
    view = env.view(state)                  # what agents and mixers see: obs, avail, state, fields
    step = env.step(key, state, actions)    # the next state, the team's reward, and whether the episode ended

All functions are written for one environment; callers add batch axes with `jax.vmap` and time with `jax.lax.scan`.
Nothing resets itself: a caller plays `spec.horizon` steps and masks those after the first termination.
`qllm_envs.check_env` tests all that is promised here.

Axis letters in shapes: N agents, A actions, O numbers of an observation, S numbers of the flat state.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
from jaxtyping import Array, Bool, Float, Int

# A pytree of arrays of static shapes and of numbers of at most 32 bits, private to the environment. A replay buffer
# keeps it, so that a key in it must be its numbers, `jax.random.key_data(key)`.
EnvState = Any


class Field(NamedTuple):
    """Description of one named array of the global state, for credit functions and for prompts.

    `low` and `high` bound every entry, both included; infinite where nothing bounds it.
    """

    shape: tuple[int, ...]
    meaning: str  # the axes, the start of an episode, special values such as -1
    unit: str
    low: float
    high: float


class Entries(NamedTuple):
    """Consecutive entries of the flat state that one formula gives.

    `formula` is a Python expression of the named arrays and of the block's index, such as "food_pos[f]". The value of
    an array or of a list of arrays fills `size` entries in row-major order; a number fills each of them.
    """

    formula: str
    size: int


class StateBlock(NamedTuple):
    """A block of the flat state: `entries` in order, once for each value of an index from 0 to `repeats` - 1.

    StateBlock((Entries("food_pos[f]", 2), Entries("food_level[f]", 1)), letter="f", repeats=3)  # 9 entries
    """

    entries: tuple[Entries, ...]
    letter: str = ""  # name of the index in formulas; empty for a block that occurs once
    repeats: int = 1

    @property
    def width(self) -> int:
        """Number of entries for one value of the index."""
        return sum(part.size for part in self.entries)


class Spec(NamedTuple):
    """Static facts of an environment: sizes, names, and texts from which prompts are generated."""

    name: str  # short, an identifier; of a game in this package, the name of its file
    n_agents: int  # N
    n_actions: int  # A
    obs_dim: int  # O
    state_dim: int  # S
    horizon: int  # steps of an episode that does not terminate early
    fields: Mapping[str, Field]  # of `View.fields`, by name
    action_names: tuple[str, ...]  # (A,)
    reward: str  # one sentence that defines the team reward
    source: str  # paper or package that defines the task
    task: str  # short name of the game with its sizes (mpe_spread_n6), for run folders, plots and tables
    # True if an episode may terminate: programs then skip the steps after. False: `Step.terminated` is a constant.
    ends_early: bool = False
    state_layout: tuple[StateBlock, ...] = ()  # `View.state` in terms of the fields; consecutive, S entries in all
    # Set by `qllm_envs.make`: `make(made_by, **options)` is this task. `made_by` may be a reference, module:function.
    options: Mapping[str, Any] = MappingProxyType({})
    made_by: str = ""
    text: str = ""  # the game in a few paragraphs, for prompts; those of this package are prompts/tasks/NAME.md


class View(NamedTuple):
    """The visible part of an environment state."""

    obs: Float[Array, "agents obs"]
    avail: Bool[Array, "agents actions"]  # at least one action is available to each agent
    state: Float[Array, " state"]  # the flat global state of the paper, for mixing networks
    fields: dict[str, Array]  # the global state as named arrays, in float32, int32 or bool; shapes as in `Spec.fields`


class Step(NamedTuple):
    """Outcome of one step."""

    state: EnvState
    reward: Float[Array, ""]  # one for the team
    terminated: Bool[Array, ""]  # the task ended in this step
    truncated: Bool[Array, ""]  # the horizon was reached in this step; may coincide with `terminated`


class Bar(NamedTuple):
    """A bar on a shape, such as health."""

    share: float  # of the full length, in [0, 1]
    color: str  # a color of Matplotlib, as all colors here


class Shape(NamedTuple):
    """One shape of a picture."""

    kind: str  # "circle", "square", or "ring": a thin circle below all others, cut off where the scene ends
    center: tuple[float, float]
    radius: float  # half the side of a square, in units of the scene
    color: str
    label: str
    agent: int | None = None  # index of the agent that the shape shows
    bars: tuple[Bar, ...] = ()  # drawn on its upper part, the first on top


class Line(NamedTuple):
    """A line of a picture, such as a shot."""

    start: tuple[float, float]
    end: tuple[float, float]
    color: str


class Key(NamedTuple):
    """One entry of a picture's key: what the shapes of a kind and color stand for."""

    kind: str  # of Shape, or "line"
    color: str
    text: str


class Scene(NamedTuple):
    """Picture of one environment state."""

    shapes: tuple[Shape, ...]  # in drawing order
    bounds: tuple[float, float, float, float]  # x0, y0, x1, y1
    lines: tuple[Line, ...] = ()  # drawn over the shapes
    key: tuple[Key, ...] = ()  # of all shapes but agents, which are numbered; the same in all scenes of a task


def undrawn(state: EnvState) -> Scene:
    """The scene of an environment that has no pictures."""
    del state
    raise ValueError("this environment has no scene")


class Env(NamedTuple):
    """An environment. All functions but `scene` are pure, and can be traced, vmapped and scanned."""

    spec: Spec
    reset: Callable[[jax.Array], EnvState]  # (key) -> the first state of an episode; the key is consumed
    step: Callable[[jax.Array, EnvState, Int[Array, " agents"]], Step]  # (key, state, actions); the key is consumed
    view: Callable[[EnvState], View]
    scene: Callable[[EnvState], Scene] = undrawn  # on the host, of concrete arrays
    won: Callable[[EnvState], Bool[Array, ""]] | None = None  # of the last state of an episode; None: no task to win
    crashed: Callable[[EnvState], Bool[Array, ""]] | None = None  # in the step before a state; None: nothing can crash
    # (key) -> states that good play reaches and random play hardly does, each by a phrase that follows "on a state":
    # the task solved, everybody in one place, the last foe. Credit functions are tried on them. The key is consumed.
    notable: Callable[[jax.Array], Mapping[str, EnvState]] | None = None
