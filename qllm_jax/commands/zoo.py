"""`zoo`: list and describe the trained policies of the package, and add those of runs; run/zoo.py has the format."""

import json
import re
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from qllm_jax import cli, files, stats
from qllm_jax import config as configs
from qllm_jax.commands import evaluate
from qllm_jax.config import Config, WandbConfig
from qllm_jax.errors import UserError
from qllm_jax.program import devices, experiment
from qllm_jax.run import folder, functions_used, load, results, safetensors, stored_logs, stored_tree
from qllm_jax.run import zoo as library
from qllm_jax.run.load import LoadedRun
from qllm_jax.run.provenance import short_commit
from qllm_jax.run.results import Final

DEFAULTS = {"episodes": 320, "overwrite": False}
HEADER = "policy | return | all seeds | random | env steps | best at step | commit"
EVENTS = ("eval", "final")  # records that an entry keeps
LISTS = ("returns", *results.RATES)  # of records, which result.json has for the final evaluation


def zoo(arguments: list[str]) -> int:
    """List, describe or add. Return the exit code."""
    words, options = cli.parse(arguments, "add, or the name of a policy", DEFAULTS)
    if words[:1] != ["add"] and options != DEFAULTS:
        raise UserError("episodes and overwrite are keys of `zoo add`")
    if not words:
        print(table())
        return 0
    if words[0] != "add":
        print("\n".join(describe(word.removeprefix(library.PREFIX)) for word in words))
        return 0
    if options["episodes"] < 2:
        raise UserError(f"episodes must be at least 2, got {options['episodes']}")
    devices.use_cores()
    for run, name in to_add(words[1:]):
        add(run, name, options["episodes"], options["overwrite"])
        print(describe(name).partition("\n")[0])
    return 0


def table() -> str:
    """All policies in Markdown: mean return with 95% interval over episodes, and the mean of all seeds trained."""
    rows = [HEADER, " | ".join("---" for _ in HEADER.split(" | ")), *map(row, library.names())]
    return "\n".join(f"| {each} |" for each in rows)


def row(name: str) -> str:
    """The row of one policy."""
    meta, result = read(library.LIBRARY / name)
    all_seeds = np.asarray(meta[library.KEY]["return_per_seed"], float)
    scale = result["return"]["mean"]
    number = lambda x: stats.format_number(x, scale)
    others = f"{number(all_seeds.mean())} ({len(all_seeds)})"
    random, steps, best = result["random_policy"]["mean"], result["env_steps"], result["best_checkpoint_env_steps"][0]
    measured = f"{number(scale)} ± {number(half_width(result))}"
    numbers = (measured, others, number(random), f"{steps:,}", f"{best:,}")
    return " | ".join((f"`zoo:{name}`", *numbers, short_commit(str(meta.get("commit")))))


def describe(name: str) -> str:
    """All that is known of a policy, as text. UserError if it does not exist."""
    path = library.path_of(library.PREFIX + name)
    meta, result = read(path)
    config = configs.read(path / folder.CONFIG)
    known, scale = meta[library.KEY], result["return"]["mean"]
    number = lambda x: stats.format_number(x, scale)
    seeds = ", ".join(number(x) for x in known["return_per_seed"])
    played = f"mean and 95% interval of {result['episodes']} greedy episodes"
    best, kinds = result["best_checkpoint_env_steps"][0], meta.get("devices", [])
    rows = {
        "return": f"{number(scale)} ± {number(half_width(result))} ({played})",
        "random policy": number(result["random_policy"]["mean"]),
        "seeds": f"the first of {len(known['return_per_seed'])}, whose returns are {seeds}",
        "parameters": f"of the best evaluation, at step {best:,} of {result['env_steps']:,}",
        "method": config.algo.name,
        "command": command_line(meta),
        "commit": str(meta.get("commit")),
        "hardware": f"{hardware(kinds)}, {meta.get('platform')}",
        "started": str(meta.get("started")),
    }  # fmt: skip
    return "\n".join([f"{library.PREFIX}{name}", *(f"  {key:<14}{value}" for key, value in rows.items())])


def hardware(kinds: list[str]) -> str:
    """Devices by kind, such as 2 x NVIDIA H200. A CPU is one device for each core that a run was given."""
    return ", ".join(kind if kind == "cpu" else f"{kinds.count(kind)} x {kind}" for kind in dict.fromkeys(kinds))


def read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """meta.json and result.json of an entry."""
    return files.read_json(path / folder.META, (library.KEY,)), results.read(path)


def half_width(result: dict[str, Any]) -> float:
    """Half of the 95% t interval of the mean return, over episodes."""
    low, high = stats.interval(np.asarray(result["returns"][0], float))
    return (high - low) / 2


def command_line(meta: dict[str, Any]) -> str:
    """The command of a training as one types it."""
    return re.sub(r"^(\w+)\.py\b", r"python -m qllm_jax.\1", str(meta.get("command")))


