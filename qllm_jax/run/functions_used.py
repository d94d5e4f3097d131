"""The credit functions and the task function of a run folder: their files, and the configuration that uses those."""

import hashlib
from dataclasses import replace
from pathlib import Path

from qllm_jax import config as configs
from qllm_jax.config import Config, function_name, split_control

TFCAF, TASK = "tfcaf.py", "task.py"
TFCAFS = "tfcaf"  # the folder of the functions of a sweep


def sha256(text: str) -> str:
    """SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def names(config: Config) -> list[str]:
    """Names of the files of the credit functions, relative to the run folder, and of the task function's."""
    credit = [swept_name(function) for function in config.sweep.tfcaf or ()] or [TFCAF]
    return [*credit, TASK] if configs.given_task(config.algo) else credit


def swept_name(function: str) -> str:
    """Name of the file of one of several credit functions. With a control it is in a folder of the control's name."""
    base, control = split_control(function)
    return "/".join(part for part in (TFCAFS, control, f"{function_name(base)}.py") if part)


def with_own(folder: Path, config: Config) -> Config:
    """The configuration with the folder's copies of the credit functions: the library may have changed since."""
    copy = lambda name, given: with_control(str(folder / name), given) if (folder / name).is_file() else given
    if (folder / TASK).is_file():
        learner = {**config.algo.learner, "task": str(folder / TASK)}
        config = replace(config, algo=replace(config.algo, learner=learner))
    if given := config.sweep.tfcaf:
        copies = [copy(name, function) for name, function in zip(names(config), given, strict=False)]
        return replace(config, sweep=replace(config.sweep, tfcaf=copies))
    if not (folder / TFCAF).is_file():
        return config
    return configs.with_function(config, with_control(str(folder / TFCAF), configs.given_function(config.algo)))


def with_control(file: str, function: str) -> str:
    """The credit function of a file, with the control of `function`."""
    control = split_control(function)[1]
    return f"{file}:{control}" if control else file
