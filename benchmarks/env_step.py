"""Speed of an environment beside its peers: `python benchmarks/env_step.py env=mpe_spread n_agents=25 --envs 1 64`.

`env=` names a file of configs/env; n_agents= and env.KEY= change it, as for `python -m qllm_jax.train`. Whole episodes
of random actions are timed: reset, step and observe, every observation written out as a rollout would keep it. Actions
are drawn beforehand, and steps behind the end of an episode are not counted.

Ours and JaxMARL's (particle worlds, SMAX) are one compiled program each, vmapped over environments. They run every
episode to the horizon, so where episodes end early most of what they run is not counted: lines below the table say how
much. JaxMARL is called through `step_env`, without the reset in every step that `step` adds. The original package
(lbforaging, mpe2) plays one environment in this process. An opponent inside of ours acts by its policy, and so do
SMAX's enemies; the opponents of other peers get random actions. All take turns, so that a machine that slows down slows
all; compile time is reported apart. The floor of a program is the time to write its observations, rewards and ends to
memory, and nothing else.
"""

import argparse
import importlib
import inspect
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import common
import env_peers
import jax
import numpy as np
import workload
from env_peers import IN_JAXMARL, JAXMARL, LBFORAGING, MPE2, Game, Play, installed

from qllm_envs import Env
from qllm_jax import config, experiment
from qllm_jax.config import Config
from qllm_jax.errors import UserError

OURS = "qllm_envs"
Episode = Callable[[jax.Array, jax.Array], Any]  # (key, actions (T, N)) -> (what a rollout keeps, ended (T,))


class System(NamedTuple):
    """What is timed."""

    name: str
    n_envs: int
    play: Play
    compile_s: float | None  # None: a package, which is not compiled
    step_bytes: float | None = None  # that a program writes out for an environment step
    counted: float = 1.0  # share of the steps that it runs


def ours(env: Env) -> Episode:
    """An episode of our environment."""

    def turn(state: Any, key_and_actions: Any) -> tuple[Any, Any]:
        step = env.step(key_and_actions[0], state, key_and_actions[1])
        return step.state, ((step.reward, env.view(step.state).obs), step.terminated | step.truncated)

    return scanned(env.reset, turn)


def jaxmarl_episode(env: Any) -> Episode:
    """The same with JaxMARL: rewards and observations are dicts by agent name."""

    def turn(state: Any, key_and_actions: Any) -> tuple[Any, Any]:
        key, actions = key_and_actions
        named = {name: actions[i] for i, name in enumerate(env.agents)}
        obs, state, rewards, dones, _ = env.step_env(key, state, named)
        return state, ((rewards, obs), dones["__all__"])

    return scanned(lambda key: env.reset(key)[1], turn)


def scanned(reset: Callable[[jax.Array], Any], turn: Callable[[Any, Any], tuple[Any, Any]]) -> Episode:
    """A reset, then a turn for each joint action."""

    def episode(key: jax.Array, actions: jax.Array) -> Any:
        key_reset, key_turns = jax.random.split(key)
        return jax.lax.scan(turn, reset(key_reset), (jax.random.split(key_turns, len(actions)), actions))[1]

    return episode


def compiled(name: str, episode: Episode, actions: np.ndarray) -> System:
    """A program for as many environments as `actions` (B, T, N) has rows."""
    inputs = jax.random.split(jax.random.key(0), len(actions)), jax.device_put(actions)
    run, compile_s = common.compiled(jax.vmap(episode), *inputs)
    steps = happened(np.asarray(run(*inputs)[1]))  # its first call is the warm-up

    def play() -> int:
        jax.block_until_ready(run(*inputs))
        return steps

    step_bytes = run.memory_analysis().output_size_in_bytes / steps
    return System(name, len(actions), play, compile_s, step_bytes, steps / (actions.shape[0] * actions.shape[1]))


def happened(ended: np.ndarray) -> int:
    """Steps of episodes (B, T) up to and with the one that ended each."""
    return int((np.cumsum(ended, axis=1) - ended == 0).sum())


def systems(env: Env, game: Game, sizes: list[int], seed: int) -> Iterator[System]:
    """Ours, and the peers that there are and that are installed."""
    rng, (package, play) = np.random.default_rng(seed), env_peers.PACKAGES.get(game["name"], env_peers.NO_PACKAGE)
    peer = env_peers.jaxmarl_env(game) if game["name"] in IN_JAXMARL and installed(JAXMARL) else None
    shape = lambda n_envs, n_agents: (n_envs, env.spec.horizon, n_agents)
    draw = lambda *sizes: rng.integers(0, env.spec.n_actions, shape(*sizes), dtype=np.int32)
    for n_envs in dict.fromkeys(sizes):
        yield compiled(OURS, ours(env), draw(n_envs, env.spec.n_agents))
        if peer:
            yield compiled(JAXMARL, jaxmarl_episode(peer), draw(n_envs, peer.num_agents))
    if play and installed(package):
        yield System(package, 1, play(game, rng), None)


