"""Measure programs on eight devices and print JSON. Runs in its own process, with eight CPU devices.

Prints, for programs whose 8 runs are on 8 devices and on 1: how far their numbers are apart, what collectives are
compiled, where the state lies, and whether a checkpoint of 8 devices is the same on 4 and on 1.
"""

import functools
import json
import re
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from qllm_jax import config
from qllm_jax.program import experiment
from qllm_jax.program.devices import REPLICATED, SHARDED
from qllm_jax.program.experiment import Experiment
from qllm_jax.run import checkpoint, load
from qllm_jax.run.checkpoint import HostState, TrainState
from qllm_jax.scaling import memory_plan

SMALL = (
    "env=mpe_spread n_agents=2 env.horizon=4 algo=matched_vdn algo.hidden_dim=4 algo.n_envs=2 algo.batch_episodes=4 "
    "algo.buffer_episodes=8 seeds=8"
)
COLLECTIVE = re.compile(r"all-reduce|all-gather|all-to-all|collective-permute|collective-broadcast|reduce-scatter")


@functools.cache
def build(n_devices: int) -> Experiment:
    return experiment.build(config.load([*SMALL.split(), f"devices={n_devices}"]))


def trained(exp: Experiment) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """The last state and all that is measured; and the collectives in each compiled program."""
    collectives = {}

    def call(name: str, *args: Any, static: tuple[int, ...] = ()) -> Any:
        compiled = getattr(exp.program, name).lower(*args).compile()
        collectives[name] = sorted(set(COLLECTIVE.findall(compiled.as_text() or "")))
        return compiled(*(arg for i, arg in enumerate(args) if i not in static))

    clock, state = call("init", exp.root, exp.seeds, exp.choice)
    clock, state = call("warmup", clock, state, exp.hp)
    clock, state, metrics = call("chunk", clock, state, exp.hp, jnp.asarray(3))
    state, returns = call("evaluate", clock, state, 4, static=(2,))
    keys = jax.random.split(exp.root, 8)
    played = call("play", state.best_params, keys, 4, jnp.asarray(0.5), static=(2,))
    return {"state": TrainState(clock, state), "measured": (metrics, returns, played)}, collectives


def raw(tree: Any) -> list[np.ndarray]:
    """Leaves as NumPy arrays, typed keys as their words."""
    is_key = lambda x: jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
    return [np.asarray(jax.random.key_data(x) if is_key(x) else x) for x in jax.tree.leaves(tree)]


def apart(a: Any, b: Any) -> float:
    """The largest difference of two trees, as a share of 1 + the number."""
    pairs = zip(raw(a), raw(b), strict=True)
    return max(float(np.max(np.abs(x.astype(float) - y) / (1 + np.abs(y)), where=x != y, initial=0)) for x, y in pairs)


def restored(path: Path, n_devices: int, like: TrainState) -> dict[str, Any]:
    """A checkpoint on fewer devices: whether it is the same, and on how many its runs lie."""
    exp = build(n_devices)
    found, _ = load.read_checkpoint(exp, path)
    same = all(np.array_equal(x[: exp.n_runs], y) for x, y in zip(raw(found.runs), raw(like.runs), strict=True))
    return {"same": same, "devices": len(found.runs.best_return.devices()), "rows": len(found.runs.best_return)}


def written(exp: Experiment, state: TrainState, folder: Path) -> Path:
    """A checkpoint of the state."""
    checkpoint.save(folder, state, HostState(0, 0, 0.0, len(exp.seeds) - exp.n_runs))
    path = checkpoint.latest(folder)
    assert path is not None
    return path


def of_three(path: Path, like: TrainState, folder: Path) -> dict[int, Any]:
    """The checkpoint read on 3 devices, with a spare run, written there, and read on 8 and on 1."""
    exp = build(3)
    again = written(exp, load.read_checkpoint(exp, path)[0], folder)
    return {n: restored(again, n, like) for n in (8, 3, 1)}


def main(folder: Path) -> None:
    jax.config.update("jax_numpy_rank_promotion", "raise")
    (many, collectives), (one, _) = trained(build(8)), trained(build(1))
    path = written(build(8), many["state"], folder / "eight")
    mesh = Mesh(np.asarray(jax.devices()), "runs")
    total = jax.shard_map(lambda x: jax.lax.psum(x, "runs"), mesh=mesh, in_specs=SHARDED, out_specs=REPLICATED)
    facts = {
        "collectives": collectives,
        "collectives_of_a_sum": COLLECTIVE.findall(jax.jit(total).lower(jnp.ones(8)).compile().as_text() or ""),
        "memory": [memory_plan.make(build(n)).items for n in (8, 1)],
        "state": apart(many["state"].runs, one["state"].runs),
        "measured": apart(many["measured"], one["measured"]),
        "devices": sorted({len(leaf.devices()) for leaf in jax.tree.leaves(many["state"].runs)}),
        "restored": {n: restored(path, n, many["state"]) for n in (8, 4, 3, 1)},
        "of_three": of_three(path, many["state"], folder / "three"),
    }
    print(json.dumps(facts))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
