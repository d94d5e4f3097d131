"""The files of `configs/`: one folder for each Hydra group, one YAML file for each choice."""

import difflib

from qllm_jax.choices import MATCHED, group_names

ROOT = "config"  # configs/config.yaml
GROUPS = ("env", "algo", "experiment", "llm", "sweep")
# Groups of entry points by which other packages register environments, mixers and learners.
ENVIRONMENTS, MIXERS, LEARNERS = "qllm_jax.environments", "qllm_jax.mixers", "qllm_jax.learners"


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
    near = difflib.get_close_matches(name.lower(), short, n=1)
    return short[near[0]] if near else name
