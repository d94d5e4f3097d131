"""Level-based foraging (Papoudakis et al. 2021, arxiv.org/abs/2006.07869): version 3 tasks of lbforaging 2.0.0.

Agents walk on a grid and load foods together: a food is eaten when agents beside it load in the same step and their
levels add up to its own. Steps, observations and the law of the reset are those of lbforaging; the flat state is that
of QLLM (arxiv.org/abs/2504.12961), its named parts are the fields. What differs:

- lbforaging gives up on a food after 1000 draws of a cell; here it is left out exactly if no legal cell is left.
- At a second reset of one lbforaging object, cells of the episode before are still taken; here episodes are apart.
- QLLM's release never clears its last actions, so that an episode begins with those of the one before. Episodes here
  begin at a key and know nothing of each other: last actions begin at -1, as the paper says.
"""

import math
from functools import partial

from qllm_envs import options
from qllm_envs._lbf import view as seen
from qllm_envs._lbf.game import ACTION_NAMES, LEVELS_OF_FOOD, REACH, Rules, State, notable, reset, step
from qllm_envs.core import Env, Field, Spec

__all__ = ["State", "make"]

NAME = "lbf"
MAX_SIDE, MAX_LEVEL = 1000, 100  # of the grid and of an agent: they bound what an observation packs into an integer


def make(
    *,
    n_agents: int = 2,
    rows: int = 8,
    cols: int = 8,
    n_foods: int = 2,
    sight: int | None = None,
    coop: bool = False,
    penalty: float = 0.0,
    max_player_level: int = 2,
    horizon: int = 50,
    normalize_reward: bool = True,
    fix_overlap: bool = False,
) -> Env:
    """Return `Foraging[-{sight}s]-{rows}x{cols}-{n_agents}p-{n_foods}f[-coop]-v3`; `sight=None` is the whole grid.

    `coop` gives each food the sum of the three lowest levels of agents, which is otherwise the highest it can have.
    `penalty` is the cost of a load that does not succeed, for each agent that loads. `normalize_reward` divides by the
    sum of all levels of food, so that the return is 1 if all foods are eaten; without it a food pays its level times
    the sum of the levels of the agents that load it.

    Two agents may end up in one cell: lbforaging lets an agent enter a cell whose agent claims another one and does
    not get it. `fix_overlap` keeps an agent out of a cell whose agent stays, so that no cell is ever shared; swaps,
    rings and queues still move.

    Foods keep a distance of 3 steps. A number of foods that no grid of this size can hold is refused. On a crowded grid
    foods that find no cell are left out of the episode, as in lbforaging, but never all.
    """
    rules = Rules(
        n_agents=options.integer(NAME, "n_agents", n_agents, low=1),
        rows=options.integer(NAME, "rows", rows, 3, MAX_SIDE),
        cols=options.integer(NAME, "cols", cols, 3, MAX_SIDE),
        n_foods=options.integer(NAME, "n_foods", n_foods, low=1),
        sight=max(rows, cols) if sight is None else min(options.integer(NAME, "sight", sight, 0), max(rows, cols)),
        coop=options.flag(NAME, "coop", coop),
        penalty=options.number(NAME, "penalty", penalty, low=0, high=1000),
        max_player_level=options.integer(NAME, "max_player_level", max_player_level, 1, MAX_LEVEL),
        horizon=options.integer(NAME, "horizon", horizon, low=1),
        fix_overlap=options.flag(NAME, "fix_overlap", fix_overlap),
        normalize_reward=options.flag(NAME, "normalize_reward", normalize_reward),
    )
    _check_room(rules)
    return Env(
        spec=_spec(rules),
        reset=partial(reset, rules),
        step=partial(step, rules),
        view=partial(seen.view, rules),
        scene=partial(seen.scene, rules),
        notable=partial(notable, rules),
    )


