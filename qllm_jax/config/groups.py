"""The files of `configs/`: one folder for each Hydra group, one YAML file for each choice."""

from pathlib import Path

import qllm_jax

ROOT = "config"  # configs/config.yaml
GROUPS = ("env", "algo", "experiment", "llm", "sweep")


def config_dir() -> Path:
    """Return the folder of the Hydra groups: inside the package in a wheel, beside it in a checkout."""
    package = Path(qllm_jax.__file__).resolve().parent
    inside, beside = package / "configs", package.with_name("configs")
    return inside if inside.is_dir() else beside


def group_names(group: str) -> list[str]:
    """Choices of a Hydra group. Files that begin with an underscore are parts that choices share."""
    return [p.stem for p in (config_dir() / group).glob("*.yaml") if not p.stem.startswith("_")]
