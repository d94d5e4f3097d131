"""Training speed beside JaxMARL's QMIX: `python benchmarks/throughput.py --jaxmarl PATH --agents 3 25 --seeds 1 5`.

PATH is a clone of github.com/FLAIROx/JaxMARL (its baselines are not in the wheel), run with the installed jaxmarl.
Both do the same work on MPE spread: 8 environments play an episode, then one update from 32 episodes; network of 64,
mixer of 32, hypernetworks of 32, no evaluation, all seeds vmapped in one program. The systems take turns, each time in
a fresh process. A loop of updates is timed after a warm-up, since JaxMARL's first 31 updates only play; that both learn
in every timed update is checked. JaxMARL's loop is entered from its own state through its own `train`; changed are the
orthogonal initialisers, as their batched QR deadlocks XLA:CPU on few cores. Nothing is written into the clone.
"""

import argparse
import contextlib
import copy
import functools
import importlib
import importlib.util
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import common
import jax
import jax.numpy as jnp
import numpy as np
import optax
from omegaconf import OmegaConf

from qllm_jax import config, folder
from qllm_jax.errors import UserError

WARMUP = {"ours": 3, "jaxmarl": common.BATCH + 3}  # updates; JaxMARL learns from the 32nd on
SAMPLES = 3  # timed loops in a process
PEER, MACHINE = "jaxmarl_qmix", "machine"
BASELINE = Path("baselines", "QLearning")
SETTINGS = BASELINE / "config" / "alg" / "ql_rnn_mpe.yaml"
NEEDS = ("jaxmarl", "flashbax", "wandb", "hydra", "distrax", "safetensors")
NOTE = f"""Work is counted in updates. JaxMARL's episodes have 26 steps, one more than its max_steps (ours: 25), so that
one of its updates follows 208 environment steps, ours 200; both learn from 26 observations an episode. env-steps/s
counts the steps that a system took, all seeds together; the ratio is of the time per update. Floor: the matrix
multiplications of the system's own update and rollout at the rate of a 2048^3 f32 matmul in the same process.
JaxMARL's mixer has hypernetworks of {common.HYPER} here, as ours (128 as shipped); its optimizer (RAdam) and its
replay of whole observations are its own."""


class System(NamedTuple):
    """A program of updates. States stay on the device."""

    run: Callable[[Any, int], Any]  # (state, updates) -> state
    state: Any
    gradient_steps: Callable[[Any], int]  # that a state has seen
    params: Callable[[Any], Any]
    compile_s: float
    steps: int  # environment steps of one seed between two updates
    flops: int  # of matrix multiplications, one seed and update


def ours(job: dict[str, Any]) -> System:
    """The training program as `qllm_jax.train` runs it."""
    parts = common.workload(job["system"], job["agents"], job["seeds"], job["buffer"])
    program, spec, hp, start = parts.program, parts.env.spec, parts.hp, (parts.root, parts.seeds)
    shapes = jax.eval_shape(program.init, *start)
    init, init_s = common.compiled(program.init, *start)
    warmup, warmup_s = common.compiled(program.warmup, *shapes, hp)
    chunk, chunk_s = common.compiled(program.chunk, *shapes, hp, jnp.asarray(1))
    return System(
        run=lambda state, n: chunk(*state, hp, jnp.asarray(n))[:2],
        state=warmup(*init(*start), hp),
        gradient_steps=lambda state: int(optax.tree_utils.tree_get(state[1].learner.opt_state, "count").min()),
        params=lambda state: state[1].learner.params,
        compile_s=init_s + warmup_s + chunk_s,
        steps=parts.steps_per_iteration,
        flops=common.matmul_flops(
            spec.n_agents,
            spec.horizon,
            spec.obs_dim,
            spec.n_actions,
            spec.state_dim,
            parts.config.algo.mixer["name"] == "qmix",
        ),
    )


