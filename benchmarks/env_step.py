"""Speed of MPE spread, ours beside JaxMARL's dict-per-agent MPE: `python benchmarks/env_step.py --agents 25 --envs 8`.

Both run the same program in one process: reset, then a scan over an episode with step and observe, vmapped over
environments, every observation written out as a rollout would keep it. Ours writes one (N, 6N) array, JaxMARL its
dict of N. Random actions are drawn beforehand. JaxMARL is called through `step_env`, without the reset in every step
that `step` adds. The two take turns, so that a machine that slows down slows both; compile time is reported apart.
"""

import argparse
import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import common
import jax

import qllm_envs

HORIZON = 25  # JaxMARL 0.2.0 ends an episode a step late, so that this is its max_steps + 1
N_ACTIONS = 5
Program = Callable[[jax.Array, jax.Array], Any]


def main() -> None:
    args = _arguments()
    key, key_actions = jax.random.split(jax.random.key(args.seed))
    keys = jax.random.split(key, args.envs)
    actions = jax.random.randint(key_actions, (args.envs, HORIZON, args.agents), 0, N_ACTIONS)
    programs = {"qllm_envs": ours(args.agents), "jaxmarl": peer(args.agents)}
    task = f"mpe_spread, {args.agents} agents, {args.envs} environments, {HORIZON} steps, step and observe"
    print(common.head(task, "jaxmarl"))
    compiled = {name: common.compiled(jax.vmap(program), keys, actions) for name, program in programs.items()}
    for run, _ in compiled.values():
        jax.block_until_ready(run(keys, actions))  # warm-up

    def play(run: Program) -> None:
        for _ in range(args.episodes):
            jax.block_until_ready(run(keys, actions))

    seconds = common.in_turn({name: partial(play, run) for name, (run, _) in compiled.items()}, args.repeats)
    n_steps = args.envs * HORIZON * args.episodes
    rates = {name: n_steps / statistics.median(times) for name, times in seconds.items()}
    for name, times in seconds.items():
        low, high = n_steps / max(times), n_steps / min(times)
        print(
            f"{name:<10}{rates[name]:>12,.0f} env-steps/s (median of {args.repeats}, {low:,.0f} to {high:,.0f}), "
            f"compile {compiled[name][1]:.2f} s"
        )
    print(f"ratio     {rates['qllm_envs'] / rates['jaxmarl']:.1f}")


def ours(n_agents: int) -> Program:
    """(key, actions (T, N)) -> rewards and observations of one episode."""
    env = qllm_envs.make("mpe_spread", n_agents=n_agents, horizon=HORIZON)

    def turn(state: Any, key_and_actions: Any) -> tuple[Any, Any]:
        step = env.step(key_and_actions[0], state, key_and_actions[1])
        return step.state, (step.reward, env.view(step.state).obs)

    def episode(key: jax.Array, actions: jax.Array) -> Any:
        key_reset, key_turns = jax.random.split(key)
        return jax.lax.scan(turn, env.reset(key_reset), (jax.random.split(key_turns, HORIZON), actions))[1]

    return episode


def peer(n_agents: int) -> Program:
    """The same with JaxMARL: rewards and observations are dicts by agent name."""
    import jaxmarl  # here, as it takes seconds and prints, which --help need not wait for

    env: Any = jaxmarl.make("MPE_simple_spread_v3", num_agents=n_agents, num_landmarks=n_agents, max_steps=HORIZON - 1)

    def turn(state: Any, key_and_actions: Any) -> tuple[Any, Any]:
        key, actions = key_and_actions
        named = {name: actions[i] for i, name in enumerate(env.agents)}
        obs, state, rewards, _, _ = env.step_env(key, state, named)
        return state, (rewards, obs)

    def episode(key: jax.Array, actions: jax.Array) -> Any:
        key_reset, key_turns = jax.random.split(key)
        return jax.lax.scan(turn, env.reset(key_reset)[1], (jax.random.split(key_turns, HORIZON), actions))[1]

    return episode


def _arguments() -> argparse.Namespace:
    parser = common.parser(__doc__)
    parser.add_argument(
        "--agents", type=common.positive, default=25, metavar="N", help="agents, and as many landmarks (25)"
    )
    parser.add_argument("--envs", type=common.positive, default=8, metavar="B", help="environments side by side (8)")
    parser.add_argument(
        "--repeats", type=common.positive, default=7, metavar="R", help="timings to take the median of (7)"
    )
    parser.add_argument("--episodes", type=common.positive, default=20, metavar="E", help="episodes in a timing (20)")
    parser.add_argument("--seed", type=int, default=0, help="of resets and actions (0)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
