"""The spec of a battle: sizes, sentences, and the fields with their ranges."""

from qllm_envs._smax import units
from qllm_envs._smax.game import ACTION_NAMES, MAX_RETURN
from qllm_envs._smax.scenarios import MAP_SIZE
from qllm_envs._smax.state import CALM_STEPS, KILL_REWARD, WIN_REWARD, Rules
from qllm_envs._smax.view import REACH, SIGHT, layout
from qllm_envs.core import Field, Spec

NAME = "smax"


def spec_of(rules: Rules) -> Spec:
    """Return the spec of a battle."""
    n, e = rules.scenario.n_allies, rules.scenario.n_enemies
    ally, enemy = (1 + shield + len(rules.kinds) for shield in rules.shields)  # features of a unit's condition
    return Spec(
        name=NAME,
        n_agents=n,
        n_actions=rules.n_actions,
        obs_dim=4 + e * (4 + enemy) + (n - 1) * (4 + ally) + ally,
        state_dim=n * (3 + ally) + e * (2 + enemy) + n * rules.n_actions,
        horizon=rules.horizon,
        ends_early=True,
        fields=fields(rules),
        action_names=(*ACTION_NAMES, *(f"attack enemy {i}" for i in range(e))),
        reward=_reward_sentence(rules),
        source="SMAX of jaxmarl 0.2.0 (arxiv.org/abs/2311.10090) with the interface of SMAC (arxiv.org/abs/1902.04043)",
        task=_task(rules),
        state_layout=layout(rules),
    )


def _task(rules: Rules) -> str:
    # Whoever reads a result must see that it is not StarCraft II's, and whether anything was corrected.
    corrected = "smac-on-smax" if rules.fidelity == "smac" else "smac-on-smax-uncorrected"
    return f"{corrected}_{rules.scenario.name}"


def _reward_sentence(rules: Rules) -> str:
    recharging = rules.shielded.size > 0 and rules.shields[1]
    sign = ", as a positive number even if their shields grew by more" if recharging else ""
    return (
        f"What all enemies lose of health and shield in the step, in points, plus {KILL_REWARD:g} for each enemy that "
        f"dies{sign}; plus {WIN_REWARD:g} once all enemies are dead and an agent is alive; all of it times "
        f"{MAX_RETURN:g} and divided by the most points that enemies and victory give, so that the return of a victory "
        f"is {'at least ' if recharging else ''}{MAX_RETURN:g}."
    )


def fields(rules: Rules) -> dict[str, Field]:
    found = {}
    for team, name in enumerate(("agent", "enemy")):
        found |= _team(rules, team, name)
    last = (
        "number of the action that each agent sent in the step before; -1 at the start; "
        "6 + k is an attack on enemy k; a dead agent sends 0"
    )
    n = rules.scenario.n_allies
    return found | {"last_action": Field((n,), last, "number of an action", -1.0, rules.n_actions - 1.0)}


def _team(rules: Rules, team: int, name: str) -> dict[str, Field]:
    size = (rules.scenario.n_allies, rules.scenario.n_enemies)[team]
    row, letter = ("agent i", "i") if team == 0 else ("enemy k", "k")
    every = f"each {name}"
    found = {
        f"{name}_pos": Field((size, 2), _pos(rules, team, every, row, letter), "map unit", 0.0, MAP_SIZE),
        f"{name}_health": Field((size,), f"health of {every}; 0: it is dead", "share of its most", 0.0, 1.0),
    }
    if rules.shields[team]:
        found[f"{name}_shield"] = Field((size,), _shield(rules, every), "share of its most", 0.0, 1.0)
    if team == 0:
        what = "time until each agent's weapon can fire again; 0: it can, or the agent is dead"
        found["agent_cooldown"] = Field((size,), what, _cooldown_unit(rules), 0.0, _longest(rules))
    if rules.kinds:
        names = ", ".join(f"{i} {units.KINDS[kind].name}" for i, kind in enumerate(rules.kinds))
        found[f"{name}_type"] = Field((size,), f"type of {every}: {names}", "number", 0.0, len(rules.kinds) - 1.0)
    return found | {f"{name}_alive": Field((size,), f"whether {every} is alive", "true or false", 0.0, 1.0)}


def _pos(rules: Rules, team: int, every: str, row: str, letter: str) -> str:
    text = (
        f"center (x, y) of {every}, row {letter} for {row}; x grows to the east, y to the north, from 0 to "
        f"{MAP_SIZE:g}; (0, 0) for a dead one; {_who(rules, team)}"
    )
    if team == 0:
        text += f"; an agent may attack an enemy whose center is at most {REACH:g} away and sees as far as {SIGHT:g}"
    return text


def _who(rules: Rules, team: int) -> str:
    """The types of a team with their sizes, reaches and speeds."""
    n, table, scenario = rules.scenario.n_allies, rules.table, rules.scenario
    part = scenario.types[:n] if team == 0 else scenario.types[n:]
    kinds = range(len(table.points)) if scenario.random_types else sorted(set(part))
    seconds = units.TICKS * rules.world.time_per_step
    described = [
        f"a {units.KINDS[kind].name} has a radius of {table.radiuses[kind]:g}, reaches "
        f"{table.attack_ranges[kind]:.3g} from center to center, walks {table.velocities[kind] * seconds:.3g} in a "
        f"step and has {table.points[kind]:g} points of health{_shield_points(kind)}"
        for kind in kinds
    ]
    return "; ".join(described)


def _shield_points(kind: int) -> str:
    return f" and {units.SHIELD[kind]:g} of shield" if units.SHIELD[kind] else ""


def _shield(rules: Rules, every: str) -> str:
    grows = f"; grows again once {CALM_STEPS} steps went by without damage" if rules.shielded.size else ""
    return f"shield of {every}, which damage takes before health{grows}; 0 for a dead one"


def _cooldown_unit(rules: Rules) -> str:
    kinds = _ally_kinds(rules)
    loops = ", ".join(f"{units.KINDS[kind].smac_cooldown:g} of a {units.KINDS[kind].name}" for kind in kinds)
    return f"share of SMAC's scale ({loops}; in world ticks, of which a step has {units.TICKS})"


def _longest(rules: Rules) -> float:
    """Longest cooldown: that of a shot has a random part of at most 2 ticks."""
    tick = rules.world.time_per_step
    longest = max(
        (rules.table.weapon_cooldowns[kind] / tick + 2) / units.SMAC_COOLDOWN[kind] for kind in _ally_kinds(rules)
    )
    return float(round(longest + 0.005, 2))


def _ally_kinds(rules: Rules) -> list[int]:
    if rules.scenario.random_types:
        return list(range(len(rules.table.points)))
    return sorted(set(rules.scenario.types[: rules.scenario.n_allies]))
