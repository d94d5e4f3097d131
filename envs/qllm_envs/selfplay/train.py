"""Train the opponents that the package ships, by self-play on a CPU in minutes.

    python -m qllm_envs.selfplay.train prey
    python -m qllm_envs.selfplay.train adversary --n-agents 3

Both sides learn with PPO in turns. Each trains against a pool: the scripts of the other side, and its latest networks.
So a side cannot win by an answer to its present rival alone, and cannot forget the simple ones. The file holds the
networks of both sides and their provenance; one seed gives one file on one kind of machine.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from qllm_envs import opponents
from qllm_envs.argparse_types import above_zero, at_least
from qllm_envs.selfplay.plan import N_AGENTS, Plan, meta_of


def main(argv: Sequence[str] | None = None) -> int:
    plan, out = parse(sys.argv[1:] if argv is None else argv)
    # Not above: --help must not wait for jax.
    from qllm_envs.opponents import network
    from qllm_envs.selfplay import generations

    network.save(out, generations.train(plan, print), meta_of(plan))
    print(f"wrote {out}")
    return 0


def parse(argv: Sequence[str]) -> tuple[Plan, Path]:
    defaults = Plan("prey", 3)
    parser = argparse.ArgumentParser("python -m qllm_envs.selfplay.train", description="Train an opponent.")
    parser.add_argument("role", choices=sorted(N_AGENTS))
    parser.add_argument("--n-agents", type=at_least(1), help="size of the team; default: the paper's")
    parser.add_argument("--out", type=Path, help="file to write; default: where opponent=trained looks for it")
    parser.add_argument("--hidden", type=at_least(1), nargs="*", default=defaults.hidden, help="widths of layers")
    parser.add_argument("--lr", type=above_zero, default=defaults.lr, help="learning rate at the start")
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


if __name__ == "__main__":
    raise SystemExit(main())
