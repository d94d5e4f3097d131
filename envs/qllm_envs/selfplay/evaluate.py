"""Measure the opponents: `python -m qllm_envs.selfplay.evaluate` prints a table for each role.

Every kind of opponent plays every kind of team in the same starting states. A cell is a mean over episodes with its 95%
interval. Networks take their best action, the team's too.
"""

import argparse
from collections.abc import Sequence

from qllm_envs import opponents
from qllm_envs.argparse_types import at_least
from qllm_envs.selfplay.plan import N_AGENTS


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m qllm_envs.selfplay.evaluate", description="Measure the opponents.")
    parser.add_argument("role", nargs="?", choices=sorted(N_AGENTS), help="default: all")
    parser.add_argument("--episodes", type=at_least(2), default=16384)
    parser.add_argument("--seed", type=at_least(0), default=0)
    args = parser.parse_args(argv)
    from qllm_envs.selfplay import measure  # not above: --help must not wait for jax

    for role in [args.role] if args.role else N_AGENTS:
        for n_agents in opponents.trained_sizes(role):
            print(measure.table(role, n_agents, args.episodes, args.seed), end="\n\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
