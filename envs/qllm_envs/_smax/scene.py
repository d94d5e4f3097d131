"""A picture of a battle: units with bars of health and shield, where agents may attack, and who attacks whom."""

import numpy as np

from qllm_envs._smax import enemies
from qllm_envs._smax.game import smax_state
from qllm_envs._smax.scenarios import MAP_SIZE
from qllm_envs._smax.state import FIRST_ATTACK, Force, Rules, State, force
from qllm_envs._smax.view import REACH
from qllm_envs.core import Bar, Key, Line, Scene, Shape

COLORS = ("tab:blue", "tab:red")  # of agents and enemies
SHOTS = ("navy", "maroon")
HEALTH, SHIELD = "limegreen", "deepskyblue"
MARGIN = 2.0  # map units around all units
EDGE = 0.8  # map units around the map, so that a unit at its border is whole


def scene(rules: Rules, state: State) -> Scene:
    """Return living units, and lines from agents to targets of the last step and from enemies to present targets."""
    now, n = force(rules, state), rules.scenario.n_allies
    now = now._replace(**{name: np.asarray(part) for name, part in now._asdict().items()})
    living = np.flatnonzero(now.alive).tolist()
    rings = [Shape("ring", _place(now, i), REACH, COLORS[0], "") for i in living if i < n]
    units = [_unit(rules, now, i) for i in living]
    # As near as the battle is: a film shows what holds all of its scenes.
    low, high = (
        np.clip(now.pos.min(0) - MARGIN, -EDGE, MAP_SIZE + EDGE),
        np.clip(now.pos.max(0) + MARGIN, -EDGE, MAP_SIZE + EDGE),
    )
    return Scene((*rings, *units), (*low.tolist(), *high.tolist()), (*_shots(rules, state, now),), _key(rules))


def _key(rules: Rules) -> tuple[Key, ...]:
    """Return what the shapes of a battle are; shields only where a unit has one."""
    has_shield = any(rules.shields)
    bars = [Key("square", SHIELD, "shield")] * has_shield + [Key("square", HEALTH, "health")]
    units = [Key("circle", COLORS[1], "enemy"), Key("ring", COLORS[0], "range of attack")]
    return (*units, *bars, Key("line", SHOTS[0], "attack"))


def _place(now: Force, unit: int) -> tuple[float, float]:
    x, y = now.pos[unit].tolist()
    return x, y


def _unit(rules: Rules, now: Force, i: int) -> Shape:
    n = rules.scenario.n_allies
    radius = float(rules.table.radiuses[now.types[i]])
    shares = [(now.shield[i], SHIELD)] * rules.shields[i >= n] + [(now.health[i], HEALTH)]
    bars = tuple(Bar(float(np.clip(share, 0.0, 1.0)), color) for share, color in shares)
    label, agent = (str(i), i) if i < n else ("", None)
    return Shape("circle", _place(now, i), radius, COLORS[i >= n], label, agent, bars)


def _shots(rules: Rules, state: State, now: Force) -> list[Line]:
    n = rules.scenario.n_allies
    ordered = np.asarray(state.last_action).tolist()
    targets = np.asarray(enemies.targets(rules.world, state.memory, smax_state(rules, state))).tolist()
    pairs = [(i, n + action - FIRST_ATTACK) for i, action in enumerate(ordered) if action >= FIRST_ATTACK]
    pairs += [(n + i, target) for i, target in enumerate(targets) if target >= 0 and now.alive[n + i]]
    return [Line(_place(now, i), _place(now, j), SHOTS[i >= n]) for i, j in pairs]
