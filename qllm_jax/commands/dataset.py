"""`dataset`: write the episodes of a run's newest checkpoint, with credit and explanations, as a file to learn from."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from qllm_jax import cli
from qllm_jax.config import function_name
from qllm_jax.core import dataset as format_of
from qllm_jax.core.types import Episode
from qllm_jax.critic import opening, questions
from qllm_jax.errors import UserError
from qllm_jax.llm import transcript as transcripts
from qllm_jax.program import experiment, run_axis
from qllm_jax.program.experiment import Experiment
from qllm_jax.program.one_run import RunState
from qllm_jax.run import folder, gated, load, provenance, zoo

DEFAULTS = {"out": None, "views": True, "overwrite": False}
NAME, SUFFIX = "dataset.npz", ".npz"


class Stored(NamedTuple):
    """The episodes of one run, oldest first; leaves (E, ...) of NumPy."""

    run: int  # index on the run axis of the folder
    episodes: Episode  # with credit
    number: np.ndarray  # (E,)
    labelled: np.ndarray  # (E,)


def dataset(arguments: list[str]) -> int:
    """Read the run, write both files, print what they hold. Return the exit code."""
    paths, options = cli.parse(arguments, "the folder of a run", DEFAULTS)
    name = cli.one_run(paths, "dataset")
    path, config = folder.load(name)
    out = folder.new_file(str(options["out"] or folder.default_out(name, NAME)), (SUFFIX,), options["overwrite"])
    folder.new_file(str(format_of.sidecar(out)), (".json",), options["overwrite"])
    exp = experiment.build(replace(config, devices=1))
    check(exp)
    if zoo.is_entry(path):
        raise UserError(f"{name} has no episodes: the zoo has parameters alone")
    gated.note_unverified(exp)
    found = [each for part in groups(exp, path) for each in stored(*part)]
    episodes = jax.tree.map(lambda *leaves: np.concatenate(leaves), *(each.episodes for each in found))
    content = format_of.arrays(episodes) | index(found)
    if options["views"]:
        content |= views(exp, episodes)
    described = describe(exp, path, found)
    format_of.write(out, content, described)
    labelled = int(content["labelled"].sum())
    print(f"{out}: {len(content['labelled'])} episodes, {labelled} of them labelled; {format_of.sidecar(out)}")
    return 0


def check(exp: Experiment) -> None:
    """UserError for a run whose episodes have no credit of their own."""
    algo = exp.config.algo
    if exp.learner.data is not None:
        raise UserError(f"this run learned from a dataset, {algo.learner['data']}, which has its episodes")
    if exp.learner.reward_credit is None and exp.learner.labelling is None:
        raise UserError(f"{algo.name} gives no agent a reward of its own: choose a run of algo=matched_mca")


def groups(exp: Experiment, path: Path) -> Iterator[tuple[Experiment, Path, int]]:
    """The runs that were trained at once: the experiment, the folder, and the index of the first run."""
    ranges = folder.group_ranges(path)
    if not ranges:
        yield exp, path, 0
    for i, (start, stop) in enumerate(ranges):
        yield experiment.slice_runs(exp, start, stop), folder.group_folder(path, i), start


def stored(exp: Experiment, path: Path, first: int) -> Iterator[Stored]:
    """The episodes of each run of a folder's newest checkpoint. UserError without one."""
    found = load.newest_checkpoint(exp, path)
    if found is None:
        raise UserError(f"{str(path)!r} has no checkpoint yet: the first one is written at its first evaluation")
    (clock, runs), _ = found
    n_stored, capacity = int(clock.episodes), exp.config.algo.buffer_episodes
    number = np.arange(max(n_stored - capacity, 0), n_stored)
    credit = jax.jit(lambda run: credit_of(exp, run))
    for r in range(exp.n_runs):
        run = jax.tree.map(lambda x: x[r], runs)  # noqa: B023
        episodes = run.storage._replace(credit_t=credit(run))
        labelled = run.labels.labelled if run.labels else np.ones(capacity, bool)
        rows = number % capacity
        episodes = jax.tree.map(lambda x: np.asarray(x)[rows], episodes)  # noqa: B023
        yield Stored(first + r, episodes, number, np.asarray(labelled)[rows])


def credit_of(exp: Experiment, run: RunState) -> jax.Array:
    """Credit (C, T, N) of all rows of a replay, as the agents learn from it."""
    if run.storage.credit_t is not None:
        return run.storage.credit_t
    assert exp.learner.reward_credit is not None
    batch = jax.tree.map(lambda x: jnp.moveaxis(x, 1, 0), run.storage)
    credit = jnp.moveaxis(exp.learner.reward_credit(run.learner.params, batch), 1, 0)
    return jnp.where(run.storage.mask_t[..., None] > 0, credit, 0.0)


def index(found: list[Stored]) -> dict[str, np.ndarray]:
    """The arrays that tell episodes apart."""
    run = [np.full(len(each.number), each.run, np.int32) for each in found]
    number = [each.number.astype(np.int32) for each in found]
    joined = (np.concatenate(parts) for parts in ([each.labelled for each in found], run, number))
    return dict(zip(format_of.INDEX, joined, strict=True))


def views(exp: Experiment, episodes: Episode) -> dict[str, np.ndarray]:
    """Arrays that agents and functions see in all slots, computed from the state."""
    view = jax.jit(jax.vmap(jax.vmap(exp.env.view)))(episodes.env_state)
    fields = {f"field/{name}": np.asarray(x) for name, x in view.fields.items()}
    return {"obs": np.asarray(view.obs), "avail": np.asarray(view.avail), **fields}


def describe(exp: Experiment, path: Path, found: list[Stored]) -> dict[str, Any]:
    """The content of the sidecar."""
    algo, runs = exp.config.algo, run_axis.runs(exp.config)
    learner = algo.learner
    held = {(each.run, int(number)) for each in found for number in each.number}
    file = path / opening.FOLDER / transcripts.NAME
    outcomes = questions.recorded(transcripts.read(file)[0]) if file.is_file() else {}
    texts = [
        {"run": run, "number": number, "text": record["explanation"], "agents": record["order"]}
        for (run, number), record in sorted(outcomes.items())
        if record["credit"] is not None and (run, number) in held
    ]
    by = learner.get("critic") or "function"
    source = {
        "algo": algo.name,
        "credit_by": by,
        "function": function_name(learner.get("function", "")),
        "seed": exp.config.seed,
    }
    source |= {"runs": [run.record_fields for run in runs], "commit": provenance.describe().get("commit")}
    task = format_of.describe(exp.env.spec, jax.eval_shape(exp.env.reset, jax.random.key(0)))
    task[format_of.LIMIT] = exp.config.env["time_limit_is_terminal"]
    return {**task, "episodes": sum(len(each.number) for each in found), "source": source, "explanations": texts}
