"""`train --multirun`: one run for each combination of values, through Hydra's sweepers and launchers.

Each job is `train` with the overrides that the sweeper chose. Hydra's own entry point would read sys.argv, write its
files beside ours and hide the result of a job, so this module calls Hydra's application object instead.
"""

import json
import time
from functools import partial
from pathlib import Path
from typing import Any

from hydra import version
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from qllm_jax import compile_cache, config, files, process
from qllm_jax.commands import train
from qllm_jax.config import outside, quoting
from qllm_jax.errors import UserError
from qllm_jax.run import folder, results

JOBS = "jobs"  # the folder of the jobs' records, beside the run folders
# An empty folder for each run, in which Hydra writes nothing.
HYDRA = ("hydra.sweep.subdir=${hydra.job.num}", "hydra.output_subdir=null", "hydra/job_logging=none")


def multirun(overrides: list[str]) -> int:
    """Launch a job for each combination of values and print the run folders. Return 1 if a job failed, else 0."""
    config.check_form(overrides)
    check_keys(overrides)
    overrides = [config.full_name(override) for override in overrides]
    given = [quoting.readable(override, several=True) for override in outside.rewritten(overrides)]
    path = sweep_dir(given)
    failure = None
    try:
        folder_of_all = f"hydra.sweep.dir={quoting.quoted(str(path))}"
        application().multirun(config.ROOT, partial(job, process.IS_COMMAND.get()), [*HYDRA, *given, folder_of_all])
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(config.explain_hydra(error, given)) from error
    except Exception as error:  # of a job, which is in its record too, or of the launcher
        failure = error
    records = [files.read_json(file) for file in sorted((path / JOBS).glob("*.json"))]
    failed = [record for record in records if record["error"]]
    if failure is not None and not failed:
        files.make_folder(path, exist_ok=True)  # UserError if this is what the launcher could not do
        if isinstance(failure, ValueError):  # of Hydra: a group set to a number
            raise UserError(config.explain_hydra(failure, overrides)) from failure
        raise failure
    if not records:
        raise UserError("--multirun started no run: a key has no values, as a range that is empty")
    print("\n".join(table(records)))
    return 1 if failed else 0


def check_keys(overrides: list[str]) -> None:
    """UserError for keys that belong to one run, and for a key that is given twice, as Hydra takes the last one."""
    given: dict[str, str] = {}
    for override in overrides:
        key = override.partition("=")[0].lstrip("+~")
        if key in ("resume", "hosts.process"):
            raise UserError(f"{key}= belongs to one run, and --multirun starts many")
        if key in given:
            raise UserError(f"--multirun: {key} is given twice, {given[key]} and {override}: give it once")
        given[key] = override
    several = [key for key, override in given.items() if key != "run_dir" and is_swept(override)]
    run_dir = given.get("run_dir", "${}")
    if several and "${" not in run_dir and not is_swept(run_dir):
        raise UserError(
            f"{run_dir} is the folder of one run, and {several[0]} gives several: hydra.sweep.dir=FOLDER holds them all"
        )


def is_swept(override: str) -> bool:
    """True for several values of a key, each of which gets runs of its own."""
    try:
        return OverridesParser.create().parse_override(quoting.readable(override, several=True)).is_sweep_override()
    except HydraException:  # which is said when all are composed
        return False


def sweep_dir(overrides: list[str]) -> Path:
    """The folder of all runs: hydra.sweep.dir with its ${...} resolved, or a new one. UserError if it is in use."""
    given = [override for override in overrides if override.startswith("hydra.sweep.dir=")]
    if not given:
        return (Path("runs") / f"multirun_{time.strftime('%Y%m%d-%H%M%S')}").absolute()
    try:
        text = str(OverridesParser.create().parse_override(quoting.readable(given[-1])).value())
        if "${" in text:
            text = application().compose_config(config.ROOT, [*HYDRA, *overrides], RunMode.MULTIRUN).hydra.sweep.dir
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(f"{given[-1]} is not a folder: {str(error).splitlines()[0]}") from error
    if not text.strip():
        raise UserError("hydra.sweep.dir must not be empty: leave it out, or give a folder")
    path = files.expanded(text)
    if (path / JOBS).exists():
        raise UserError(f"hydra.sweep.dir={path} holds another multirun: choose another folder")
    return path.absolute()


def application() -> Hydra:
    """Make Hydra's application. It is not registered in this process, since jobs compose their own configurations."""
    version.setbase("1.3")
    found = Hydra.create_main_hydra2("train", create_config_search_path(str(config.config_dir())))
    GlobalHydra.instance().clear()
    return found


def table(records: list[dict[str, Any]]) -> list[str]:
    """One line per job: the overrides that not all jobs share, then its folder or its error."""
    shared = set.intersection(*(set(record["overrides"]) for record in records))
    names = [" ".join(o for o in record["overrides"] if o not in shared) for record in records]
    ended = (
        f"failed: {r['error']}" if r["error"] else f"{r['folder']}  return {r['return']:.4g}{r.get('of', '')}"
        for r in records
    )
    width = max(map(len, names))
    return ["", *(f"{name:<{width}}  {end}" for name, end in zip(names, ended, strict=True))]


def job(is_command: bool, composed: DictConfig) -> float:
    """Train one run, in the process of the launcher. Return its mean final return, which a sweeper may maximize."""
    process.IS_COMMAND.set(is_command)  # the launcher may have started another process
    del composed  # `train` composes again, with its own rules and error messages
    hydra = HydraConfig.get()
    chosen, output = list(hydra.overrides.task), Path(hydra.runtime.output_dir)
    compile_cache.enable()
    record = {"overrides": chosen, "folder": str(output), "error": "", "return": float("nan"), "of": ""}
    try:
        found = config.load(chosen)
        record["folder"] = found.run_dir or str(output)
        others = [override for override in chosen if not override.startswith("run_dir=")]
        if found.wandb.group is None and not found.run_dir:  # the folder's name is the job's number
            others.append(f"wandb.group={quoting.quoted('/'.join(output.parts[-2:]))}")
        if train.train([*others, f"run_dir={quoting.quoted(record['folder'])}"]) == 130:
            raise KeyboardInterrupt
        record["return"], record["of"] = final_return(Path(record["folder"]))
        return record["return"]
    except BaseException as error:
        record["error"] = str(error) or type(error).__name__
        raise
    finally:
        jobs = Path(hydra.sweep.dir) / JOBS  # not beside the run, whose hydra.sweep.subdir may have several parts
        jobs.mkdir(exist_ok=True)
        files.write_atomically(jobs / f"{hydra.job.num:04d}.json", json.dumps(record) + "\n")


def final_return(path: Path) -> tuple[float, str]:
    """Mean final return over seeds of a finished run, or of the best configuration of a sweep and which that is.

    NaN: a seed of each configuration failed.
    """
    result = files.read_json(path / folder.RESULT)
    means = {label: each["return"]["mean"] for label, each in results.by_label(result).items()}
    known = {label: mean for label, mean in means.items() if mean is not None}
    if not known:
        return float("nan"), ""
    best = max(known, key=lambda label: known[label])
    return known[best], f" (the best of {len(means)} configurations: {best})" if best else ""
