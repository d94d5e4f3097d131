"""Speed of an environment beside its peers: `python benchmarks/env_step.py env=mpe_spread n_agents=25 --envs 1 64`.

`env=` names a file of configs/env; n_agents= and env.KEY= change it, as for `python -m qllm_jax.train`. Whole episodes
of random actions are timed: reset, step and observe, every observation written out as a rollout would keep it. Actions
are drawn beforehand, and steps behind the end of an episode are not counted.

Ours and JaxMARL's (particle worlds, SMAX) are one compiled program each, vmapped over environments. They run every
episode to the horizon, so where episodes end early most of what they run is not counted: lines below the table say how
much. JaxMARL is called through `step_env`, without the reset in every step that `step` adds. The original package
(lbforaging, mpe2) plays one environment in this process. An opponent inside of ours acts by its policy, and so do
SMAX's enemies; the opponents of other peers get random actions.
All take turns, so that a machine that slows down slows all; compile time is reported apart.
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
    counted: float = 1.0  # share of the steps that it runs


class Row(NamedTuple):
    """A system and its environment steps a second, one number a round."""

    system: System
    rates: list[float]


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

    return System(name, len(actions), play, compile_s, steps / (actions.shape[0] * actions.shape[1]))


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


def take_turns(found: list[System], repeats: int, seconds: float) -> list[Row]:
    """Every system in every round, each for at least `seconds`."""
    rounds = [[rate(system.play, seconds) for system in found] for _ in range(repeats)]
    return [Row(system, list(rates)) for system, rates in zip(found, zip(*rounds, strict=True), strict=True)]


def rate(play: Play, seconds: float) -> float:
    """Environment steps a second of whole calls."""
    start, steps = time.perf_counter(), play()
    while (elapsed := time.perf_counter() - start) < seconds:
        steps += play()
    return steps / elapsed


def table(rows: list[Row]) -> str:
    """Markdown. Ratios are taken round by round: to JaxMARL with as many environments, to a package with its one."""
    peers = list(dict.fromkeys(row.system.name for row in rows if row.system.name != OURS))
    headings = ["environments", "system", "env-steps/s", *(f"times {peer}" for peer in peers), "compile, s"]
    lines = [headings, ["---"] * len(headings), *(cells(row, peers, rows) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cells(row: Row, peers: list[str], rows: list[Row]) -> list[str]:
    """A row of the table."""
    system = row.system
    compile_s = "-" if system.compile_s is None else f"{system.compile_s:.2f}"
    # A package plays one environment however many the others do.
    beside = [other for other in rows if other.system.n_envs == system.n_envs or other.system.compile_s is None]
    ratios = []
    for peer in peers:
        rates = (zip(row.rates, other.rates, strict=True) for other in beside if other.system.name == peer)
        pairs = [mine / theirs for pair in rates for mine, theirs in pair]
        ratios.append(spread(pairs, ",.2f") if pairs and system.name != peer else "-")
    return [f"{system.n_envs:,}", system.name, spread(row.rates, ",.0f"), *ratios, compile_s]


def spread(values: list[float], style: str) -> str:
    """Median and range."""
    return f"{statistics.median(values):{style}} ({min(values):{style}} to {max(values):{style}})"


def not_counted(rows: list[Row]) -> list[str]:
    """A line for each system that runs steps behind the end of episodes."""
    return [
        f"{row.system.name} x {row.system.n_envs:,} runs "
        f"{statistics.median(row.rates) / row.system.counted:,.0f} steps a second, "
        f"of which {row.system.counted:.1%} come before the end of an episode"
        for row in rows
        if row.system.counted < 1
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
    print(common.head(f"{env.spec.task} ({given}), {env.spec.horizon} steps an episode; {rounds}", *packages))
    print("\n".join([*env_peers.missing(game["name"]), ""]), flush=True)
    found = list(systems(env, game, args.envs, args.seed))
    rows = take_turns(found, args.repeats, args.ms / 1e3)
    print("\n".join([table(rows), "", *not_counted(rows)]))


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
