"""Arguments of JaxMARL's environments: what `env.kwargs` may hold, and the environment that they make."""

import contextlib
import inspect
import numbers
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qllm_envs import options
from qllm_envs._jaxmarl import package
from qllm_envs._jaxmarl.games import GAMES, REFUSED, Game
from qllm_envs.parts import suggest

NAME = "jaxmarl"
# Arguments that are given by a name of JaxMARL's own table.
_TABLES = {
    ("overcooked", "layout"): package.overcooked_layouts,
    ("overcooked_v2", "layout"): {name: name for name in package.overcooked_v2_layouts},
    ("HeuristicEnemySMAX", "scenario"): package.MAP_NAME_TO_SCENARIO,
}


def find(given: Any) -> Game:
    """Return the environment of a name in JaxMARL's registry. ValueError for one that cannot run, or does not exist."""
    if given in REFUSED:
        raise ValueError(f"{NAME}: {given} cannot run here, as {REFUSED[given]}: choose from {', '.join(GAMES)}")
    return GAMES[options.choice(NAME, "id", given, GAMES)]


def made(name: str, game: Game, n_agents: int | None, kwargs: Mapping[str, Any] | None) -> Any:
    """Return JaxMARL's environment. ValueError for arguments that it does not have or refuses."""
    if kwargs is not None and not isinstance(kwargs, Mapping):
        raise ValueError(f"{NAME}: kwargs must be a mapping such as {{max_steps: 50}}, or null, got {kwargs!r}")
    given = dict(kwargs or {})
    defaults = _defaults(game)
    known = sorted(defaults.keys() - game.fixed.keys())
    if n_agents is not None and "num_agents" in known:
        given.setdefault("num_agents", n_agents)
    for key, value in given.items():
        if key not in known:
            raise ValueError(f"{NAME}: {name} has no argument {key!r} in kwargs: {suggest(key, known)}")
        if table := _TABLES.get((name, key)):
            given[key] = table[options.choice(NAME, f"{name}: {key}", value, table)]
    env = _make(name, {**game.fixed, **given}, defaults)
    if n_agents is not None and len(env.agents) != n_agents:
        raise ValueError(f"{NAME}: {name} with these kwargs has {len(env.agents)} agents, got n_agents={n_agents}")
    return env


def longest(name: str, game: Game, env: Any) -> int:
    """Return the number of steps after which JaxMARL ends an episode. ValueError if its arguments leave none."""
    with _blamed(name, "these kwargs"):
        steps = game.family.horizon(env)
    if not isinstance(steps, numbers.Integral) or steps < 1:
        raise ValueError(
            f"{NAME}: {name} with these kwargs ends an episode after {steps} steps: it must be an integer of at least 1"
        )
    return int(steps)


def shapes(name: str, env: Any) -> Any:
    """Shapes and dtypes of what the environment's `reset` returns. ValueError if that does not work."""
    with _blamed(name, "these kwargs"):
        return jax.eval_shape(env.reset, jax.random.key(0))


@contextlib.contextmanager
def _blamed(name: str, told: str) -> Iterator[None]:
    """Say that arguments are wrong, whatever JaxMARL raises: assertions, and what comes of a value of another kind."""
    try:
        yield
    except Exception as error:
        why = str(error).partition("\n")[0]
        raise ValueError(f"{NAME}: jaxmarl cannot make {name} of {told}: {why}") from error


def _make(name: str, arguments: Mapping[str, Any], defaults: Mapping[str, Any]) -> Any:
    told = ", ".join(f"{key}={value!r}" for key, value in arguments.items() if (name, key) not in _TABLES)
    with warnings.catch_warnings(), _blamed(name, told):
        warnings.simplefilter("ignore", DeprecationWarning)  # of Overcooked, which points to its second version
        as_given = {key: _like(defaults[key], value) for key, value in arguments.items()}
        env: Any = package.jaxmarl.make(name, **as_given)
        spaces = [env.action_space(agent) for agent in env.agents]
    for agent, space in zip(env.agents, spaces, strict=True):
        if not isinstance(space, package.spaces.Discrete):
            kind = type(space).__name__
            raise ValueError(f"{NAME}: {name}: actions of {agent} must be Discrete, got {kind}: change kwargs")
    return env


def _like(default: Any, value: Any) -> Any:
    """A list in place of an array of JaxMARL's, which indexes it, as such an array."""
    if isinstance(default, jax.Array):
        return jnp.asarray(value, default.dtype)
    return np.asarray(value, default.dtype) if isinstance(default, np.ndarray) else value


def _defaults(game: Game) -> dict[str, Any]:
    """Arguments that an environment may be given, with JaxMARL's own values."""
    named: dict[str, Any] = {}
    for cls in reversed(game.classes):
        parameters = inspect.signature(getattr(package.environments, cls).__init__).parameters.values()
        named |= {p.name: p.default for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD and p.name != "self"}
    return named
