"""Couriers: agents bring parcels to their destinations past hazards and each other, and a crash can end the episode.

A task of this package with safety constraints, not a game from the literature: an agent does not see what the others
carry, and so not where they are heading, but the state tells. Nothing is random after the start, so that the best
return of a start can be searched for.
"""

from functools import partial

from qllm_envs import options
from qllm_envs._couriers import view as seen
from qllm_envs._couriers.game import ACTION_NAMES, Rules, State, crashed, hazard_cells, notable, reset, step, won
from qllm_envs.core import Env, Spec

__all__ = ["State", "make"]

NAME = "couriers"
MAX_SIDE = 100


def make(
    *,
    n_agents: int = 2,
    rows: int = 6,
    cols: int = 6,
    n_parcels: int = 2,
    n_hazards: int = 3,
    crash_cost: float = 0.25,
    crash_ends: bool = True,
    horizon: int = 40,
) -> Env:
    """Return the game on a grid of `rows` x `cols`.

    Agents walk one cell a step. One with empty hands that enters the cell of a waiting parcel picks it up; a parcel is
    delivered when its carrier enters its destination. Each parcel pays 1 / `n_parcels`, so that all of them pay 1.

    An agent that heads for a hazard, for the cell of an agent that stays, or for a cell that another one enters too,
    crashes, as does the other agent; so do two that would swap cells. They stay where they were. Each agent that
    crashes costs `crash_cost`, and with `crash_ends` a crash ends the episode. The episode is won once all parcels are
    delivered.
    """
    rules = Rules(
        n_agents=options.integer(NAME, "n_agents", n_agents, low=1),
        rows=options.integer(NAME, "rows", rows, low=2, high=MAX_SIDE),
        cols=options.integer(NAME, "cols", cols, low=2, high=MAX_SIDE),
        n_parcels=options.integer(NAME, "n_parcels", n_parcels, low=1),
        n_hazards=options.integer(NAME, "n_hazards", n_hazards, low=0),
        crash_cost=options.number(NAME, "crash_cost", crash_cost, low=0, high=1000),
        crash_ends=options.flag(NAME, "crash_ends", crash_ends),
        horizon=options.integer(NAME, "horizon", horizon, low=1),
    )
    _check_room(rules)
    return Env(
        spec=_spec(rules),
        reset=partial(reset, rules),
        step=partial(step, rules),
        view=partial(seen.view, rules),
        scene=partial(seen.scene, rules),
        won=won,
        crashed=crashed,
        notable=partial(notable, rules),
    )


def _check_room(rules: Rules) -> None:
    """Raise ValueError unless everything has a cell of its own."""
    grid, most = f"a grid of {rules.rows}x{rules.cols}", len(hazard_cells(rules.rows, rules.cols))
    if rules.n_hazards > most:
        why = "which are off the border and not adjacent"
        raise ValueError(f"{NAME}: n_hazards must be at most {most} on {grid}, {why}, got {rules.n_hazards}")
    cells, things = rules.rows * rules.cols - rules.n_hazards, rules.n_agents + 2 * rules.n_parcels
    if things > cells:
        needed = f"{rules.n_agents} agents, {rules.n_parcels} parcels and as many destinations"
        raise ValueError(f"{NAME}: {needed} need {things} cells, and {grid} has {cells} without hazards")


def _spec(rules: Rules) -> Spec:
    crash = "each agent that crashes" + (", which also ends the episode" if rules.crash_ends else "")
    free = "" if rules.crash_ends else "_goes_on"
    return Spec(
        name=NAME,
        n_agents=rules.n_agents,
        n_actions=len(ACTION_NAMES),
        obs_dim=seen.obs_dim(rules),
        state_dim=rules.n_agents * (3 + rules.n_parcels) + 6 * rules.n_parcels + 2 * rules.n_hazards,
        horizon=rules.horizon,
        ends_early=True,
        fields=seen.described(rules),
        action_names=ACTION_NAMES,
        reward=(
            f"1/{rules.n_parcels} for each parcel delivered in the step, minus {rules.crash_cost:g} for {crash}; all "
            "parcels together pay 1, and the episode ends once they are delivered."
        ),
        source="qllm_envs, a task with safety constraints (docs/environments.md)",
        task=f"{NAME}_{rules.rows}x{rules.cols}_{rules.n_agents}a_{rules.n_parcels}p_{rules.n_hazards}h{free}",
        state_layout=seen.layout(rules),
    )
