"""The environment contract: an `Env` is a record of pure functions over one episode.

Axis letters used in shapes: N agents, A actions, O observation, S flat global state.
Write for one environment; callers add batch axes with `jax.vmap`.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
from jaxtyping import Array, Bool, Float, Int

EnvState = Any  # a pytree of arrays with static shapes, private to the environment


class Field(NamedTuple):
    """One named array of the global state, as a credit function and a prompt see it.

    `shape` may hold ints only; `low` and `high` bound every entry (use +-inf where nothing bounds it).
    """

    shape: tuple[int, ...]
    meaning: str
    unit: str
    low: float
    high: float


class Spec(NamedTuple):
    """What is static about an environment."""

    name: str
    n_agents: int
    n_actions: int
    obs_dim: int
    state_dim: int
    horizon: int  # steps in an episode that does not terminate early
    fields: Mapping[str, Field]
    action_names: tuple[str, ...]
    reward: str  # one sentence: what the team reward is
    source: str  # paper or package that defines the task
    task: str  # short name of the game with its sizes (mpe_spread_n6); names run folders, plots and tables
    ends_early: bool = False  # whether an episode may terminate before the horizon; programs leave out what is behind
    options: Mapping[str, Any] = MappingProxyType({})  # `qllm_envs.make(name, **options)` makes it again; set there


class View(NamedTuple):
    """What is seen of an environment state."""

    obs: Float[Array, "agents obs"]
    avail: Bool[Array, "agents actions"]
    state: Float[Array, " state"]  # the paper's flat global state
    fields: dict[str, Array]  # the same state by name, shapes as in `Spec.fields`


class Step(NamedTuple):
    """Outcome of one step. `terminated`: the task ended; `truncated`: the horizon was reached.

    Both may hold at once. The reward is the team's scalar reward.
    """

    state: EnvState
    reward: Float[Array, ""]
    terminated: Bool[Array, ""]
    truncated: Bool[Array, ""]


class Bar(NamedTuple):
    """A share of its most that something has, such as health."""

    share: float  # in [0, 1]
    color: str


class Shape(NamedTuple):
    """One thing to draw. `agent` is the index of the agent that it shows, or None."""

    kind: str  # "circle", "square", or "ring": a thin circle below all others, cut off where the scene ends
    center: tuple[float, float]
    radius: float  # half the side for a square, in units of the scene
    color: str
    label: str
    agent: int | None = None
    bars: tuple[Bar, ...] = ()  # drawn on its upper part, the first on top


class Line(NamedTuple):
    """From one place to another, such as a shot."""

    start: tuple[float, float]
    end: tuple[float, float]
    color: str


class Scene(NamedTuple):
    """A picture of one environment state: shapes in drawing order inside `bounds` (x0, y0, x1, y1)."""

    shapes: tuple[Shape, ...]
    bounds: tuple[float, float, float, float]
    lines: tuple[Line, ...] = ()  # drawn over the shapes


class Env(NamedTuple):
    """An environment. All functions but `scene` are pure and can be jitted and vmapped."""

    spec: Spec
    reset: Callable[[jax.Array], EnvState]  # the key is consumed
    step: Callable[[jax.Array, EnvState, Int[Array, " agents"]], Step]  # the key is consumed
    view: Callable[[EnvState], View]
    scene: Callable[[EnvState], Scene]  # host only: takes concrete arrays
    # Whether the game is won, of the last state of an episode. None: the task knows returns and no winner.
    won: Callable[[EnvState], Bool[Array, ""]] | None = None
