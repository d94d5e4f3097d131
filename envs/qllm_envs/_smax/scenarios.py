"""Scenarios of `smax`: teams, starting positions and limits. Types are SMAX's numbers; number 6 is ours.

Lengths are in StarCraft II's map units.
"""

from typing import NamedTuple

import numpy as np

from qllm_envs._jaxmarl.package import MAP_NAME_TO_SCENARIO

FIDELITIES = ("smac", "smax")
MAP_SIZE = 32.0
ZERGLING, COLOSSUS = 4, 6


class Scenario(NamedTuple):
    """Teams of a battle, and their starting positions."""

    name: str
    types: tuple[int, ...]  # of all units, allies first; without meaning if types are random
    n_allies: int
    n_enemies: int
    random_types: bool  # SMACv2: drawn anew for each episode
    random_pos: bool  # SMACv2
    ally_start: tuple[float, float]
    enemy_start: tuple[float, float]
    limit: int  # SMAC's, steps


# SMAC's limits (smac/env/starcraft2/maps/smac_maps.py); of SMACv2's scenarios, SMACv2's.
LIMITS = {
    "3m": 60,
    "8m": 120,
    "25m": 150,
    "5m_vs_6m": 70,
    "10m_vs_11m": 150,
    "27m_vs_30m": 180,
    "2s3z": 120,
    "3s5z": 150,
    "3s5z_vs_3s6z": 170,
    "3s_vs_5z": 250,
    "6h_vs_8z": 150,
    "2c_vs_64zg": 400,
    "smacv2_5_units": 200,
    "smacv2_10_units": 200,
    "smacv2_20_units": 200,
}
TWO_COLOSSI = Scenario(
    name="2c_vs_64zg",
    types=(COLOSSUS,) * 2 + (ZERGLING,) * 64,
    n_allies=2,
    n_enemies=64,
    random_types=False,
    random_pos=False,
    ally_start=(16.0, 16.0),
    enemy_start=(16.0, 9.0),
    limit=LIMITS["2c_vs_64zg"],
)


def names() -> tuple[str, ...]:
    """SMAX's scenarios and ours."""
    return tuple(sorted({*MAP_NAME_TO_SCENARIO, TWO_COLOSSI.name}))


def find(name: str, fidelity: str) -> Scenario:
    """The scenario of a name that `names` lists."""
    if name == TWO_COLOSSI.name:
        return TWO_COLOSSI
    found = MAP_NAME_TO_SCENARIO[name]
    # The positions of SMAC's maps are not published; 9 and 23 are SMAClite's (smaclite/env/maps), 8 and 24 SMAX's.
    ally_x, enemy_x = (9.0, 23.0) if fidelity == "smac" else (MAP_SIZE / 4, MAP_SIZE * 3 / 4)
    return Scenario(
        name=name,
        types=tuple(np.asarray(found.unit_types).tolist()),
        n_allies=found.num_allies,
        n_enemies=found.num_enemies,
        random_types=found.smacv2_unit_type_generation,
        random_pos=found.smacv2_position_generation,
        ally_start=(ally_x, MAP_SIZE / 2),
        enemy_start=(enemy_x, MAP_SIZE / 2),
        limit=LIMITS.get(name, 200),
    )


def block(n: int, center: tuple[float, float], spacing: float) -> np.ndarray:
    """Positions (n, 2) in rows and columns around a center."""
    columns = int(np.ceil(np.sqrt(n)))
    rows = -(-n // columns)
    row, column = np.divmod(np.arange(n), columns)
    offset = np.stack([column - (columns - 1) / 2, row - (rows - 1) / 2], -1)
    return np.asarray(center) + spacing * offset
