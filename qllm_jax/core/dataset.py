"""Datasets of episodes with each agent's credit: `NAME.npz`, and `NAME.json` that describes it.

Arrays of the NPZ, with E episodes, T steps, N agents, A actions, O numbers of an observation:

    env_state/I (E, T+1, ...)    leaf I of the environment's state, in the order of the sidecar's `env_state`
    action (E, T, N) int32       reward (E, T) float32, of the team        credit (E, T, N) float32
    terminated (E, T) bool       step t ended the task
    mask (E, T) float32          1 where step t happened
    labelled (E,) bool           the credit is a critic's or a function's; False: an equal split of the reward
    run (E,) int32               index of the run that played the episode
    number (E,) int32            of the episode: a run counts those that it stores, from 0
    obs (E, T+1, N, O)           avail (E, T+1, N, A) bool                 field/NAME (E, T+1, ...)

The JSON has `format`, `version`, `task`, `environment` (its name and options), `time_limit_is_terminal`, the sizes,
where the episodes are from, and `explanations`, a list of objects with `run`, `number`, `text` and `agents` (agent i of
the text is agent `agents[i]`). Training reads the arrays before `obs`; the rest is computed from the state, for other
programs.
"""

import json
import zipfile
from pathlib import Path
from typing import Any

import jax
import numpy as np

import qllm_envs
from qllm_envs import Env, Spec
from qllm_jax import files
from qllm_jax.core.types import Episode
from qllm_jax.errors import UserError

FORMAT, VERSION = "qllm_jax.dataset", 1
LIMIT = "time_limit_is_terminal"  # of the run that played: what its `terminated` says of the last step
SIZES = ("n_agents", "n_actions", "horizon")  # of a Spec, which must be those of the task
STATE = "env_state"
PARTS = {name: f"{name}_t" for name in ("action", "reward", "terminated", "mask", "credit")}  # of Episode, by name
INDEX = ("labelled", "run", "number")  # one number an episode


def sidecar(path: Path) -> Path:
    """The JSON that describes a dataset."""
    return path.with_suffix(".json")


def describe(spec: Spec, state: Any) -> dict[str, Any]:
    """Return the sidecar's entries of a task; `state` is an environment's state, or shapes of one."""
    leaves = jax.tree_util.tree_leaves_with_path(state)
    kind = lambda leaf: {"shape": list(leaf.shape), "dtype": str(leaf.dtype)}
    named = [{"name": jax.tree_util.keystr(path), **kind(leaf)} for path, leaf in leaves]
    sizes = {size: getattr(spec, size) for size in SIZES}
    head = {"format": FORMAT, "version": VERSION, "task": spec.task, "environment": _game(spec)}
    return {**head, **sizes, STATE: named}


def arrays(episodes: Episode) -> dict[str, np.ndarray]:
    """The arrays of the NPZ that training reads, of episodes (E, ...)."""
    states = {f"{STATE}/{i}": np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(episodes.env_state))}
    return states | {name: np.asarray(getattr(episodes, part)) for name, part in PARTS.items()}


def write(path: Path, content: dict[str, np.ndarray], described: dict[str, Any]) -> None:
    """Write both files, the NPZ first: a dataset without a sidecar is not one."""
    with files.replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **content)  # pyright: ignore[reportArgumentType]
    files.write_atomically(sidecar(path), json.dumps(described, indent=1) + "\n")


def read(path: Path, env: Env) -> tuple[Episode, dict[str, np.ndarray]]:
    """Read episodes (E, ...) as NumPy arrays, and the arrays of INDEX. UserError says what does not fit the task."""
    described = check_sidecar(path, env)
    try:
        with np.load(path, allow_pickle=False) as stored:
            wanted = [*(f"{STATE}/{i}" for i in range(len(described[STATE]))), *PARTS, *INDEX]
            found = {name: stored[name] for name in wanted}
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        problem = f"it has no {error}" if isinstance(error, KeyError) else type(error).__name__
        raise UserError(f"{path} is damaged, or no dataset: {problem}") from error
    _check_arrays(path, found, env.spec, described)
    leaves = [found[f"{STATE}/{i}"] for i in range(len(described[STATE]))]
    state = jax.tree.unflatten(jax.tree.structure(_state(env)), leaves)
    return Episode(state, **{part: found[name] for name, part in PARTS.items()}), {name: found[name] for name in INDEX}