def take_turns(found: list[System], repeats: int, seconds: float) -> list[dict[str, Any]]:
    """A row a system, from rounds of every system, each for at least `seconds`.

    Ratios are taken round by round: to JaxMARL with as many environments, to a package with its one.
    """
    rounds = [[rate(system.play, seconds) for system in found] for _ in range(repeats)]
    speeds = [list(rates) for rates in zip(*rounds, strict=True)]
    written, rows = workload.write_rate(), []
    for mine, own in zip(found, speeds, strict=True):
        row = {"system": mine.name, "envs": mine.n_envs, "env_steps_per_s": own, "compile_s": mine.compile_s}
        row["counted"] = mine.counted
        if mine.step_bytes is not None:
            row["times_floor"] = [written / mine.step_bytes / each for each in own]
        for peer, theirs in zip(found, speeds, strict=True):
            # A package plays one environment however many the others do.
            if peer.name not in (OURS, mine.name) and (peer.n_envs == mine.n_envs or peer.compile_s is None):
                row[f"speed_to_{peer.name}"] = common.ratios(own, theirs)
        rows.append(row)
    return rows


def rate(play: Play, seconds: float) -> float:
    """Environment steps a second of whole calls."""
    start, steps = time.perf_counter(), play()
    while (elapsed := time.perf_counter() - start) < seconds:
        steps += play()
    return steps / elapsed


def columns(rows: list[dict[str, Any]]) -> dict[str, Callable[[dict[str, Any]], str]]:
    """Of the table: a ratio for each peer."""
    peers = dict.fromkeys(key for row in rows for key in row if key.startswith("speed_to_"))
    ratio = lambda key: lambda row: common.spread(row[key]) if key in row else "-"
    return {
        "environments": lambda row: f"{row['envs']:,}",
        "system": lambda row: row["system"],
        "env-steps/s": lambda row: common.spread(row["env_steps_per_s"], ",.0f"),
        **{f"times {key.removeprefix('speed_to_')}": ratio(key) for key in peers},
        "times the floor": ratio("times_floor"),
        "compile, s": lambda row: "-" if row["compile_s"] is None else f"{row['compile_s']:.2f}",
    }


def not_counted(rows: list[dict[str, Any]]) -> list[str]:
    """A line for each system that runs steps behind the end of episodes."""
    return [
        f"{row['system']} x {row['envs']:,} runs {statistics.median(row['env_steps_per_s']) / row['counted']:,.0f} "
        f"steps a second, of which {row['counted']:.1%} come before the end of an episode"
        for row in rows
        if row["counted"] < 1
    ]


def options(settings: Config) -> Game:
    """All options of a configuration's environment: as given, or as its `make` has them by default."""
    module = importlib.import_module(f"qllm_envs.{settings.env['name']}")
    defaults = {name: parameter.default for name, parameter in inspect.signature(module.make).parameters.items()}
    agents = {} if settings.n_agents is None else {"n_agents": settings.n_agents}
    return defaults | settings.env | agents


def main() -> None:
    args = arguments()
    env, game = args.built
    given = " ".join(f"{key}={value}" for key, value in game.items() if key != "time_limit_is_terminal")
    packages = [name for name in (JAXMARL, MPE2, LBFORAGING) if installed(name)]
    rounds = f"{args.repeats} rounds of at least {args.ms} ms a system"
    task = f"{env.spec.task} ({given}), {env.spec.horizon} steps an episode; {rounds}"
    report = common.begin(__file__, args.out, task, common.describe(*packages))
    print("\n".join([*env_peers.missing(game["name"]), ""]), flush=True)
    common.add(report, *take_turns(list(systems(env, game, args.envs, args.seed)), args.repeats, args.ms / 1e3))
    print("\n".join([common.table(columns(report.rows), report.rows), "", *not_counted(report.rows)]))


def arguments() -> argparse.Namespace:
    parser = common.parser(__doc__)
    parser.add_argument("overrides", nargs="+", metavar="key=value", help="env=NAME first, then n_agents=, env.KEY=")
    many = {"nargs": "+", "type": common.positive, "metavar": "B"}
    parser.add_argument("--envs", **many, default=[1, 64, 1024], help="environments side by side (1 64 1024)")
    parser.add_argument("--repeats", type=common.positive, default=5, metavar="R", help="rounds (5)")
    parser.add_argument("--ms", type=common.positive, default=300, help="a system's least time in a round (300)")
    parser.add_argument("--seed", type=int, default=0, help="of actions (0)")
    args = parser.parse_args()
    try:
        settings = config.load(args.overrides)
        args.built = experiment.make_env(settings.env, settings.n_agents), options(settings)
    except UserError as error:
        parser.error(str(error))
    return args


if __name__ == "__main__":
    main()
