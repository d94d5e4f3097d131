"""Train the opponents that the package ships, by self-play on a CPU in minutes.

    python -m qllm_envs.opponents.train prey
    python -m qllm_envs.opponents.train adversary --n-agents 3

Both sides learn with PPO in turns. Each trains against a pool: what scripts there are of the other side, and the latest
networks of its past. So a side cannot win by an answer to its present rival alone, and cannot forget the simple ones.
The file holds both sides' networks and how they came about; one seed gives one file on one kind of machine.
"""

import argparse
import math
import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from qllm_envs import opponents

VERSION = 1  # of the shipped networks and of the form of their files
N_AGENTS = {"prey": 3, "adversary": 2}  # the sizes of the paper
PACKAGES = ("jax", "jaxlib", "numpy", "optax")


class Plan(NamedTuple):
    """What to train for how long. The defaults gave the files that ship."""

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


def main(argv: Sequence[str] | None = None) -> int:
    plan, out = parse(sys.argv[1:] if argv is None else argv)
    from qllm_envs.opponents import network, rounds  # not above: --help must not wait for jax

    network.save(out, rounds.train(plan, print), meta(plan))
    print(f"wrote {out}")
    return 0


def parse(argv: Sequence[str]) -> tuple[Plan, Path]:
    defaults = Plan("prey", 3)
    parser = argparse.ArgumentParser("python -m qllm_envs.opponents.train", description="Train an opponent.")
    parser.add_argument("role", choices=sorted(N_AGENTS))
    parser.add_argument("--n-agents", type=at_least(1), help="size of the team; default: the paper's")
    parser.add_argument("--out", type=Path, help="file to write; default: where opponent=trained looks for it")
    parser.add_argument("--hidden", type=at_least(1), nargs="*", default=defaults.hidden, help="widths of layers")
    parser.add_argument("--lr", type=positive, default=defaults.lr, help="learning rate at the start")
    for name in ("generations", "updates", "games", "snapshots", "horizon"):
        parser.add_argument(f"--{name}", type=at_least(1), default=getattr(defaults, name))
    parser.add_argument("--seed", type=at_least(0), default=defaults.seed)
    given = vars(parser.parse_args(argv))
    out = given.pop("out")
    given |= {"hidden": tuple(given["hidden"]), "n_agents": given["n_agents"] or N_AGENTS[given["role"]]}
    plan = Plan(**given)
    out = out or opponents.path_of(plan.role, plan.n_agents)
    if not out.parent.is_dir():
        parser.error(f"argument --out: there is no folder {out.parent}")
    if out.is_dir() or not os.access(out if out.exists() else out.parent, os.W_OK):  # better now than after training
        parser.error(f"argument --out: {out} cannot be written")
    return plan, out


def at_least(low: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isdecimal() or not low <= int(text) < 2**31:
            raise argparse.ArgumentTypeError(f"must be an integer of at least {low}, got {text!r}")
        return int(text)

    return parse


def positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number above 0, got {text!r}")
    return number


def meta(plan: Plan) -> dict[str, Any]:
    """What trains the same file again. No date and no path: equal trainings are to give equal bytes."""
    options = []
    for name, value in plan._asdict().items():
        words = value if isinstance(value, tuple) else (value,)
        options += [] if name == "role" else [f"--{name.replace('_', '-')}", *map(str, words)]
    return {
        "name": plan.role,
        "version": VERSION,
        "command": " ".join([f"python -m qllm_envs.opponents.train {plan.role}", *options]),
        "versions": {package: version(package) for package in PACKAGES},
        **{name: value for name, value in plan._asdict().items() if name != "role"},
    }


if __name__ == "__main__":
    raise SystemExit(main())
