"""Payoffs of matrix games: those of matrix-games 0.0.2 (github.com/uoe-agents/matrix-games), and checks of any other.

Climbing and penalty are from Claus and Boutilier 1998 (AAAI-98, "The Dynamics of Reinforcement Learning in Cooperative
Multiagent Systems"). `table[a_0]...[a_n]` is paid to the team when agent i chooses action a_i.
"""

from typing import Any

import numpy as np
from jaxtyping import Float

from qllm_envs import options

Payoff = Float[np.ndarray, "..."]  # N axes of length A, in float32

LARGEST = 1e6  # the size of a payoff: a float32 holds the sum of an episode of these to a few units
PENALTY, DEFAULT_K = "penalty", 100

GAMES: dict[str, Any] = {
    "climbing": [[11, -30, 0], [-30, 7, 0], [0, 6, 5]],
    "climbing-3p": [
        [[11, -30, 0], [-30, 0, 0], [0, 0, 0]],
        [[-30, 0, 0], [0, 7, 0], [0, 0, 0]],
        [[0, 0, 0], [0, 0, 0], [0, 6, 5]],
    ],
    "linear": [[1, 4, 2], [0, 3, 1], [2, 5, 3]],
    "linear-2p": [[1, 5], [5, 9]],
    "nonlinear": [[0, 3, 1], [0, 0, 0], [0, 6, 2]],
    "nonlinear-2p": [[0, 0], [0, 10]],
    "trivial": [[11, 8, 0], [8, 7, 0], [0, 0, 0]],
}  # and penalty, which has a parameter


def named(env: str, game: str, k: float | None) -> tuple[str, Payoff]:
    """Return the title of a game, which includes its parameter, and its payoff. ValueError for a bad name or `k`."""
    game = options.choice(env, "game", game, (*GAMES, PENALTY))
    if game == PENALTY:
        k = options.number(env, "k", DEFAULT_K if k is None else k, low=0, high=LARGEST)
        return f"{game}_k{k:g}", checked(env, [[0 - k, 0, 10], [0, 2, 0], [10, 0, 0 - k]])
    return game, checked(env, GAMES[game])


def checked(env: str, payoff: Any) -> Payoff:
    """Return `payoff` as an array. ValueError unless it is a full tensor of numbers in range with equal axes."""
    try:
        table = np.array(payoff, dtype=object)  # any other dtype makes text of numbers beside text
    except ValueError:  # arrays whose shapes differ
        table = np.array(["", []], dtype=object)
    if table.ndim == 0:
        raise ValueError(f"{env}: payoff must be a nested list of numbers, got {payoff!r}")
    if any(isinstance(entry, list | tuple) for entry in table.flat):
        raise ValueError(f"{env}: payoff must be a full tensor, got lists of different lengths or depths")
    if table.size == 0 or len(set(table.shape)) > 1:
        raise ValueError(
            f"{env}: payoff must have one axis an agent, all as long as there are actions, got shape {table.shape}"
        )
    for index, entry in np.ndenumerate(table):
        is_number = isinstance(entry, int | float | np.integer | np.floating) and not isinstance(entry, bool)
        if not is_number or not -LARGEST <= entry <= LARGEST:  # also False for NaN
            where = "".join(f"[{i}]" for i in index)
            raise ValueError(f"{env}: payoff{where} must be a number of at most {LARGEST:g} in size, got {entry!r}")
    return table.astype(np.float32)
