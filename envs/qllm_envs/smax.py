"""SMAC's battles on SMAX: StarCraft II's micromanagement (Samvelyan et al. 2019, arxiv.org/abs/1902.04043) in JAX.

SMAX of jaxmarl 0.2.0 (Rutherford et al. 2024, arxiv.org/abs/2311.10090) gives the world, by subclassing: a flat map of
32 x 32, discs that walk, shoot and push each other. SMAC gives what agents see, may do and are paid for: actions and
their availability, observation, state, reward and limits, from oxwhirl/smac. The colossus and its map are ours.
Results are results of `smac-on-smax`, not of SMAC.
"""

from functools import partial

from qllm_envs import options
from qllm_envs.core import Env

NAME = "smax"


def make(
    *,
    scenario: str = "3s_vs_5z",
    horizon: int | None = None,
    fidelity: str = "smac",
    opponent: str = "attack_move",
    splash: bool = True,
) -> Env:
    """Return a scenario of SMAX by its name, or `2c_vs_64zg`. `horizon=None` is SMAC's limit.

    `fidelity`: "smac" takes StarCraft II's numbers wherever SMAX can be told of them: damage, reach from edge to edge,
    armor, one time base, shields that recharge, and teams that start in formation. "smax" leaves SMAX as it is, but
    for walls, which are harmless.

    `opponent`: "attack_move" enemies attack the nearest agent in reach, walk straight towards the nearest one in sight,
    else to the start of the agents (in smacv2_*, where starts are random: to the middle of the map), and decide in each
    of a step's 8 ticks. "heuristic" is SMAX's own policy, decided once a step: an enemy keeps to a target while it
    reaches it, else takes the nearest in reach, else walks along an axis towards a random agent in sight, drawn anew in
    each step, or to the position opposite of its start.

    `splash`: True if a colossus's beam also hits enemies beside its target.
    """
    # Here, as importing jaxmarl takes seconds and starts the device.
    from qllm_envs._smax import enemies, game, scenarios, scene, spec, state, units, view
    from qllm_envs._smax import world as worlds

    found = scenarios.find(
        options.choice(NAME, "scenario", scenario, scenarios.names()),
        options.choice(NAME, "fidelity", fidelity, scenarios.FIDELITIES),
    )
    table = units.table(found, fidelity)
    splash = options.flag(NAME, "splash", splash)
    world = worlds.make(found, table, fidelity, options.choice(NAME, "opponent", opponent, enemies.OPPONENTS), splash)
    limit = found.limit if horizon is None else options.integer(NAME, "horizon", horizon, low=1)
    rules = state.rules_of(found, table, world, limit, fidelity, opponent)
    return Env(
        spec=spec.spec_of(rules),
        reset=partial(game.reset, rules),
        step=partial(game.step, rules),
        view=partial(view.view, rules),
        scene=partial(scene.scene, rules),
        won=partial(state.won, rules),
        notable=partial(game.notable, rules),
    )
