"""Configuration of a run: Hydra composes it, frozen dataclasses hold it, and every mistake is one sentence.

`schema.py` has the keys, their types and rules; `groups.py` the files of `configs/`; `composition.py` goes from the
command line to a `Config` and from there to `config.yaml`; `messages.py` has the sentences.
"""

from qllm_jax.config.composition import compose, fingerprint, for_hydra, from_dict, keys, load, parse, read, to_yaml
from qllm_jax.config.groups import ENVIRONMENTS, LEARNERS, MIXERS, ROOT, config_dir, full_name, group_names
from qllm_jax.config.messages import explain_hydra, explain_validation
from qllm_jax.config.schema import (
    ENV_RUN_KEYS,
    KNOWN_KEYS,
    MACHINE_KEYS,
    TRIAL_SEED,
    AlgoConfig,
    Config,
    Count,
    Folder,
    HostsConfig,
    Positive,
    Sweep,
    WandbConfig,
    env_options,
    environment,
    function_name,
    function_part,
    given_data,
    given_function,
    given_task,
    split_control,
    with_function,
)

__all__ = [
    "ENVIRONMENTS",
    "ENV_RUN_KEYS",
    "KNOWN_KEYS",
    "LEARNERS",
    "MACHINE_KEYS",
    "MIXERS",
    "ROOT",
    "TRIAL_SEED",
    "AlgoConfig",
    "Config",
    "Count",
    "Folder",
    "HostsConfig",
    "Positive",
    "Sweep",
    "WandbConfig",
    "compose",
    "config_dir",
    "env_options",
    "environment",
    "explain_hydra",
    "explain_validation",
    "fingerprint",
    "for_hydra",
    "from_dict",
    "full_name",
    "function_name",
    "function_part",
    "given_data",
    "given_function",
    "given_task",
    "group_names",
    "keys",
    "load",
    "parse",
    "read",
    "split_control",
    "to_yaml",
    "with_function",
]