def check_sidecar(path: Path, env: Env) -> dict[str, Any]:
    """Read the sidecar. UserError for another format, version, task or size."""
    if not path.is_file():
        raise UserError(f"there is no dataset {str(path)!r}: python -m qllm_jax.dataset RUN writes one")
    file, wanted = sidecar(path), describe(env.spec, _state(env))
    found = files.read_json(file, ("format", "version"))
    if found["format"] != FORMAT or found["version"] != VERSION:
        given = f"{found['format']!r}, version {found['version']!r}"
        raise UserError(f"{file} is of {given}; this package reads {FORMAT!r}, version {VERSION}")
    for key in ("task", *SIZES, STATE):
        if found.get(key) != wanted[key]:
            what = "states of other arrays" if key == STATE else f"{key}={found.get(key)!r}"
            has = f"{env.spec.task}" if key == STATE else f"{wanted[key]!r}"
            raise UserError(f"{path} has {what}, and the environment {has}: train on the task of the dataset")
    if found.get("environment", wanted["environment"]) != wanted["environment"]:  # older files do not tell
        theirs, ours = _apart(found["environment"], wanted["environment"])
        raise UserError(f"{path} was played with {theirs}, and the task has {ours}: train on the task of the dataset")
    return found


def check_time_limit(path: Path, is_terminal: bool) -> None:
    """UserError where the run that played took the time limit for a terminal and training does not, or vice versa."""
    found = files.read_json(sidecar(path), ()).get(LIMIT, is_terminal)  # older files do not tell
    if found != is_terminal:
        raise UserError(f"{path} was played with env.{LIMIT}={json.dumps(found)}: set env.{LIMIT} so")


def _game(spec: Spec) -> dict[str, Any]:
    """Name and all options of an environment, as JSON reads them back."""
    found = {"name": spec.made_by or spec.name, **qllm_envs.options_of(spec)}
    return json.loads(json.dumps(found, default=str))


def _apart(theirs: dict[str, Any], ours: dict[str, Any]) -> tuple[str, ...]:
    """The options in which two games differ, in words, of each."""
    keys = sorted(key for key in {*theirs, *ours} if theirs.get(key) != ours.get(key))
    return tuple(", ".join(f"{key}={game.get(key)!r}" for key in keys) for game in (theirs, ours))


def _state(env: Env) -> Any:
    return jax.eval_shape(env.reset, jax.random.key(0))


def _check_arrays(path: Path, found: dict[str, np.ndarray], spec: Spec, described: dict[str, Any]) -> None:
    n, t, agents = len(found["labelled"]), spec.horizon, spec.n_agents
    shapes = dict.fromkeys(("reward", "terminated", "mask"), (n, t)) | dict.fromkeys(
        ("action", "credit"), (n, t, agents)
    )
    shapes |= {f"{STATE}/{i}": (n, t + 1, *leaf["shape"]) for i, leaf in enumerate(described[STATE])}
    for name, shape in {**shapes, "run": (n,), "number": (n,)}.items():
        if found[name].shape != shape:
            raise UserError(f"{path}: {name} has the shape {found[name].shape} in place of {shape}")
    if not np.isfinite(found["credit"]).all() or not np.isfinite(found["reward"]).all():
        raise UserError(f"{path}: credit and reward must be finite")
    if found["action"].min(initial=0) < 0 or found["action"].max(initial=0) >= spec.n_actions:
        raise UserError(f"{path}: actions must be from 0 to {spec.n_actions - 1}")