def jaxmarl(job: dict[str, Any]) -> System:
    """JaxMARL's QMIX. Its `train` is one program from reset to end; its loop is entered at a given state instead."""
    train, keys, steps = load_jaxmarl(job)
    _, compile_s = common.compiled(jax.vmap(train), keys)  # as it is: what its user waits for

    def begin(key: jax.Array) -> Any:
        with update_loop(lambda _, state: state):
            return train(key)["runner_state"]

    def run(key: jax.Array, leaves: list[jax.Array], n: jax.Array) -> list[jax.Array]:
        state = jax.tree.unflatten(structure, leaves)
        loop = lambda update, _: jax.lax.fori_loop(0, n, lambda _, state: update(state), state)
        with update_loop(loop):
            return jax.tree.leaves(train(key)["runner_state"])

    shapes, structure = jax.tree.flatten(jax.eval_shape(begin, keys[0]))
    # Its counters are the same for all seeds and have to stay without a seed axis, as in its own vmap: a batched
    # counter would turn "learn when the buffer is ready" into "do both". vmap raises if one of them differs.
    axes = [0 if shape.ndim else None for shape in shapes]
    state = jax.jit(jax.vmap(lambda key: jax.tree.leaves(begin(key)), 0, axes))(keys)
    mapped = jax.jit(jax.vmap(run, (0, axes, None), axes), donate_argnums=1)
    program = mapped.lower(keys, state, jnp.asarray(1)).compile()
    named = lambda leaves: jax.tree.unflatten(structure, leaves)[0]  # its train state
    width, agents = 6 * job["agents"], job["agents"]
    return System(
        run=lambda state, n: program(keys, state, jnp.asarray(n)),
        state=state,
        gradient_steps=lambda leaves: int(named(leaves).grad_steps),
        params=lambda leaves: named(leaves).params,
        compile_s=compile_s,
        steps=steps * common.ENVS,
        flops=common.matmul_flops(agents, steps, width + agents, 5, width * agents, qmix=True),
    )


def load_jaxmarl(job: dict[str, Any]) -> tuple[Callable[[jax.Array], Any], jax.Array, int]:
    """JaxMARL's `train` of one key, a key per seed, and the steps of its episodes."""
    sys.path.insert(0, str(Path(job["jaxmarl"]) / BASELINE))
    qmix: Any = importlib.import_module("qmix_rnn")
    normal = qmix.nn.initializers
    qmix.orthogonal = lambda scale=1.0: normal.variance_scaling(max(scale, 1e-6) ** 2, "fan_in", "normal")
    qmix.nn.GRUCell = functools.partial(qmix.nn.GRUCell, recurrent_kernel_init=normal.lecun_normal())
    settings: Any = OmegaConf.to_container(OmegaConf.load(Path(job["jaxmarl"]) / SETTINGS))
    settings |= {
        "NUM_ENVS": common.ENVS,
        "BUFFER_BATCH_SIZE": common.BATCH,
        "BUFFER_SIZE": job["buffer"],
        "HIDDEN_SIZE": common.HIDDEN,
    }
    settings |= {
        "MIXER_EMBEDDING_DIM": common.EMBED,
        "MIXER_HYPERNET_HIDDEN_DIM": common.HYPER,
        "WANDB_MODE": "disabled",
    }
    settings |= {"LEARNING_STARTS": 0, "TEST_DURING_TRAINING": False, "NUM_SEEDS": job["seeds"], "SEED": 0}
    settings |= {"ENV_KWARGS": {"num_agents": job["agents"], "num_landmarks": job["agents"]}}
    settings |= {"TOTAL_TIMESTEPS": int(settings["TOTAL_TIMESTEPS"])}
    env, _ = qmix.env_from_config(copy.deepcopy(settings))
    return qmix.make_train(settings, env), jax.random.split(jax.random.PRNGKey(0), job["seeds"]), settings["NUM_STEPS"]


@contextlib.contextmanager
def update_loop(replacement: Callable[..., Any]) -> Iterator[None]:
    """Within it, JaxMARL's scan over updates is `replacement(update, start)`; all other scans are as always."""
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


