"""JaxMARL's environments through one adapter: those of jaxmarl 0.2.0 with discrete actions and one team.

JaxMARL (Rutherford et al. 2024, arxiv.org/abs/2311.10090) gives resets, steps, observations and availability, which are
taken as they are. Its automatic reset is undone, observations and actions of unequal agents are padded, and the team's
reward is that of its CTRolloutManager. docs/jaxmarl.md lists all of its environments.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

from qllm_envs import options
from qllm_envs.core import Env

NAME = "jaxmarl"


def make(
    *,
    id: str = "MPE_simple_speaker_listener_v4",
    kwargs: Mapping[str, Any] | None = None,
    n_agents: int | None = None,
    horizon: int | None = None,
    shaped_reward: float = 0.0,
) -> Env:
    """Return the environment `id` of JaxMARL's registry.

    `kwargs` are arguments of JaxMARL's own environment; a layout of Overcooked and a scenario of SMAX are given by
    name. `n_agents` sets its `num_agents`. `horizon`, at most the length at which JaxMARL ends an episode, cuts it
    earlier. `shaped_reward` is the weight of Overcooked's shaped rewards, which are then part of all returns.
    """
    # Here, as importing jaxmarl takes seconds and starts the device.
    from qllm_envs._jaxmarl import arguments, draw, play, tell

    game = arguments.find(id)
    env = arguments.made(id, game, n_agents, kwargs)
    longest = arguments.longest(id, game, env)
    length = longest if horizon is None else options.integer(NAME, "horizon", horizon, low=1)
    if length > longest:
        raise ValueError(
            f"{NAME}: horizon must be at most {longest}, where JaxMARL's {id} ends with these kwargs, got {length}"
        )
    weight = options.number(NAME, "shaped_reward", shaped_reward, low=0)
    if weight and not id.startswith("overcooked"):
        raise ValueError(f"{NAME}: shaped_reward must be 0 for {id}: only overcooked and overcooked_v2 have one")
    rules = play.rules_of(id, game, env, length, weight)
    return Env(
        spec=tell.spec_of(rules, kwargs),
        reset=partial(play.reset, rules),
        step=partial(play.step, rules),
        view=partial(play.view, rules),
        scene=partial(draw.scene, rules),
        won=partial(play.won, rules) if id == "HeuristicEnemySMAX" else None,
    )
