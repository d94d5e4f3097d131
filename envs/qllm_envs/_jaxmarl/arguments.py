"""Arguments of JaxMARL's environments: what `env.kwargs` may hold, and the environment that they make."""

import inspect
import warnings
from collections.abc import Mapping
from typing import Any

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
    known = sorted(_arguments(game) - game.fixed.keys())
    if n_agents is not None and "num_agents" in known:
        given.setdefault("num_agents", n_agents)
    for key, value in given.items():
        if key not in known:
            raise ValueError(f"{NAME}: {name} has no argument {key!r} in kwargs: {suggest(key, known)}")
        if table := _TABLES.get((name, key)):
            given[key] = table[options.choice(NAME, f"{name}: {key}", value, table)]
    env = _make(name, {**game.fixed, **given})
    if n_agents is not None and len(env.agents) != n_agents:
        raise ValueError(f"{NAME}: {name} with these kwargs has {len(env.agents)} agents, got n_agents={n_agents}")
    return env


def _make(name: str, arguments: Mapping[str, Any]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of Overcooked, which points to its second version
        try:
            env: Any = package.jaxmarl.make(name, **arguments)
            spaces = [env.action_space(agent) for agent in env.agents]
        except Exception as error:  # assertions, and whatever comes of a value of the wrong kind
            told = ", ".join(f"{key}={value!r}" for key, value in arguments.items() if (name, key) not in _TABLES)
            raise ValueError(f"{NAME}: jaxmarl cannot make {name} of {told}: {error}") from error
    for agent, space in zip(env.agents, spaces, strict=True):
        if not isinstance(space, package.spaces.Discrete):
            kind = type(space).__name__
            raise ValueError(f"{NAME}: {name}: actions of {agent} must be Discrete, got {kind}: change kwargs")
    return env


def _arguments(game: Game) -> set[str]:
    named: set[str] = set()
    for cls in game.classes:
        parameters = inspect.signature(getattr(package.environments, cls).__init__).parameters.values()
        named |= {p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD and p.name != "self"}
    return named