def work(job: dict[str, Any]) -> dict[str, Any]:
    """Build one system and time its updates. For a process of its own."""
    if job["system"] == MACHINE:
        return {"text": common.head(job["task"], "flax", "jaxmarl", "flashbax"), "machine": common.hardware()}
    kind = "jaxmarl" if job["system"] == PEER else "ours"
    system = {"ours": ours, "jaxmarl": jaxmarl}[kind](job)
    state = jax.block_until_ready(system.run(system.state, WARMUP[kind]))
    system = system._replace(state=None)  # donated
    samples = []
    for _ in range(SAMPLES):
        count, params = system.gradient_steps(state), jax.device_get(system.params(state))
        state, elapsed = common.seconds(system.run, state, job["updates"])
        after = jax.tree.leaves(jax.device_get(system.params(state)))
        moved = any(np.any(old != new) for old, new in zip(jax.tree.leaves(params), after, strict=True))
        if system.gradient_steps(state) - count != job["updates"] or not moved:
            raise SystemExit(f"error: {job['system']} did not learn in every timed update")
        samples.append(1e3 * elapsed / job["updates"] / job["seeds"])
    ms, rate = statistics.median(samples), common.matmul_rate()
    return {
        "ms_per_update_and_seed": ms,
        "samples_ms": samples,
        "env_steps_per_s": 1e3 * system.steps / ms,
        "compile_s": system.compile_s,
        "floor_ms": 1e3 * system.flops / rate,
        "matmul_gflop_per_s": rate / 1e9,
        "state_mb": sum(leaf.nbytes for leaf in jax.tree.leaves(state) if hasattr(leaf, "nbytes")) / 1e6,
    }


def in_process(job: dict[str, Any]) -> dict[str, Any]:
    """`work` in a fresh process, so that no system's threads, caches and memory disturb another's."""
    env = {**os.environ, "WANDB_MODE": "disabled", "JAX_ENABLE_COMPILATION_CACHE": "false"}
    command = [sys.executable, __file__, "--worker", json.dumps(job)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{done.stderr[-3000:]}\nerror: the process of {job} ended with code {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])


def compare(args: argparse.Namespace, agents: int, seeds: int) -> list[dict[str, Any]]:
    """One row per system, medians over rounds. In a round each of ours runs right before or after the peer."""
    order = [args.algos[0], PEER, *args.algos[1:]]
    rounds: list[dict[str, Any]] = []
    for number in range(args.repeats):
        rounds.append({})
        for system in order:
            job = {"system": system, "agents": agents, "seeds": seeds}
            job |= {"updates": args.updates, "buffer": args.buffer, "jaxmarl": str(args.jaxmarl)}
            rounds[-1][system] = result = in_process(job)
            progress = f"N={agents} seeds={seeds} round {number + 1} of {args.repeats}: {system}"
            print(f"{progress} {result['ms_per_update_and_seed']:.2f} ms", file=sys.stderr, flush=True)
    rows = []
    for system in order:
        runs = [each[system] for each in rounds]
        median = {key: statistics.median(run[key] for run in runs) for key in runs[0] if key != "samples_ms"}
        ratios = [each[PEER]["ms_per_update_and_seed"] / each[system]["ms_per_update_and_seed"] for each in rounds]
        rows.append({"agents": agents, "seeds": seeds, "system": system, **median, "ratios": ratios, "runs": runs})
    return rows


HEADINGS = (
    *("N", "seeds", "system", "compile s", "ms per update and seed", "env-steps/s", "times JaxMARL's speed"),
    *("floor ms", "time over floor", "state MB"),
)


def cells(row: dict[str, Any]) -> list[str]:
    """A row of the table, in the order of HEADINGS."""
    ms = [run["ms_per_update_and_seed"] for run in row["runs"]]
    median, ratios = row["ms_per_update_and_seed"], row["ratios"]
    ratio = "1" if row["system"] == PEER else spread(statistics.median(ratios), ratios)
    return [
        *(str(row["agents"]), str(row["seeds"]), row["system"], f"{row['compile_s']:.1f}", spread(median, ms)),
        *(f"{row['env_steps_per_s']:,.0f}", ratio, f"{row['floor_ms']:.2f}", f"{median / row['floor_ms']:.1f}"),
        f"{row['state_mb']:,.0f}",
    ]


