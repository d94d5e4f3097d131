"""Unit tables of `smax`, with the numbers of SMAX 0.2.0 or of StarCraft II.

Tables are indexed by type number. Lengths are in StarCraft II's map units, times in seconds: SMAX's own, or those of
StarCraft II's speed "faster", 22.4 game loops each.
"""

import inspect
from typing import NamedTuple

import numpy as np

from qllm_envs._jaxmarl.package import SMAX
from qllm_envs._smax.scenarios import COLOSSUS, Scenario

TICKS = 8  # world ticks of a step, SMAC's step_mul
# Seconds: a game loop at speed "faster", the time base of all of StarCraft II's numbers below; and SMAX's.
TICK = {"smac": 1 / 22.4, "smax": 1 / 16}


class Kind(NamedTuple):
    """A unit type of StarCraft II, version 4 (liquipedia.net/starcraft2): units of the original, before any upgrade."""

    name: str
    speed: float
    damage: float  # of one hit
    hits: int  # of one attack
    bonus: tuple[str, float]  # more damage of a hit to units that are so
    range: float  # between the edges of both units
    sight: float
    radius: float
    health: float
    shield: float
    armor: float  # damage of each hit that health, not shield, is spared
    cooldown: float
    smac_cooldown: float  # game loops by which SMAC divides a weapon's cooldown (`unit_max_cooldown`)
    is_: str  # light or armored


NO_BONUS = ("", 0.0)
MELEE = 1.0  # a shorter range is that of a unit which must touch its target
KINDS = (
    Kind("marine", 3.15, 6, 1, NO_BONUS, 5, 9, 0.375, 45, 0, 0, 0.61, 15, "light"),
    Kind("marauder", 3.15, 10, 1, ("armored", 10), 6, 10, 0.5625, 125, 0, 1, 1.07, 25, "armored"),
    Kind("stalker", 4.13, 13, 1, ("armored", 5), 6, 10, 0.625, 80, 80, 1, 1.34, 35, "armored"),
    Kind("zealot", 3.15, 8, 2, NO_BONUS, 0.1, 9, 0.5, 100, 50, 1, 0.86, 22, "light"),
    Kind("zergling", 4.13, 5, 1, NO_BONUS, 0.1, 8, 0.375, 35, 0, 0, 0.497, 11, "light"),
    Kind("hydralisk", 3.15, 12, 1, NO_BONUS, 5, 9, 0.625, 80, 0, 0, 0.59, 10, "light"),
    Kind("colossus", 3.15, 10, 2, ("light", 5), 7, 10, 1.0, 200, 150, 1, 1.07, 24, "armored"),
)
SHIELD = np.array([kind.shield for kind in KINDS])
SMAC_COOLDOWN = np.array([kind.smac_cooldown for kind in KINDS])  # game loops
# The colossus by SMAX's rules: damage to a light unit, reach between centers, health and shield in one pool, and the
# cooldown of 24 game loops in seconds of 16 loops, as that of SMAX's stalker.
SMAX_COLOSSUS = {
    "velocities": 3.15,
    "attacks": 30.0,
    "attack_ranges": 7.0,
    "sight_ranges": 10.0,
    "radiuses": 1.0,
    "health": 350.0,
    "weapon_cooldowns": 1.5,
}


class Table(NamedTuple):
    """Arrays over types: arguments of SMAX's constructor, and two that it does not know."""

    velocities: np.ndarray
    attacks: np.ndarray
    attack_ranges: np.ndarray  # between centers
    sight_ranges: np.ndarray
    radiuses: np.ndarray
    health: np.ndarray  # SMAX's one pool: shield, and damage that takes all of the health
    weapon_cooldowns: np.ndarray  # seconds
    points: np.ndarray  # health alone, as StarCraft II counts it
    toughness: np.ndarray  # damage that takes one point of health


def table(scenario: Scenario, fidelity: str) -> Table:
    """Return the units of a scenario. Rows of types that are not in it have no meaning."""
    n_types = COLOSSUS + (COLOSSUS in scenario.types)  # SMACv2's scenarios draw from all types that there are
    points = np.array([kind.health for kind in KINDS[:n_types]])
    if fidelity == "smac":
        return _smac_table(scenario, points)
    defaults = inspect.signature(SMAX).parameters
    rows = {name: np.asarray(defaults[f"unit_type_{name}"].default) for name in SMAX_COLOSSUS}
    rows = {name: np.append(row, SMAX_COLOSSUS[name])[:n_types] for name, row in rows.items()}
    return Table(**rows, points=points, toughness=np.ones(n_types))


def _smac_table(scenario: Scenario, points: np.ndarray) -> Table:
    """Return the numbers of StarCraft II. SMAX has one attack, reach and health of a type: means over its opponents.

    Reach is the exception: it is to the edge of the smallest of them. All are exact where a team fights units of one
    type. Armor becomes health: where hits do 8 and armor takes 1, 80 points of health last as long as 80 * 8 / 7
    without armor.
    """
    kinds = KINDS[: len(points)]
    foes = [_foes(scenario, number, len(kinds)) for number in range(len(kinds))]
    attacks = [np.mean([k.hits * _hit(k, kinds[foe]) for foe in f]) for k, f in zip(kinds, foes, strict=True)]
    reach = [_range(k) + k.radius + min(kinds[foe].radius for foe in f) for k, f in zip(kinds, foes, strict=True)]
    toughness = [
        np.mean([_hit(kinds[foe], k) / (_hit(kinds[foe], k) - k.armor) for foe in f])
        for k, f in zip(kinds, foes, strict=True)
    ]
    column = lambda name: np.array([getattr(kind, name) for kind in kinds])
    return Table(
        velocities=column("speed"),
        attacks=np.array(attacks),
        attack_ranges=np.array(reach),
        sight_ranges=column("sight"),
        radiuses=column("radius"),
        health=points * np.array(toughness) + SHIELD[: len(kinds)],
        weapon_cooldowns=column("cooldown"),
        points=points,
        toughness=np.array(toughness),
    )


def _range(kind: Kind) -> float:
    """Range between edges; of a melee unit plus the way of a tick, by which SMAX pushes it away from its target.

    Without that way only 4 of 8 zerglings around a colossus could strike, and random agents won.
    """
    return kind.range + (kind.speed * TICK["smac"] if kind.range < MELEE else 0.0)


def _foes(scenario: Scenario, number: int, n_types: int) -> list[int]:
    """Types of the units that units of a type fight."""
    if scenario.random_types:
        return list(range(n_types))
    allies, enemies = scenario.types[: scenario.n_allies], scenario.types[scenario.n_allies :]
    return [*(enemies if number in allies else ()), *(allies if number in enemies else ())] or [number]


def _hit(kind: Kind, foe: Kind) -> float:
    """Damage of one hit before armor."""
    attribute, bonus = kind.bonus
    return kind.damage + bonus * (foe.is_ == attribute)
