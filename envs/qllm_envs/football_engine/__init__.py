"""The engine of Google Research Football (Kurach et al. 2020, arxiv.org/abs/1907.11180) as a host vector environment.

It plays the tasks of `football_lite` with the same agents, actions, observations, rewards and ends, in processes of the
host: to evaluate policies that were trained in the port, and to compare the port with it. It is no `Env`, as nothing of
it can be traced. The engine is an optional extra, and only `game.engine` imports it.
"""

from qllm_envs.football_engine.game import MISSING, Game, Outcome, installed
from qllm_envs.football_engine.tasks import LIMIT, N_ACTIONS, NAME, OBS_DIM, REFUSAL, TASKS, n_agents_of
from qllm_envs.football_engine.vector import Games

__all__ = [
    "LIMIT", "MISSING", "NAME", "N_ACTIONS", "OBS_DIM", "REFUSAL", "TASKS", "Game", "Games", "Outcome", "installed",
    "n_agents_of",
]  # fmt: skip
