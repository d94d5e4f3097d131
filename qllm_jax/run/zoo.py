"""The zoo: trained policies that ship with the package, as small run folders without checkpoints.

Each is library/TASK/METHOD, and `zoo:TASK/METHOD` in place of the path of a run folder. It holds what the run folder of
its training holds, for the first seed alone, with these differences:

policy.safetensors   the parameters of the best evaluation, of agents and mixer, in place of checkpoints/
meta.json            as the training wrote it; under "zoo", the mean returns of all seeds of that training
result.json          returns of the parameters as they are stored, as `evaluate` plays them
metrics.jsonl        evaluations and the final evaluation alone
"""

from pathlib import Path

from qllm_envs.parts import suggest
from qllm_jax.errors import UserError

PREFIX = "zoo:"
LIBRARY = Path(__file__).with_name("library")
PARAMETERS = "policy.safetensors"
KEY = "zoo"  # of meta.json


def names() -> list[str]:
    """TASK/METHOD of each entry, sorted."""
    return sorted(file.parent.relative_to(LIBRARY).as_posix() for file in LIBRARY.glob(f"*/*/{PARAMETERS}"))


def is_name(run: str) -> bool:
    """True for what is to be the name of an entry, such as zoo:relay_n3/qmix, and no path."""
    return run.startswith(PREFIX)


def path_of(run: str) -> Path:
    """The folder of `zoo:TASK/METHOD`. UserError lists what exists."""
    name = run.removeprefix(PREFIX)
    if name not in (known := names()):
        raise UserError(f"{run} does not exist: {suggest(name, known)}; python -m qllm_jax.zoo describes them")
    return LIBRARY / name


def is_entry(path: Path) -> bool:
    """True if a folder has parameters in place of checkpoints."""
    return (path / PARAMETERS).is_file()
