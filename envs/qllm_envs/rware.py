"""Robotic warehouse (Papoudakis et al. 2021, arxiv.org/abs/2006.07869): version 2 tasks of rware 2.0.0.

Agents carry requested shelves to goals, and back. Steps, collisions and observations are those of rware, and so is the
law of the reset and of new requests. The team reward is the sum of rware's rewards over agents. What differs:

- Messages and images are left out: an agent chooses one of five actions and sees the flattened observation.
- rware has no flat state; ours, and the fields it is made of, tell what agents cannot see: goals, all requests, loads.
- rware reports the step limit as a termination, here it is a truncation; `time_limit_is_terminal` makes it one.
"""

from collections.abc import Sequence
from functools import partial

from qllm_envs import options
from qllm_envs._rware import floor, ties
from qllm_envs._rware import view as seen
from qllm_envs._rware.floor import MAX_CELLS, SIZES, Floor
from qllm_envs._rware.game import ACTION_NAMES, REWARD_TYPES, Rules, State, notable, reset, step
from qllm_envs.core import Env, Spec

__all__ = ["State", "make"]

NAME = "rware"
DIFFICULTIES = {"easy": 2.0, "normal": 1.0, "hard": 0.5}  # requests for each agent
MAX_AGENTS, MAX_REACH = 1000, 10


def make(
    *,
    n_agents: int = 2,
    size: str = "tiny",
    shelf_rows: int | None = None,
    shelf_columns: int | None = None,
    column_height: int = 8,
    layout: Sequence[str] | None = None,
    difficulty: str = "normal",
    requests: int | None = None,
    sensor_range: int = 1,
    reward_type: str = "individual",
    max_inactivity: int | None = None,
    horizon: int = 500,
) -> Env:
    """Return `rware-{size}-{n_agents}ag[-{difficulty}]-v2`, or a warehouse of any other size.

    `size` names numbers of rows and columns of shelf blocks, which `shelf_rows` and `shelf_columns` (odd) replace. A
    block is 2 wide and `column_height` high. `layout` draws a floor in place of all these, a text for each row: x a
    shelf, . a highway, g a goal.

    `difficulty` gives the number of requested shelves: 2 for each agent (easy), 1 (normal) or 0.5 (hard, rounded down).
    `requests` replaces it. An agent sees the cells that are at most `sensor_range` away in both directions. An episode
    ends after `max_inactivity` steps without a delivery; None: never.

    `reward_type` is "individual" (a delivery pays 1 to its carrier, so 1 to the team), "global" (1 to every agent, so
    `n_agents` to the team) or "two_stage" (0.5 to the carrier, and 0.5 when it then puts down a shelf in storage).
    """
    n = options.integer(NAME, "n_agents", n_agents, 1, MAX_AGENTS)
    plan = _floor(size, shelf_rows, shelf_columns, column_height, layout)
    if n > plan.n_cells:
        raise ValueError(f"{NAME}: n_agents must be at most {plan.n_cells}, the cells of the floor, got {n}")
    rules = Rules(
        n_agents=n,
        floor=plan,
        tables=ties.tables(plan, n),
        requests=_requests(n, plan.n_shelves, difficulty, requests),
        sensor_range=options.integer(NAME, "sensor_range", sensor_range, 0, MAX_REACH),
        reward_type=options.choice(NAME, "reward_type", reward_type, REWARD_TYPES),
        max_inactivity=None if max_inactivity is None else options.integer(NAME, "max_inactivity", max_inactivity, 1),
        horizon=options.integer(NAME, "horizon", horizon, low=1),
    )
    shape = size if (shelf_rows, shelf_columns, layout) == (None, None, None) else None
    return Env(
        spec=_spec(rules, _task(rules, shape, column_height, difficulty)),
        reset=partial(reset, rules),
        step=partial(step, rules),
        view=partial(seen.view, rules),
        scene=partial(seen.scene, rules),
        notable=partial(notable, rules),
    )


