"""Many runs of one command line through Hydra's sweepers and launchers: one after another, or as jobs of a cluster.

Hydra's own entry point reads sys.argv, writes its files beside ours and keeps to itself what a job returned. So its
application object is driven here instead: each job is `train` with the overrides that the sweeper chose.
"""

import json
import time
from pathlib import Path
from typing import Any

from hydra import version
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from qllm_jax import compile_cache, config, files
from qllm_jax.commands import train
from qllm_jax.errors import UserError
from qllm_jax.run import folder

JOBS = "jobs"  # the folder of the records, beside those of the runs
# An empty folder for each run, into which Hydra writes nothing.
HYDRA = ("hydra.sweep.subdir=${hydra.job.num}", "hydra.output_subdir=null", "hydra/job_logging=none")


def multirun(overrides: list[str]) -> int:
    """The command: launch a job for each combination of overrides, print where the runs are; 1 if one failed."""
    for key in ("resume", "hosts.process"):
        if any(override.startswith(f"{key}=") for override in overrides):
            raise UserError(f"{key}= is of one run, and --multirun starts many")
    place = sweep_dir(overrides)
    if (place / JOBS).exists():
        raise UserError(f"hydra.sweep.dir={place} holds another multirun: choose another folder")
    failure = None
    try:
        application().multirun(config.ROOT, job, [*HYDRA, *overrides, f"hydra.sweep.dir='{place}'"])
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(config.explain(error, overrides)) from error
    except Exception as error:  # what a job raised, which its record tells, too; or a launcher that failed
        failure = error
    records = [json.loads(path.read_text()) for path in sorted((place / JOBS).glob("*.json"))]
    failed = [record for record in records if record["error"]]
    if failure is not None and not failed:
        raise failure
    print("\n".join(table(records)))
    return 1 if failed else 0


def sweep_dir(overrides: list[str]) -> Path:
    """The folder of the runs: what hydra.sweep.dir says, or a new one."""
    given = [override for override in overrides if override.startswith("hydra.sweep.dir=")]
    if not given:
        return Path("runs") / f"multirun_{time.strftime('%Y%m%d-%H%M%S')}"
    try:
        return Path(str(OverridesParser.create().parse_override(given[-1]).value()))
    except HydraException as error:
        raise UserError(f"{given[-1]} is no folder: {str(error).splitlines()[0]}") from error


def application() -> Hydra:
    """Hydra's application, not registered as the one of this process: jobs compose configurations of their own."""
    version.setbase("1.3")
    found = Hydra.create_main_hydra2("train", create_config_search_path(str(config.config_dir())))
    GlobalHydra.instance().clear()
    return found


def table(records: list[dict[str, Any]]) -> list[str]:
    """A line for each job: the overrides that not all jobs share, and its folder or why it failed."""
    shared = set.intersection(*(set(record["overrides"]) for record in records))
    names = [" ".join(o for o in record["overrides"] if o not in shared) for record in records]
    ended = (f"failed: {r['error']}" if r["error"] else f"{r['folder']}  return {r['return']:.4g}" for r in records)
    width = max(map(len, names))
    return ["", *(f"{name:<{width}}  {end}" for name, end in zip(names, ended, strict=True))]


def job(composed: DictConfig) -> float:
    """One run, in whatever process the launcher chose. Its mean final return, which a sweeper may maximize."""
    del composed  # `train` composes it again, under its own rules and with its own sentences
    hydra = HydraConfig.get()
    chosen, output = list(hydra.overrides.task), Path(hydra.runtime.output_dir)
    compile_cache.enable()
    record = {"overrides": chosen, "folder": str(output), "error": "", "return": float("nan")}
    try:
        record["folder"] = config.load(chosen).run_dir or str(output)
        others = [override for override in chosen if not override.startswith("run_dir=")]
        if train.train([*others, f"run_dir='{record['folder']}'"]) == 130:
            raise KeyboardInterrupt
        record["return"] = final_return(Path(record["folder"]))
        return record["return"]
    except BaseException as error:
        record["error"] = str(error) or type(error).__name__
        raise
    finally:
        jobs = output.parent / JOBS
        jobs.mkdir(exist_ok=True)
        files.write_atomically(jobs / f"{hydra.job.num:04d}.json", json.dumps(record) + "\n")


def final_return(path: Path) -> float:
    """The mean over seeds of a finished run, or of the best configuration of a sweep."""
    found = json.loads((path / folder.RESULT).read_text())
    return max(one["return"]["mean"] for one in found.get("configurations", [found]))
