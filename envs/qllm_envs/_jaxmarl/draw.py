"""Pictures of JaxMARL's environments: particles, battles, kitchens, coins; a row of agents for all others."""

from typing import Any

import numpy as np

from qllm_envs._jaxmarl.package import OBJECT_TO_INDEX
from qllm_envs._jaxmarl.play import Rules, State
from qllm_envs._mpe import task
from qllm_envs.core import Bar, Key, Scene, Shape

_COLORS = {
    "wall": "lightgray",
    "onion_pile": "gold",
    "plate_pile": "lightskyblue",
    "goal": "tab:green",
    "pot": "dimgray",
}
_COLORS |= {"onion": "goldenrod", "plate": "tab:cyan", "dish": "tab:red"}
_EDGE = 0.6  # cells around a grid


def scene(rules: Rules, state: State) -> Scene:
    """Return the picture of a state."""
    inner: Any = state.inner
    if hasattr(inner, "p_pos"):
        return _particles(rules, inner)
    if rules.name == "HeuristicEnemySMAX":
        return _battle(rules, inner.state)
    if rules.name == "overcooked":
        return _kitchen(rules, inner)
    if rules.name == "coin_game":
        return _coins(inner)
    if rules.name == "jaxnav":
        return _robots(rules, inner)
    return _row(len(rules.agents))


def _row(n_agents: int) -> Scene:
    """Agents side by side, for a game that has no picture of its own."""
    agents = tuple(_agent(i, (float(i), 0.0)) for i in range(n_agents))
    return Scene(agents, (-1.0, -1.0, float(n_agents), 1.0))


def _agent(index: int, center: tuple[float, float], radius: float = 0.35) -> Shape:
    return Shape("circle", center, radius, "tab:blue", str(index), agent=index)


def _particles(rules: Rules, inner: Any) -> Scene:
    pos, radius, n = np.asarray(inner.p_pos), np.asarray(rules.env.rad), len(rules.agents)
    agents = [_agent(i, tuple(pos[i].tolist()), float(radius[i])) for i in range(n)]
    # Landmarks come last, so that one that is covered still shows.
    landmarks = [
        Shape("circle", tuple(pos[i].tolist()), float(radius[i]), "gray", str(i - n)) for i in range(n, len(pos))
    ]
    return task.scene([*agents, *landmarks], landmark="gray")


def _battle(rules: Rules, inner: Any) -> Scene:
    pos, alive, types = (np.asarray(part) for part in (inner.unit_positions, inner.unit_alive, inner.unit_types))
    share = np.clip(np.asarray(inner.unit_health) / np.asarray(rules.env.unit_type_health)[types], 0.0, 1.0)
    radius, n = np.asarray(rules.env.unit_type_radiuses)[types], len(rules.agents)
    shapes = tuple(
        Shape(
            "circle",
            tuple(np.clip(pos[i], 0, rules.env.map_width).tolist()),
            float(radius[i]),
            "tab:blue" if i < n else "tab:red",
            str(i) if i < n else "",
            i if i < n else None,
            (Bar(float(share[i]), "limegreen"),),
        )
        for i in np.flatnonzero(alive).tolist()
    )
    key = (Key("circle", "tab:red", "enemy"), Key("square", "limegreen", "health"))
    return Scene(shapes, (-1.0, -1.0, rules.env.map_width + 1.0, rules.env.map_height + 1.0), key=key)


def _kitchen(rules: Rules, inner: Any) -> Scene:
    """Cells of the kitchen, rows from the top; what agents carry is a small square on them."""
    height, width = rules.env.height, rules.env.width
    padding = (inner.maze_map.shape[0] - height) // 2
    things = np.asarray(inner.maze_map)[padding : padding + height, padding : padding + width, 0]
    names = {number: name for name, number in OBJECT_TO_INDEX.items()}
    cells = [
        Shape("square", (float(x), -float(y)), 0.5, _COLORS[name], "")
        for y in range(height)
        for x in range(width)
        if (name := names[int(things[y, x])]) in _COLORS
    ]
    cooks, carried = [], []
    for i, (x, y) in enumerate(np.asarray(inner.agent_pos).astype(int).tolist()):
        cooks.append(_agent(i, (float(x), -float(y))))
        if (name := names[int(inner.agent_inv[i])]) in _COLORS:
            carried.append(Shape("square", (x + 0.25, 0.25 - y), 0.12, _COLORS[name], ""))
    key = tuple(Key("square", color, name.replace("_", " ")) for name, color in _COLORS.items())
    return Scene((*cells, *cooks, *carried), (-_EDGE, _EDGE - height, width - 1 + _EDGE, _EDGE), key=key)


def _coins(inner: Any) -> Scene:
    at = lambda pos: (float(pos[1]), -float(pos[0]))
    coins = [
        Shape("square", at(pos), 0.3, color, "")
        for pos, color in ((inner.red_coin_pos, "tab:red"), (inner.blue_coin_pos, "tab:blue"))
    ]
    agents = [
        Shape("circle", at(pos), 0.2, color, str(i), agent=i)
        for i, (pos, color) in enumerate(((inner.red_pos, "tab:red"), (inner.blue_pos, "tab:blue")))
    ]
    key = (Key("square", "tab:red", "red coin"), Key("square", "tab:blue", "blue coin"))
    return Scene((*coins, *agents), (-_EDGE, -2 - _EDGE, 2 + _EDGE, _EDGE), key=key)


def _robots(rules: Rules, inner: Any) -> Scene:
    """Robots, their goals by their color of ring, and cells with obstacles."""
    walls = np.asarray(inner.map_data)
    cells = [Shape("square", (x + 0.5, y + 0.5), 0.5, "lightgray", "") for y, x in np.argwhere(walls).tolist()]
    high = (float(walls.shape[1]), float(walls.shape[0]))
    goals = [
        Shape("square", tuple(np.clip(goal, 0, high).tolist()), 0.2, "tab:green", str(i))
        for i, goal in enumerate(np.asarray(inner.goal))
    ]
    robots = [
        _agent(i, tuple(np.clip(pos, 0, high).tolist()), float(rules.env.rad))
        for i, pos in enumerate(np.asarray(inner.pos))
    ]
    return Scene((*cells, *goals, *robots), (0.0, 0.0, *high), key=(Key("square", "tab:green", "goal"),))
