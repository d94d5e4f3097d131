"""JaxMARL's QMIX as a training system: github.com/FLAIROx/JaxMARL, baselines/QLearning/qmix_rnn.py, from a clone.

Its `train` is one program from reset to end; its loop over updates is entered at a given state instead. Changed are
the sizes, and the orthogonal initializers, as their batched QR deadlocks XLA:CPU on few cores. Nothing is written into
the clone.
"""

import contextlib
import copy
import functools
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import common
import jax
import jax.numpy as jnp
import workload
from omegaconf import OmegaConf
from systems import WARMUP, Evaluation, System
from workload import Sizes

from qllm_jax.errors import UserError

NAME = "jaxmarl_qmix"
BASELINE = Path("baselines", "QLearning")
SETTINGS = BASELINE / "config" / "alg" / "ql_rnn_mpe.yaml"
NEEDS = ("jaxmarl", "gymnax", "flashbax", "wandb", "hydra", "distrax", "safetensors")
Train = Callable[[jax.Array], Any]
Loop = Callable[[Callable[[Any], Any], Any], Any]  # (update, state) -> state


def make(job: dict[str, Any]) -> System:
    """Make the system, advanced to its first gradient step, which needs as many writes to the buffer as a batch has."""
    sizes = Sizes(**job["sizes"])
    train, settings = load(job, evaluation=job["evaluation"])
    keys = jax.random.split(jax.random.PRNGKey(0), sizes.seeds)
    _, compile_s = common.compiled(jax.vmap(train), keys)  # unchanged: the time that its user waits
    entered = enter(train, keys[0])
    first = entered.first(keys)
    program = entered.advance.lower(keys, first, jnp.asarray(1)).compile()
    run = lambda state, n: program(keys, state, jnp.asarray(n))
    named = lambda state: jax.tree.unflatten(entered.structure, state)
    return System(
        run=run,
        state=run(first, sizes.batch),
        gradient_steps=lambda state: int(named(state)[0].grad_steps),
        params=lambda state: named(state)[0].params,
        compile_s=compile_s,
        steps=settings["NUM_STEPS"] * sizes.envs,
        flops=update_flops(load(job, evaluation=False)[0], keys[0]),
        evaluation=evaluation(run, named, settings) if job["evaluation"] else None,
    )


class Entered(NamedTuple):
    """Its loop over updates, of all seeds, entered at any state. States are lists of arrays."""

    first: Any  # (keys) -> the state before the first update
    advance: Any  # (keys, state, n) -> the state n updates later
    structure: Any  # of a state's tree


def enter(train: Train, key: jax.Array) -> Entered:
    """Enter its loop over updates. Nothing is compiled."""
    leaves, structure = jax.tree.flatten(jax.eval_shape(functools.partial(begin, train), key))
    # Its counters are the same for all seeds and have to stay without a seed axis, as in its own vmap: a batched
    # counter would turn "learn when the buffer is ready" and "test when it is due" into "do both". vmap raises if one
    # of them differs. Scalars that are no counters are results of its test.
    counter = lambda leaf: not leaf.ndim and not jnp.issubdtype(leaf.dtype, jnp.floating)
    axes = [None if counter(leaf) else 0 for leaf in leaves]
    advance = lambda key, leaves, n: jax.tree.leaves(go_on(train, key, jax.tree.unflatten(structure, leaves), n))
    return Entered(
        first=jax.jit(jax.vmap(lambda key: jax.tree.leaves(begin(train, key)), 0, axes)),
        advance=jax.jit(jax.vmap(advance, (0, axes, None), axes), donate_argnums=1),
        structure=structure,
    )


def evaluation(run: Callable[[Any, int], Any], named: Callable[[Any], Any], settings: dict[str, Any]) -> Evaluation:
    """Make its test, entered one update before it is due; that update is included."""
    every = int(settings["NUM_UPDATES"] * settings["TEST_INTERVAL"])

    def test(state: list[jax.Array]) -> tuple[list[jax.Array], Any]:
        train_state, *rest = named(state)
        due = train_state.replace(n_updates=jnp.asarray(every - 1, train_state.n_updates.dtype))
        state = run(jax.tree.leaves((due, *rest)), 1)
        return state, jax.device_get(named(state)[2])  # the state is donated to the next call

    return Evaluation(test, updates=1, every=every, episodes=settings["TEST_NUM_ENVS"])


def begin(train: Train, key: jax.Array) -> Any:
    """Return its state before the first update."""
    with update_loop(lambda _, state: state):
        return train(key)["runner_state"]