def _floor(
    size: str, shelf_rows: int | None, shelf_columns: int | None, column_height: int, layout: Sequence[str] | None
) -> Floor:
    """Return the floor plan, or raise ValueError."""
    if layout is not None:
        lines = layout.strip().split("\n") if isinstance(layout, str) else layout
        try:
            plan = floor.from_drawing(map(str, lines))
        except ValueError as error:
            raise ValueError(f"{NAME}: layout must have {error}") from error
    else:
        rows, columns = SIZES[options.choice(NAME, "size", size, SIZES)]
        rows = rows if shelf_rows is None else options.integer(NAME, "shelf_rows", shelf_rows, low=1)
        columns = columns if shelf_columns is None else options.integer(NAME, "shelf_columns", shelf_columns, low=1)
        if columns % 2 == 0:
            raise ValueError(f"{NAME}: shelf_columns must be odd, got {columns}")
        height = options.integer(NAME, "column_height", column_height, low=1)
        # Before anything is built: numbers alone can ask for more memory than there is.
        _check_cells(((height + 1) * rows + 2) * (3 * columns + 1))
        plan = floor.from_numbers(rows, columns, height)
    _check_cells(plan.n_cells)
    if plan.n_shelves < 2:
        raise ValueError(f"{NAME}: a floor needs at least 2 shelves, one requested and one not, got {plan.n_shelves}")
    return plan


def _check_cells(cells: int) -> None:
    if cells > MAX_CELLS:
        raise ValueError(f"{NAME}: a floor has at most {MAX_CELLS} cells, got {cells}")


def _requests(n_agents: int, n_shelves: int, difficulty: str, requests: int | None) -> int:
    """Return the number of requested shelves. One shelf is always left to be requested next."""
    of_each = DIFFICULTIES[options.choice(NAME, "difficulty", difficulty, DIFFICULTIES)]
    if requests is None:
        count, why = int(n_agents * of_each), f"{n_agents} agents at difficulty {difficulty!r}"
        if count < 1:
            raise ValueError(f"{NAME}: {why} make no request: set requests=1 or an easier difficulty")
    else:
        count, why = options.integer(NAME, "requests", requests, low=1), f"requests={requests}"
    if count >= n_shelves:
        raise ValueError(f"{NAME}: requests must be at most {n_shelves - 1}, one less than shelves; {why} make {count}")
    return count


def _task(rules: Rules, size: str | None, column_height: int, difficulty: str) -> str:
    """Short name of the game: rware's own id with underscores where it has one."""
    shape = size or f"{rules.floor.width}x{rules.floor.height}"
    parts = [NAME, shape, f"{rules.n_agents}ag"]
    if size and column_height != 8:
        parts.insert(2, f"h{column_height}")
    if rules.requests != int(rules.n_agents * DIFFICULTIES[difficulty]):
        parts.append(f"{rules.requests}req")
    elif difficulty != "normal":
        parts.append(difficulty)
    if rules.reward_type != "individual":
        parts.append(rules.reward_type)
    return "_".join(parts)


def _spec(rules: Rules, task: str) -> Spec:
    return Spec(
        name=NAME,
        n_agents=rules.n_agents,
        n_actions=len(ACTION_NAMES),
        obs_dim=seen.obs_dim(rules),
        state_dim=seen.state_dim(rules),
        horizon=rules.horizon,
        ends_early=rules.max_inactivity is not None,
        fields=seen.described(rules),
        action_names=ACTION_NAMES,
        reward=_reward_sentence(rules),
        source="Papoudakis et al. 2021 (arxiv.org/abs/2006.07869), rware 2.0.0",
        task=task,
        state_layout=seen.layout(rules),
    )


def _reward_sentence(rules: Rules) -> str:
    delivered = "requested shelf that an agent carries onto a goal or still carries on a goal when it is requested"
    if rules.reward_type == "global":
        return f"The number of agents, {rules.n_agents}, for each {delivered}, and nothing else."
    if rules.reward_type == "two_stage":
        back = "0.5 when that agent next puts a shelf down in a storage cell"
        return f"0.5 for each {delivered}, and {back}, once however often it has delivered since it put one down."
    return f"1 for each {delivered}, and nothing else."