def to_add(words: list[str]) -> list[tuple[Path, str]]:
    """Folders of runs with their names in the zoo. UserError for words that say no such thing."""
    root = files.expanded(words[0]) if words else Path()
    if len(words) == 2 and re.fullmatch(r"[\w.-]+/[\w.-]+", words[1]) and ".." not in words[1]:
        return [(root, words[1])]
    configured = (file.parent for file in root.glob(f"*/*/{folder.CONFIG}")) if len(words) == 1 else ()
    found = sorted(path for path in configured if not folder.is_group(path))
    if not found:
        raise UserError(
            "after add, give the folder of a run and its name as TASK/METHOD, or a folder of runs TASK/METHOD, such as "
            "that of a study"
        )
    return [(path, path.relative_to(root).as_posix()) for path in found]


def add(path: Path, name: str, episodes: int, overwrite: bool) -> None:
    """Write the policy of the first seed of a finished run into the zoo. UserError if it is a sweep or not finished."""
    target = library.LIBRARY / name
    if target.exists() and not overwrite:
        raise UserError(f"{library.PREFIX}{name} exists already: choose another name, or give overwrite=true")
    run = load.load_run(str(path))
    recorded = configs.read(run.path / folder.CONFIG)
    if library.is_entry(run.path) or recorded.sweep.lists:
        raise UserError(f"{path} cannot be added: the zoo takes the folder of one configuration that was trained")
    if run.exp.learner.data is not None:
        raise UserError(f"{path} cannot be added: it learned from a dataset, which the zoo does not hold")
    if (trained := results.read_finished(run.path, folder.records(run.path))) is None or trained.get("failed"):
        raise UserError(f"{path} cannot be added: it is not finished, or a seed failed")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
        entry = Path(temporary) / "entry"
        write(entry, run, recorded, trained, episodes)
        shutil.rmtree(target, ignore_errors=True)
        entry.rename(target)


def write(entry: Path, run: LoadedRun, recorded: Config, trained: dict[str, Any], episodes: int) -> None:
    """Write the folder of an entry. Its returns are those of its parameters alone, played as `evaluate` does."""
    own = {"run_dir": None, "resume": None, "wandb": WandbConfig(), "tensorboard": False}  # of the folder it is from
    config = replace(recorded, seeds=1, final_episodes=episodes, **own)
    origin = files.read_json(run.path / folder.META)
    meta = {key: value for key, value in origin.items() if key not in (folder.FILES, folder.ID, "groups")}
    meta[library.KEY] = {"seed": 0, "episodes": trained["episodes"], "return_per_seed": trained["return_per_seed"]}
    sources = [
        files.read_text(run.path / name) for name in functions_used.names(recorded) if (run.path / name).is_file()
    ]
    folder.create(entry, config, sources, meta)
    files.write_atomically(entry / folder.CONFIG, configs.to_yaml(config))  # its run_dir is of no use to others
    (entry / folder.LOCK).unlink()
    params = {name: np.asarray(leaf[0]) for name, leaf in stored_tree.leaves_by_name(run.params).items()}
    (entry / library.PARAMETERS).write_bytes(safetensors.encode(params, {"task": run.exp.env.spec.task}))
    final = measured(entry, run, trained["env_steps"], episodes)
    results.write(entry, config, final)
    write_logs(entry, run.path, final)


def measured(entry: Path, run: LoadedRun, env_steps: int, episodes: int) -> Final:
    """The final evaluation of an entry alone, of which config.yaml and parameters are written."""
    exp = experiment.build(replace(folder.load(str(entry))[1], devices=1))
    first = run._replace(path=entry, exp=exp, params=jax.tree.map(lambda x: x[:1], run.params), group_size=1)
    scores = evaluate.play(first, episodes, exp.config.algo.eval_epsilon)
    random = results.means(evaluate.play(first, episodes, 1.0))
    return Final(env_steps, scores, random, run.params_steps[:1])


def write_logs(entry: Path, path: Path, final: Final) -> None:
    """Write the records of the first seed's evaluations without the single episodes, and the wall time of all seeds."""
    own = [record for record in folder.records(path) if record["seed"] == 0 and record["event"] in EVENTS]
    own[-1] |= {name: float(value[0]) for name, value in results.metrics(final.scores).items() if name not in LISTS}
    short = [{key: value for key, value in record.items() if key not in LISTS} for record in own]
    files.write_atomically(entry / folder.METRICS, "".join(json.dumps(record) + "\n" for record in short))
    times = [stored_logs.timing(group)[-1] for group in folder.log_folders(path)]
    total = times[-1] | {"elapsed_s": sum(each["elapsed_s"] for each in times)}
    files.write_atomically(entry / folder.TIMING, json.dumps(total) + "\n")
