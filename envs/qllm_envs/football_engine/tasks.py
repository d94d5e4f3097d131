"""The tasks: scenarios of the engine with the number of agents of the QLLM release, and the engine's numbering."""

from types import MappingProxyType

NAME = "football_engine"
REFUSAL = (
    f"env {NAME!r} is played by processes of the host and cannot be traced, so nothing is trained in it: train in "
    f"football_lite, then play the run in the engine: python -m qllm_jax.evaluate RUN env={NAME}"
)
# Scenario: agents. The own goalkeeper is one of them where all players of a team are controlled.
TASKS = MappingProxyType(
    {
        "academy_3_vs_1_with_keeper": 4,
        "academy_pass_and_shoot_with_keeper": 3,
        "academy_counterattack_easy": 4,
    }
)
LIMIT = 150  # steps of an episode, of the QLLM release; the engine itself would play 400
OBS_DIM = 115
N_ACTIONS = 19
# By number, as `game_mode` gives them.
GAME_MODES = ("normal", "kick_off", "goal_kick", "free_kick", "corner", "throw_in", "penalty")


def n_agents_of(task: str) -> int:
    """Number of agents of a task. ValueError for one that does not exist."""
    if task not in TASKS:
        raise ValueError(f"scenario {task!r} of {NAME} does not exist: choose from {', '.join(TASKS)}")
    return TASKS[task]
