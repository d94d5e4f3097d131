"""Peers of the environments in env_step.py: JaxMARL's and jumanji's environments in JAX, and the original packages.

A package is imported in the function that plays it, so that a missing package costs no more than its row.
"""

import importlib.util
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

NAMES = JAXMARL, JUMANJI, MPE2, LBFORAGING, RWARE = "jaxmarl", "jumanji", "mpe2", "lbforaging", "rware"
PLAN = 16  # episodes for which a package gets actions; then they repeat
Play = Callable[[], int]  # plays whole episodes and returns their env steps
Game = dict[str, Any]  # name and all options of an environment of qllm_envs


def jaxmarl_env(game: Game) -> Any:
    """Make JaxMARL's environment of the same sizes. 0.2.0 ends an episode a step after `max_steps`."""
    import jaxmarl  # here, as it takes seconds and prints, which --help need not wait for

    if game["name"] == "smax":
        return stock_smax(game)
    n = game["n_agents"]
    name, sizes = {
        "mpe_spread": ("MPE_simple_spread_v3", {"num_agents": n, "num_landmarks": n}),
        "mpe_tag": ("MPE_simple_tag_v3", {"num_adversaries": n}),
        "mpe_adversary": ("MPE_simple_adversary_v3", {"num_good_agents": n, "num_obs": n}),
    }[game["name"]]
    return jaxmarl.make(name, max_steps=game["horizon"] - 1, **sizes)


def stock_smax(game: Game) -> Any:
    """Make SMAX with its own enemies; scenario and units of qllm_envs are given as its arguments, without splash."""
    from jaxmarl.environments.smax import HeuristicEnemySMAX

    from qllm_envs._smax import scenarios, units, world

    fidelity = game["fidelity"]
    scenario = scenarios.find(game["scenario"], fidelity)
    table = units.table(scenario, fidelity)
    start = world.formation(scenario, table, fidelity)
    told = world.arguments(scenario, table, units.TICK[fidelity], start)
    horizon = scenario.limit if game["horizon"] is None else game["horizon"]
    env = HeuristicEnemySMAX(max_steps=horizon - 1, **told)
    if start is not None:
        env._env.position_generator = world.always(start)
    return env


def jumanji_env(game: Game) -> Any:
    """Make jumanji's RobotWarehouse of the same sizes: another task, in which a collision ends the episode."""
    import jumanji.environments.routing.robot_warehouse as module  # pyright: ignore[reportMissingImports]

    if game["layout"]:
        raise SystemExit(f"{JUMANJI} has no floors that are drawn: leave env.layout out, or uninstall {JUMANJI}")
    generator = module.generator.RandomGenerator(
        **warehouse(game),
        num_agents=game["n_agents"],
        sensor_range=game["sensor_range"],
    )
    return module.RobotWarehouse(generator, time_limit=game["horizon"])


def warehouse(game: Game) -> dict[str, Any]:
    """Return the sizes of a warehouse, which rware and jumanji name alike."""
    from qllm_envs.rware import DIFFICULTIES, SIZES

    rows, columns = SIZES[game["size"]]
    return {
        "shelf_rows": game["shelf_rows"] or rows,
        "shelf_columns": game["shelf_columns"] or columns,
        "column_height": game["column_height"],
        "request_queue_size": game["requests"] or int(game["n_agents"] * DIFFICULTIES[game["difficulty"]]),
    }


def mpe2_play(game: Game, rng: np.random.Generator) -> Play:
    """Play episodes of mpe2 as epymarl does: dicts by agent name."""
    from mpe2 import simple_adversary_v3, simple_spread_v3, simple_tag_v3

    n = game["n_agents"]
    module, sizes = {
        "mpe_spread": (simple_spread_v3, {"N": n}),
        "mpe_tag": (simple_tag_v3, {"num_adversaries": n}),
        "mpe_adversary": (simple_adversary_v3, {"N": n}),
    }[game["name"]]
    env: Any = module.parallel_env(max_cycles=game["horizon"], **sizes)
    env.reset(seed=0)
    names = env.possible_agents
    plan = rng.integers(0, 5, (PLAN, game["horizon"], len(names))).tolist()
    named = [[dict(zip(names, actions, strict=True)) for actions in episode] for episode in plan]

    def step(actions: dict[str, int]) -> bool:
        env.step(actions)
        return bool(env.agents)  # empty after the last step

    return package_play(env.reset, step, named)


def lbforaging_play(game: Game, rng: np.random.Generator) -> Play:
    """Play episodes of lbforaging, without gymnasium's wrappers."""
    from lbforaging.foraging import ForagingEnv

    rows, cols = game["rows"], game["cols"]
    env: Any = ForagingEnv(
        players=game["n_agents"],
        min_player_level=1,
        max_player_level=game["max_player_level"],
        min_food_level=1,
        max_food_level=None,
        field_size=(rows, cols),
        max_num_food=game["n_foods"],
        sight=max(rows, cols) if game["sight"] is None else game["sight"],
        max_episode_steps=game["horizon"],
        force_coop=game["coop"],
        normalize_reward=game["normalize_reward"],
        penalty=game["penalty"],
    )
    env.reset(seed=0)
    plan = rng.integers(0, 6, (PLAN, game["horizon"], game["n_agents"])).tolist()
    return package_play(env.reset, lambda actions: not env.step(actions)[2], plan)


def rware_play(game: Game, rng: np.random.Generator) -> Play:
    """Play episodes of rware, without gymnasium's wrappers."""
    from rware.warehouse import RewardType, Warehouse

    env: Any = Warehouse(
        **warehouse(game),
        n_agents=game["n_agents"],
        msg_bits=0,
        sensor_range=game["sensor_range"],
        max_inactivity_steps=game["max_inactivity"],
        max_steps=game["horizon"],
        reward_type=RewardType[game["reward_type"].upper()],
        layout="\n".join(game["layout"]) if game["layout"] else None,
    )
    env.reset(seed=0)
    plan = rng.integers(0, 5, (PLAN, game["horizon"], game["n_agents"])).tolist()
    return package_play(env.reset, lambda actions: not env.step(actions)[2], plan)


def package_play(reset: Callable[[], Any], step: Callable[[Any], bool], plan: list[Any]) -> Play:
    """Play by `step`, which returns True until the episode ends; `plan` holds joint actions by episode and step."""
    episodes = itertools.cycle(plan)

    def play() -> int:
        reset()
        actions = next(episodes)
        return next((t for t, joint in enumerate(actions, 1) if not step(joint)), len(actions))

    return play


PACKAGES = {  # environment -> what it was ported from
    "lbf": (LBFORAGING, lbforaging_play),
    "mpe_spread": (MPE2, mpe2_play),
    "mpe_tag": (MPE2, mpe2_play),
    "mpe_adversary": (MPE2, mpe2_play),
    "rware": (RWARE, rware_play),
}
IN_JAX = {  # environment -> a peer that is compiled as ours is
    **dict.fromkeys(("mpe_spread", "mpe_tag", "mpe_adversary", "smax"), JAXMARL),
    "rware": JUMANJI,
}


def installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def of(name: str) -> list[str]:
    """Return the peers of an environment, installed or not."""
    package = [PACKAGES[name][0]] if name in PACKAGES else []
    return [*([IN_JAX[name]] if name in IN_JAX else []), *package]


def missing(name: str) -> list[str]:
    """Return a sentence for each peer of an environment that is not installed."""
    if not of(name):
        return [f"{name} has no peer: there is no package to compare it with"]
    return [f"{peer} is left out: it is not installed (pip install {peer})" for peer in of(name) if not installed(peer)]
