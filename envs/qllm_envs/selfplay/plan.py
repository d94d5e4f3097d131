"""The plan of a training, its defaults, and its record in a file of networks."""

from importlib.metadata import version
from typing import Any, NamedTuple

VERSION = 1  # of the shipped networks and of the form of their files
N_AGENTS = {"prey": 3, "adversary": 2}  # the sizes of the paper
PACKAGES = ("jax", "jaxlib", "numpy", "optax")


class Plan(NamedTuple):
    """Role, size and lengths of a training. The defaults gave the files that ship."""

    role: str
    n_agents: int
    seed: int = 0
    generations: int = 12
    updates: int = 150  # of each side in a generation
    games: int = 160  # against each rival of a pool
    snapshots: int = 3  # networks of the past in a pool
    hidden: tuple[int, ...] = (64, 64)
    horizon: int = 25
    lr: float = 6e-3


def meta_of(plan: Plan) -> dict[str, Any]:
    """Record of a plan, with the command that trains it again. No date and no path: equal plans give equal bytes."""
    options = []
    for name, value in plan._asdict().items():
        words = value if isinstance(value, tuple) else (value,)
        options += [] if name == "role" else [f"--{name.replace('_', '-')}", *map(str, words)]
    return {
        "name": plan.role,
        "version": VERSION,
        "command": " ".join([f"python -m qllm_envs.selfplay.train {plan.role}", *options]),
        "versions": {package: version(package) for package in PACKAGES},
        **{name: value for name, value in plan._asdict().items() if name != "role"},
    }
