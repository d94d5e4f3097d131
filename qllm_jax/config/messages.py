"""Sentences for mistakes in a configuration: they name the key, its value and what is allowed."""

import difflib
import itertools
import re
from collections.abc import Sequence
from typing import Any

import hydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob
from omegaconf import DictConfig, OmegaConf

from qllm_envs import football_engine, outside
from qllm_envs.parts import suggest
from qllm_jax.choices import config_dir, group_names
from qllm_jax.config.groups import ENVIRONMENTS, GROUPS, ROOT, nearest


def explain_validation(detail: Any) -> str:
    """The sentence for one of the errors that pydantic found."""
    key = ".".join(str(part) for part in detail["loc"])
    if detail["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        return unknown_key(key)
    if detail["type"] == "dataclass_type":
        return f"{key} has keys of its own, as {key}.KEY=VALUE, and is set to {detail['input']!r}"
    message = detail["msg"].replace("Input should be", "must be").replace("Field required", "is missing")
    return f"{key} {message}" + ("" if detail["type"] == "missing" else f", got {detail['input']!r}")


def explain_hydra(error: Exception, overrides: list[str], root: str = ROOT) -> str:
    """The sentence for an error of Hydra or OmegaConf."""
    text = str(error)
    if found := re.search(r"In '[^']*': Could not (?:find|load) '([^']*)'", text):
        if (given := found.group(1).removeprefix("env/")) != found.group(1) and outside.parse(given):
            return f"env {given!r} is a part from outside, which --multirun takes alone: start a run for each"
        group, _, name = found.group(1).rpartition("/")
        if (group, name) == ("env", football_engine.NAME):
            return football_engine.REFUSAL
        others, end = _outside(group)
        return f"{group} {name!r} does not exist: {suggest(nearest(group, name), [*group_names(group), *others])}{end}"
    if found := re.search(r"Could not (?:override|delete from config\.) '([^']*)'", text):
        # A mapping, as in algo.mixer={...}, is refused for one of its keys.
        within = re.search(rf"full_key: ({re.escape(found.group(1))}\.\S+)", str(error.__cause__))
        return unknown_key(within.group(1) if within else found.group(1), overrides, root)
    if found := re.search(r"Key '([^']*)' (?:is not in struct|not in)", text):
        full = re.search(r"full_key: (\S+)", text)
        return unknown_key(full.group(1) if full else found.group(1), overrides, root)
    if text.startswith("Ambiguous value"):
        return f"{text.splitlines()[0]}: for one training each add --multirun; a list is written as key=[1,2]"
    full = re.search(r"full_key: (\S+)", text)
    first = text.strip().splitlines()[0].rstrip(".")
    first = re.sub(r"^Value (.*) of type '\w+' could not be converted to (\w+)$", r"\1 is not of type \2", first)
    return f"{full.group(1)}: {first}" if full else f"{first} (in: {' '.join(overrides)})"


def _outside(group: str) -> tuple[list[str], str]:
    """Choices of a group that other packages register, and how to name one that none does."""
    if group == "env":
        return [*outside.registered(ENVIRONMENTS)], ", or give module:function or path/file.py:function"
    part = "a mixer or a learner of your own is algo.mixer.name=module:function, algo.learner.name=module:function"
    return [], f"; {part}" if group == "algo" else ""


def unknown_key(key: str, overrides: Sequence[str] = (), root: str = ROOT) -> str:
    """The sentence for a key that does not exist; it suggests the keys beside it in the chosen groups."""
    parent, _, leaf = key.rpartition(".")
    chosen = [override for override in overrides if override.partition("=")[0] in GROUPS]
    whole: Any = None
    node: Any = None
    with hydra.initialize_config_dir(str(config_dir()), version_base="1.3"):
        for each in itertools.product(*map(_choices, chosen)):  # one, but for --multirun
            whole = hydra.compose(root, overrides=[*each])
            node = OmegaConf.select(whole, parent) if parent else whole
            if not isinstance(node, DictConfig) or leaf not in node:
                break
    siblings = [str(k) for k in node] if isinstance(node, DictConfig) else []
    if elsewhere := _same_key(whole, leaf, siblings):
        return f"unknown key {key!r}: did you mean {elsewhere!r}?"
    groups = [] if parent or root != ROOT else ["experiment"]
    # The options of a part depend on its name, so those of another one are added.
    name = node.get("name") if isinstance(node, DictConfig) and parent in ("algo.mixer", "algo.learner") else None
    if key == "algo.mixer.function" and name and ":" not in name:
        return f"{key}: the mixer {name!r} reads no credit function: choose a method that does, as algo=matched_qllm"
    added = f", or add it if {parent}.name={name} has it: +{key}=..." if name else ""
    return f"unknown key {key!r}: {suggest(leaf, siblings + groups)}{added}"


def _choices(override: str) -> list[str]:
    """The overrides of a group that one with several values stands for, as in --multirun; else itself."""
    parsed = OverridesParser.create().parse_override(override)
    if not parsed.is_sweep_override():
        return [override]
    key, values = parsed.get_key_element(), parsed.value()
    names = values.filter(group_names(key)) if isinstance(values, Glob) else parsed.sweep_string_iterator()
    return [f"{key}={name}" for name in names]


def _same_key(whole: Any, leaf: str, siblings: Sequence[str]) -> str:
    """The full key of that name, or nearly, in another group or in none; "" if there is none, or one beside it."""
    if difflib.get_close_matches(leaf, siblings, n=1):
        return ""
    inside = {str(key): f"{group}.{key}" for group in ("env", "algo") for key in whole.get(group) or {}}
    full = inside | {str(key): str(key) for key in whole}
    near = difflib.get_close_matches(leaf, full, n=1, cutoff=0.8)
    return full[near[0]] if near else ""
