"""Result files: results/STUDY/TASK/METHOD.json, one for each cell, made from the run folder that trained it.

What a machine changes (wall_s, provenance) comes last. All else depends on the configuration and the code alone.
"""

import json
import math
import shlex
from pathlib import Path
from typing import Any

from qllm_envs import outside
from qllm_jax import files
from qllm_jax.config import function_name, given_function
from qllm_jax.critic import opening, report
from qllm_jax.errors import UserError
from qllm_jax.program import experiment, run_axis
from qllm_jax.run import continued, dataset_used, folder, functions_used, nonfinite, results
from qllm_jax.run.nonfinite import NonFiniteError
from qllm_jax.studies import cells as of_cells
from qllm_jax.studies.cells import Cell
from qllm_jax.studies.trainings import Trained
from qllm_jax.studies.wanted import Wanted

DIGITS = 6  # significant digits of measurements
METRICS = ("return", *results.RATES.values())
FUNCTIONS = "functions"  # SHA-256 of all texts by which a cell is known, see `Cell`
FOLDER_KEYS = ("results=", "run_dir=")  # of a command
NEEDED = ("config_hash", "env_steps", "runs_at_once", "seeds", "wall_s")  # keys that every whole result file has


def path_of(root: Path, cell: Cell | Wanted) -> Path:
    """The result file of a cell, in the folder of its study's results or in the one beside it of another study."""
    return (root.parent / cell.trained_by if cell.trained_by else root) / cell.task / f"{cell.method}.json"


def read(root: Path, cell: Cell) -> dict[str, Any] | None:
    """The content of a cell's result file, of whatever configuration; None if there is none that is whole."""
    path = path_of(root, cell)
    try:
        found = files.read_json(path, NEEDED) if path.is_file() else None
    except UserError:
        return None  # it is made again from the run folder
    return found if found and _is_whole(found) else None


def _is_whole(found: dict[str, Any]) -> bool:
    """True if the values that `status` computes with are numbers that can be."""
    counts, wall_s = [found["env_steps"], found["runs_at_once"]], found["wall_s"]
    has_time = isinstance(wall_s, int | float) and 0 <= wall_s < math.inf
    is_counted = all(isinstance(count, int) and count > 0 for count in counts)
    return has_time and is_counted and isinstance(found["seeds"], list) and isinstance(found["config_hash"], str)


def is_done(root: Path, cell: Cell) -> bool:
    """True if the cell has a result of the configuration that the study asks for, with the function as it is now."""
    found = read(root, cell)
    return found is not None and is_of(found, cell)


def is_of(found: dict[str, Any], cell: Cell) -> bool:
    """True if the content of a result file is the cell's."""
    if found["config_hash"] != cell.hash:
        return False
    if FUNCTIONS in found:
        return tuple(found[FUNCTIONS]) == cell.functions
    return set(found.get("credit_functions", {}).values()) <= set(cell.functions)  # of an older version


def write(root: Path, study: str, cell: Cell, found: Trained) -> Path:
    """Write the result file of a cell from its finished run folder. A result of another configuration is replaced."""
    path = path_of(root, cell)
    files.make_folder(path.parent, exist_ok=True)
    lines = (f"{json.dumps(key)}:{compact(value)}" for key, value in make(study, cell, found).items())
    files.write_atomically(path, "{\n" + ",\n".join(lines) + "\n}\n")
    return path


def compact(value: Any) -> str:
    """JSON without spaces."""
    return json.dumps(value, separators=(",", ":"))