def spread(median: float, values: list[float]) -> str:
    """Median and range."""
    return f"{median:.2f} ({min(values):.2f} to {max(values):.2f})"


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown."""
    lines = [HEADINGS, ["---"] * len(HEADINGS), *map(cells, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    if sys.argv[1:2] == ["--worker"]:
        print(json.dumps(work(json.loads(sys.argv[2]))))
        return
    args = arguments()
    task = (
        f"MPE spread, {common.ENVS} environments, updates of {common.BATCH} episodes, network of {common.HIDDEN}, "
        f"buffer of {args.buffer} episodes; {args.repeats} processes, {SAMPLES} loops of {args.updates} updates each"
    )
    machine = in_process({"system": MACHINE, "task": task})
    clone = git_commit(args.jaxmarl)
    print(f"{machine['text']}\nclone     {clone}\n{NOTE}\n", flush=True)
    rows = []
    for agents in args.agents:
        for seeds in args.seeds:
            rows += compare(args, agents, seeds)
            if args.out:
                record = {"head": machine["text"], "clone": clone, "note": NOTE, "rows": rows}
                folder.write_atomically(args.out, json.dumps(record, indent=2) + "\n")
    print(table(rows))


def git_commit(path: Path) -> str:
    """HEAD of a clone, "+dirty" where what is timed differs from it."""
    git = lambda *words: subprocess.run(["git", "-C", str(path), *words], capture_output=True, text=True, check=False)
    changed = git("diff", "HEAD", "--name-only", "--", str(BASELINE / "qmix_rnn.py"), str(SETTINGS)).stdout.strip()
    return (git("rev-parse", "HEAD").stdout.strip() or "no git commit") + ("+dirty" if changed else "")


def arguments() -> argparse.Namespace:
    parser, many = common.parser(__doc__), {"nargs": "+", "type": common.positive}
    parser.add_argument("--jaxmarl", type=Path, required=True, metavar="PATH", help="clone of FLAIROx/JaxMARL")
    parser.add_argument("--agents", **many, default=[3, 25], metavar="N", help="numbers of agents (3 25)")
    parser.add_argument("--seeds", **many, default=[1, 5], metavar="S", help="numbers of vmapped seeds (1 5)")
    parser.add_argument("--updates", type=common.positive, default=20, help="updates in a timed loop (20)")
    parser.add_argument("--repeats", type=common.positive, default=3, help="processes of each system (3)")
    parser.add_argument("--buffer", type=common.positive, default=1000, help="episodes of replay, both systems (1000)")
    parser.add_argument("--algos", nargs="+", default=["matched_qllm", "matched_qmix"], help="of ours")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write everything as JSON; must not exist")
    args = parser.parse_args()
    if not (args.jaxmarl / BASELINE / "qmix_rnn.py").is_file():
        parser.error(f"{args.jaxmarl} is no clone of github.com/FLAIROx/JaxMARL: it has no {BASELINE / 'qmix_rnn.py'}")
    if missing := [name for name in NEEDS if importlib.util.find_spec(name) is None]:
        parser.error(f'JaxMARL needs packages that are missing ({", ".join(missing)}): pip install "jaxmarl[algs]"')
    if args.out and (args.out.exists() or not args.out.absolute().parent.is_dir()):
        parser.error(f"--out {args.out} " + ("exists already" if args.out.exists() else "is in no existing folder"))
    try:
        for algo in args.algos:
            config.load([f"algo={algo}"])
    except UserError as error:
        parser.error(str(error))
    if args.buffer < 10 * common.BATCH:
        parser.error(f"--buffer must be at least {10 * common.BATCH}: JaxMARL learns from its 32nd rollout on")
    return args


if __name__ == "__main__":
    main()
