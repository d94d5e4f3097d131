"""Policies of the opponents that `mpe_tag` (the prey) and `mpe_adversary` (the adversary) play against the team.

A policy is a pure function of a key and of the observation of this one player, in mpe2's order.
`qllm_envs.selfplay` trained the networks that ship here. They give their command by its first name,
`python -m qllm_envs.opponents.train`, which is `python -m qllm_envs.selfplay.train` now.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from qllm_envs import options

if TYPE_CHECKING:
    from qllm_envs.opponents.scripts import Policy

__all__ = ["KINDS", "ORDERS", "make", "path_of", "trained_sizes"]

KINDS = ("trained", "heuristic", "random", "still")
ORDERS = ("corrected", "paper")
FOLDER = Path(__file__).parent  # where `trained` is looked for
MIRRORED = (0, 2, 1, 4, 3)  # left for right and down for up


def make(env: str, role: str, n_agents: int, kind: str, action_order: str) -> "Policy":
    """Return the policy of `role` (prey or adversary) in `env`. ValueError for a bad option or an untrained size.

    `kind`: "trained" is a network that learned in self-play (`qllm_envs.selfplay.train`) and takes its best action;
    it exists for some numbers of agents. "heuristic" is a rule, "random" draws any action, "still" never pushes.

    `action_order`: "corrected", or "paper" for a trained player that acts as mirrored as the one of the paper's runs.
    These play epymarl's `PretrainedTag` and `PretrainedAdversary` (src/envs/pretrained/tag.py and adversary.py). Their
    networks come from a fork of the particle world with the actions none, right, left, up, down, and the wrapper hands
    their choice to PettingZoo, where it means none, left, right, down, up: that prey runs towards the predators and
    out of the arena, and that adversary away from the landmarks.
    """
    # Not above: the commands of this package print their help without jax.
    import jax.numpy as jnp

    from qllm_envs.opponents import network, scripts
    from qllm_envs.opponents.frame import layout

    kind = options.choice(env, "opponent", kind, KINDS)
    action_order = options.choice(env, "opponent_action_order", action_order, ORDERS)
    if kind != "trained":
        if action_order == "paper":
            raise ValueError(f"{env}: opponent_action_order 'paper' needs opponent 'trained', got {kind!r}")
        return scripts.OPPONENTS[role][kind]
    if n_agents not in trained_sizes(role):
        sizes = ", ".join(map(str, trained_sizes(role)))
        others = ", ".join(sorted(set(KINDS) - {"trained"}))
        raise ValueError(
            f"{env}: opponent 'trained' was trained for n_agents={sizes}, not {n_agents}: choose opponent from {others}"
        )
    trained = network.policy(network.load(path_of(role, n_agents), "opponent"), layout(role, n_agents))
    if action_order == "corrected":
        return trained
    return lambda key, obs: jnp.array(MIRRORED)[trained(key, obs)]


def path_of(role: str, n_agents: int) -> Path:
    """File of the networks that were trained with `n_agents` agents."""
    return FOLDER / f"{role}_n{n_agents}.npz"


def trained_sizes(role: str) -> tuple[int, ...]:
    """Numbers of agents for which a network of `role` ships, sorted."""
    return tuple(sorted(int(file.stem.rpartition("_n")[2]) for file in FOLDER.glob(f"{role}_n*.npz")))