def make(study: str, cell: Cell, found: Trained) -> dict[str, Any]:
    """The content of a cell's result file.

    `NonFiniteError` if one of its seeds failed, UserError if its function was edited while it was trained.
    """
    records = folder.records(found.path)
    result = results.read_finished(found.path, records)
    assert result is not None, found.path
    label = next((label for label, each in found.identities.items() if each == cell.identity), None)
    if label is None:
        raise UserError(f"{found.path} has not the cell's function, which was edited meanwhile: start the study again")
    own = results.by_label(result)[label]
    if failure := results.failure_text(own.get("failed", ())):
        raise NonFiniteError(f"{failure}; its states are in {nonfinite.FILE} in {found.path}")
    spec = experiment.make_env(cell.config.env, cell.config.n_agents).spec
    seeds = list(range(cell.config.seeds))
    measured = {
        "env_steps": result["env_steps"],
        "seeds": seeds,
        "evaluations": evaluations([record for record in records if results.run_of(record)[0] == label], seeds),
        "final": final(own),
        "random_policy": random_policy(result["random_policy_per_run"], len(seeds)),
    }
    return {
        "study": study,
        "task": cell.task,
        "method": cell.method,
        "overrides": list(cell.overrides),
        "config": of_cells.content(cell.config),
        "config_hash": cell.hash,
        "env_task": spec.task,
        "n_agents": spec.n_agents,
        **rounded(measured),
        "credit_functions": credit_functions(cell, found, label),
        FUNCTIONS: list(cell.functions),
        **critic(found),
        "runs_at_once": len(run_axis.runs(found.config)),
        "wall_s": rounded(found.measured()[1]),
        "provenance": provenance(files.read_json(found.path / folder.META)),
    }


def provenance(meta: dict[str, Any]) -> dict[str, Any]:
    """The origin of a run folder, without folders of the machine, which a result that is shared is not to name."""
    own = {key: value for key, value in meta.items() if key not in ("groups", folder.ID, folder.FILES)}
    if dataset_used.KEY in own:
        own[dataset_used.KEY] = {"sha256": dataset_used.recorded(meta)["sha256"]}
    processes = [own, *own.get(continued.RESUMED, ())]
    shared = [each | {"command": without_folders(str(each.get("command", "")))} for each in processes]
    return shared[0] | ({continued.RESUMED: shared[1:]} if shared[1:] else {})


def without_folders(command: str) -> str:
    """A command of a study without the keys that say where its files are."""
    return shlex.join(word for word in shlex.split(command) if not word.startswith(FOLDER_KEYS))


def evaluations(records: list[dict[str, Any]], seeds: list[int]) -> dict[str, list[Any]]:
    """Learning curves: environment steps (evals,) and each metric (seeds, evals)."""
    by_seed = [[r for r in records if r["event"] == "eval" and r["seed"] == seed] for seed in seeds]
    steps = [record["env_steps"] for record in by_seed[0]]
    names = [name for name in METRICS if name in by_seed[0][0]]
    return {"env_steps": steps} | {name: [[r[name] for r in own] for own in by_seed] for name in names}


def final(result: dict[str, Any]) -> dict[str, Any]:
    """The final evaluation of one configuration: means (seeds,) of its episodes."""
    named = {name: result[f"{name}_per_seed"] for name in METRICS if f"{name}_per_seed" in result}
    best = {"best_checkpoint_env_steps": result["best_checkpoint_env_steps"]}
    return {"episodes": result["episodes"], **named, **best}


def random_policy(per_run: dict[str, Any], n_seeds: int) -> dict[str, list[float]]:
    """Means (seeds,) of the uniformly random policy, which are the same in all configurations of a training."""
    shares = {rate: own[:n_seeds] for name, rate in results.RATES.items() if (own := per_run.get(name)) is not None}
    return {"return": per_run["returns"][:n_seeds]} | shares


def credit_functions(cell: Cell, found: Trained, label: str) -> dict[str, str]:
    """SHA-256 of the text that the cell was trained with, by the name of the function; {} without one."""
    files_by_label = dict(zip(found.identities, functions_used.names(found.config), strict=False))
    path = found.path / files_by_label[label]
    if not path.is_file():
        return {}
    name = function_name(given_function(cell.config.algo) or outside.label(cell.config.env["name"]))
    return {name: files.digest(path).hexdigest()}


def critic(found: Trained) -> dict[str, dict[str, Any]]:
    """Counts of a critic that was asked in training, of all cells of the training together; {} without one."""
    path = found.path / opening.FOLDER / report.SUMMARY
    if not path.is_file():
        return {}
    counts = files.read_json(path, ("questions",))
    return {"critic": {name: value for name, value in counts.items() if name != "seconds"}}


def rounded(value: Any) -> Any:
    """All floats of a JSON value to DIGITS significant digits."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    return [rounded(each) for each in value] if isinstance(value, list) else value