def _check_room(rules: Rules) -> None:
    """Raise ValueError unless a reset always finds cells for all agents and one food, and sometimes for all foods."""
    inner_rows, inner_cols, grid = rules.rows - 2, rules.cols - 2, f"on a grid of {rules.rows}x{rules.cols}"
    # All agents may start where foods are placed.
    most_agents = inner_rows * inner_cols - 1
    if rules.n_agents > most_agents:
        why = "so that there is always a cell left for a food"
        raise ValueError(f"{NAME}: n_agents must be at most {most_agents} {grid}, {why}, got {rules.n_agents}")
    # Foods are too far apart for the crosses of 5 cells around them to meet. Of the border, which holds no food but
    # arms of crosses, a side has an arm in every third cell at most.
    usable = inner_rows * inner_cols + 2 * math.ceil(inner_rows / 3) + 2 * math.ceil(inner_cols / 3)
    most_foods = usable // 5
    if rules.n_foods > most_foods:
        why = f"where foods are {REACH + 1} steps apart and not at the border"
        raise ValueError(f"{NAME}: n_foods must be at most {most_foods} {grid}, {why}, got {rules.n_foods}")


def _spec(rules: Rules) -> Spec:
    n, f = rules.n_agents, rules.n_foods
    coop = "_coop" if rules.coop else ""
    return Spec(
        name=NAME,
        n_agents=n,
        n_actions=len(ACTION_NAMES),
        obs_dim=3 * f + 3 * n,
        state_dim=3 * n + 3 * f + n,
        horizon=rules.horizon,
        ends_early=True,
        fields=_fields(rules),
        action_names=ACTION_NAMES,
        reward=_reward_sentence(rules),
        source="Papoudakis et al. 2021 (arxiv.org/abs/2006.07869), lbforaging 2.0.0; state of arxiv.org/abs/2504.12961",
        task=f"{NAME}_{rules.rows}x{rules.cols}_{n}p_{f}f{coop}",
        state_layout=seen.layout(rules),
    )


def _reward_sentence(rules: Rules) -> str:
    if rules.normalize_reward:
        pays = (
            "The sum of the levels of the foods eaten in the step, divided by the sum of the levels of all foods at "
            "the start, so that all foods together pay 1"
        )
    else:
        pays = "For each food eaten in the step, its level times the sum of the levels of the agents that load it"
    if rules.penalty:
        pays += f", minus {rules.penalty:g} for each agent that loads a food which is not eaten"
    return f"{pays}."


def _fields(rules: Rules) -> dict[str, Field]:
    n, f, side = rules.n_agents, rules.n_foods, max(rules.rows, rules.cols)
    lowest = "the levels of all agents" if n <= LEVELS_OF_FOOD else f"the {LEVELS_OF_FOOD} lowest levels of agents"
    level = f"the sum of {lowest}" if rules.coop else f"drawn from 1 to the sum of {lowest}"
    share = "no two agents share a cell" if rules.fix_overlap else "two agents may come to share a cell"
    agent_pos = (
        "cell (row, column) of each agent, row i for agent i; "
        f"rows run from 0 in the north to {rules.rows - 1}, columns from 0 in the west to {rules.cols - 1}; {share}; "
        "an agent is beside a food if their cells are one step apart, up, down, left or right"
    )
    food_pos = (
        "cell (row, column) of each food, row f for food f; fixed in an episode until the food is eaten, (-1, -1) from "
        f"then on, or from the start if there was no cell left for it; foods are at least {REACH + 1} steps apart and "
        "not at the border"
    )
    food_level = (
        f"level of each food, at the start {level}; 0 once it is eaten, or from the start if there was no cell left "
        "for it; a food is eaten when agents beside it load in the same step and their levels sum to at least its own"
    )
    last_action = (
        "number of the action that each agent sent in the step before, whether it could be done or not; -1 at the start"
    )
    most_level, last = float(rules.max_player_level), len(ACTION_NAMES) - 1.0
    return {
        "agent_pos": Field((n, 2), agent_pos, "cell", 0.0, side - 1.0),
        "agent_level": Field((n,), "level of each agent, drawn anew for each episode", "level", 1.0, most_level),
        "food_pos": Field((f, 2), food_pos, "cell", -1.0, side - 2.0),
        "food_level": Field((f,), food_level, "level", 0.0, most_level * min(n, LEVELS_OF_FOOD)),
        "last_action": Field((n,), last_action, "number of an action", -1.0, last),
    }