def go_on(train: Train, key: jax.Array, state: Any, n: jax.Array) -> Any:
    """Return its state `n` updates later."""
    with update_loop(lambda update, _: jax.lax.fori_loop(0, n, lambda _, state: update(state), state)):
        return train(key)["runner_state"]


def update_flops(train: Train, key: jax.Array) -> int:
    """Count the FLOP of one update without an evaluation; products before its loop are not counted."""
    start = functools.partial(begin, train)
    whole = workload.matmul_flops(functools.partial(go_on, train), key, jax.eval_shape(start, key), jnp.asarray(1))
    return whole - workload.matmul_flops(start, key)


@contextlib.contextmanager
def update_loop(replacement: Loop) -> Iterator[None]:
    """Replace JaxMARL's scan over updates by `replacement(update, start)` in this context; other scans stay."""
    real, found = jax.lax.scan, []

    def scan(f: Callable[..., Any], init: Any, *args: Any, **kwargs: Any) -> Any:
        if getattr(f, "__name__", "") != "_update_step":
            return real(f, init, *args, **kwargs)
        found.append(f)
        return replacement(lambda state: f(state, None)[0], init), None

    with mock.patch.object(jax.lax, "scan", scan):
        yield
    if len(found) != 1:
        raise SystemExit("error: this version of JaxMARL's qmix_rnn.py has no scan over _update_step")


def load(job: dict[str, Any], evaluation: bool) -> tuple[Train, dict[str, Any]]:
    """Load its `train` of one key, and its settings: as shipped except for sizes, wandb and the start of learning."""
    sys.path.insert(0, str(Path(job["jaxmarl"]) / BASELINE))
    with mock.patch.object(sys, "dont_write_bytecode", True):
        qmix: Any = importlib.import_module("qmix_rnn")
    normal, sizes = qmix.nn.initializers, Sizes(**job["sizes"])
    qmix.orthogonal = lambda scale=1.0: normal.variance_scaling(max(scale, 1e-6) ** 2, "fan_in", "normal")
    if not isinstance(qmix.nn.GRUCell, functools.partial):
        qmix.nn.GRUCell = functools.partial(qmix.nn.GRUCell, recurrent_kernel_init=normal.lecun_normal())
    settings: Any = OmegaConf.to_container(OmegaConf.load(Path(job["jaxmarl"]) / SETTINGS))
    settings |= {
        "NUM_ENVS": sizes.envs,
        "BUFFER_BATCH_SIZE": sizes.batch,
        "BUFFER_SIZE": sizes.buffer,
        "HIDDEN_SIZE": sizes.hidden,
        "MIXER_EMBEDDING_DIM": workload.EMBED,
        "MIXER_HYPERNET_HIDDEN_DIM": workload.HYPER,
        "WANDB_MODE": "disabled",
        "LEARNING_STARTS": 0,
        "NUM_SEEDS": sizes.seeds,
        "SEED": 0,
        "ENV_KWARGS": {"num_agents": sizes.agents, "num_landmarks": sizes.agents},
        "TOTAL_TIMESTEPS": int(settings["TOTAL_TIMESTEPS"]),
        "TEST_DURING_TRAINING": evaluation and settings["TEST_DURING_TRAINING"],
    }
    env, _ = qmix.env_from_config(copy.deepcopy(settings))
    return qmix.make_train(settings, env), settings  # make_train adds NUM_UPDATES


def check(clone: Path, sizes: Sizes, updates: int) -> None:
    """Raise UserError if this clone cannot be timed. `updates` are of a loop."""
    if not (clone / BASELINE / "qmix_rnn.py").is_file():
        raise UserError(f"{clone} is no clone of github.com/FLAIROx/JaxMARL: it has no {BASELINE / 'qmix_rnn.py'}")
    if missing := [name for name in NEEDS if importlib.util.find_spec(name) is None]:
        raise UserError(f'JaxMARL needs packages that are missing ({", ".join(missing)}): pip install "jaxmarl[algs]"')
    if sizes.buffer < (least := sizes.batch * sizes.envs):
        waits = f"JaxMARL waits for {sizes.batch} writes of {sizes.envs}"
        raise UserError(f"the replay must hold at least {least} episodes: {waits}")
    settings: Any = OmegaConf.load(clone / SETTINGS)
    all_updates = int(settings["TOTAL_TIMESTEPS"]) // settings["NUM_STEPS"] // sizes.envs
    untested = sizes.batch + WARMUP + updates
    if (every := int(all_updates * settings["TEST_INTERVAL"])) <= untested:
        between = f"between two tests must be {untested} updates, to be timed"
        raise UserError(f"JaxMARL would test in every {every}. update: {between}")
