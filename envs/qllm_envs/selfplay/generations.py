"""Self-play over the generations of a plan: both sides learn in turns, each against a pool of the other."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import optax

from qllm_envs._mpe.physics import ACTION_NAMES
from qllm_envs.opponents.network import Network
from qllm_envs.selfplay import game, pool, ppo
from qllm_envs.selfplay.game import OPPONENT, TEAM, Game
from qllm_envs.selfplay.plan import Plan
from qllm_envs.selfplay.pool import Sizes
from qllm_envs.selfplay.ppo import Learner


def compiled(the_game: Game, side: int, sizes: Sizes, optimizer: optax.GradientTransformation) -> Callable[..., Any]:
    """Return `pool.improve` of one side as a compiled function of learner, pool and key."""
    return jax.jit(partial(pool.improve, the_game, side, sizes, optimizer))


def train(plan: Plan, report: Callable[[str], Any]) -> dict[str, Network]:
    """Return the final policies of both sides. `report` gets a line for each side and generation."""
    the_game = game.make(plan.role, plan.n_agents)
    optimizer = ppo.optimizer(plan.lr, plan.generations * plan.updates)
    sizes = Sizes(plan.updates, plan.games, plan.horizon)
    key_team, key_opponent, key = jax.random.split(jax.random.key(plan.seed), 3)
    learners, pools, improve = [], [], []
    for side, key_init in ((TEAM, key_team), (OPPONENT, key_opponent)):
        nets = ppo.init(key_init, 4 * the_game.layouts[side].size, len(ACTION_NAMES), plan.hidden)
        learners.append(Learner(nets, optimizer.init(nets)))
        pools.append(pool.pool_of(the_game, side, nets.policy, plan.snapshots))
        improve.append(compiled(the_game, side, sizes, optimizer))
    for generation in range(plan.generations):
        # The team comes last, so that what is saved of it has met the opponent that is saved.
        for side, name in ((OPPONENT, plan.role), (TEAM, "team")):
            start = time.perf_counter()
            key, key_improve = jax.random.split(key)
            learners[side], earned = improve[side](learners[side], pools[1 - side], key_improve)
            pools[side] = pool.remember(pools[side], learners[side].nets.policy, generation % plan.snapshots)
            scores = ", ".join(f"{score:.2f}" for score in earned[-10:].mean(0).tolist())
            took = time.perf_counter() - start
            report(f"generation {generation + 1} of {plan.generations}, {name}: earned {scores} ({took:.0f} s)")
    return {"opponent": learners[OPPONENT].nets.policy, "team": learners[TEAM].nets.policy}
