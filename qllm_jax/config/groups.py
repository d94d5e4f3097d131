"""The files of `configs/`: one folder for each Hydra group, one YAML file for each choice."""

import difflib
from pathlib import Path

import qllm_jax

ROOT = "config"  # configs/config.yaml
MATCHED = "matched_"  # of methods that differ in the method alone
GROUPS = ("env", "algo", "experiment", "llm", "sweep")
# Groups of entry points by which other packages register environments, mixers and learners.
ENVIRONMENTS, MIXERS, LEARNERS = "qllm_jax.environments", "qllm_jax.mixers", "qllm_jax.learners"


def config_dir() -> Path:
    """Return the folder of the Hydra groups: inside the package in a wheel, beside it in a checkout."""
    package = Path(qllm_jax.__file__).resolve().parent
    inside, beside = package / "configs", package.with_name("configs")
    return inside if inside.is_dir() else beside


def full_name(override: str) -> str:
    """Return `algo=qmix` as `algo=matched_qmix`, in a list of several too: the preset that comparisons use."""
    key, equals, value = override.partition("=")
    if key != "algo":
        return override
    names = group_names(key)
    full = lambda name: MATCHED + name if name not in names and MATCHED + name in names else name
    return key + equals + ",".join(full(name.strip()) for name in value.split(","))


def nearest(group: str, name: str) -> str:
    """Return the choice that is most like a name that is none: of methods a matched one, if there is one like it."""
    short = {n.removeprefix(MATCHED): n for n in group_names(group) if n.startswith(MATCHED)}
    near = difflib.get_close_matches(name, short, n=1)
    return short[near[0]] if near else name


def group_names(group: str) -> list[str]:
    """Choices of a Hydra group. Files that begin with an underscore are parts that choices share."""
    return [p.stem for p in (config_dir() / group).glob("*.yaml") if not p.stem.startswith("_")]
