"""Speed of MPE spread, ours beside JaxMARL's dict-per-agent MPE: `python benchmarks/env_step.py --agents 25 --envs 8`.

Both run the same program in one process: reset, then a scan over an episode with step and observe, vmapped over
environments, every observation written out as a rollout would keep it. Ours writes one (N, 6N) array, JaxMARL its
dict of N. Random actions are drawn beforehand. JaxMARL is called through `step_env`, without the reset in every step
that `step` adds. The two take turns, so that a machine that slows down slows both; compile time is reported apart.
"""

import argparse
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
    print(f"hardware  {_hardware()}\njax       {jax.__version__}\ncommit    {_commit()}")
    print(f"task      mpe_spread, {args.agents} agents, {args.envs} environments, {HORIZON} steps, step and observe")
    compiled = {name: _compile(program, keys, actions) for name, program in programs.items()}
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(args.repeats):
        for name, (run, _) in compiled.items():
            seconds[name].append(_time(run, (keys, actions), args.episodes))
    n_steps = args.envs * HORIZON * args.episodes
    rates = {name: n_steps / statistics.median(times) for name, times in seconds.items()}
    for name, times in seconds.items():
        low, high = n_steps / max(times), n_steps / min(times)
        print(
            f"{name:<9} {rates[name]:>12,.0f} env-steps/s (median of {args.repeats}, {low:,.0f} to {high:,.0f}), "
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


def _compile(program: Program, keys: jax.Array, actions: jax.Array) -> tuple[Program, float]:
    start = time.perf_counter()
    run = jax.jit(jax.vmap(program)).lower(keys, actions).compile()
    seconds = time.perf_counter() - start
    jax.block_until_ready(run(keys, actions))  # warm-up
    return run, seconds


def _time(run: Program, inputs: tuple[jax.Array, jax.Array], episodes: int) -> float:
    start = time.perf_counter()
    for _ in range(episodes):
        jax.block_until_ready(run(*inputs))
    return time.perf_counter() - start


def _hardware() -> str:
    device = jax.devices()[0]
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    cpu = models[0] if models else platform.processor() or platform.machine()
    return f"{jax.device_count()} x {device.platform} ({device.device_kind}); host {cpu}, {os.cpu_count()} cores"


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "none (no git, not a checkout, or nothing committed yet)"
    return done.stdout.strip()


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be an integer of at least 1, got {text!r}")
    return int(text)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--agents", type=_positive, default=25, metavar="N", help="agents, and as many landmarks (25)")
    parser.add_argument("--envs", type=_positive, default=8, metavar="B", help="environments side by side (8)")
    parser.add_argument("--repeats", type=_positive, default=7, metavar="R", help="timings to take the median of (7)")
    parser.add_argument("--episodes", type=_positive, default=20, metavar="E", help="episodes in a timing (20)")
    parser.add_argument("--seed", type=int, default=0, help="of resets and actions (0)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
