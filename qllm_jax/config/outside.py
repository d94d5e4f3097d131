"""Parts from outside in overrides: `env=module:function`, `algo.mixer.name=path/file.py:function` and the like.

Hydra has no group and no keys for them, so they are rewritten: the environment to the group `_outside`, a mixer or a
learner to a node of its own without the options of the preset's.
"""

from collections.abc import Iterable

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import QuotedString
from hydra.errors import HydraException

from qllm_envs import outside
from qllm_jax.choices import group_names
from qllm_jax.config import quoting
from qllm_jax.config.groups import ENVIRONMENTS, LEARNERS, MIXERS

_GROUP = "env=_outside"
_OF_RUN = ("env.name", "env.time_limit_is_terminal")  # keys of configs/env/_outside.yaml
_PARTS = {"algo.mixer": MIXERS, "algo.learner": LEARNERS}


def rewritten(overrides: Iterable[str]) -> list[str]:
    """Overrides as Hydra reads them. Those without parts from outside, and those that were rewritten, do not change."""
    found = _with_env([*overrides])
    labels = []
    for node, group in _PARTS.items():
        if name := _chosen(found, f"{node}.name", group):
            found = _with_part(found, node, name)
            labels.append(outside.label(name))
    if labels and not any(_key(override) == "algo.name" for override in found):
        found.append(f"algo.name={quoting.quoted('_'.join(labels))}")
    return found


def _with_env(overrides: list[str]) -> list[str]:
    name = _chosen(overrides, "env.name", ENVIRONMENTS)
    group = _value(overrides, "env")
    if name is None and group not in group_names("env"):
        name = _chosen(overrides, "env", ENVIRONMENTS)
    if name is None:
        return overrides
    others = [override for override in overrides if _key(override) not in ("env", "env.name")]
    options = lambda key: key.startswith("env.") and key not in _OF_RUN
    others = [f"++{each.lstrip('+')}" if options(_key(each)) and each[0] != "~" else each for each in others]
    return [_GROUP, f"env.name={quoting.quoted(name)}", *others]


def _with_part(overrides: list[str], node: str, name: str) -> list[str]:
    own = [each for each in overrides if _key(each) == node or _key(each).startswith(f"{node}.")]
    others = [each for each in overrides if each not in own]
    options = [each for each in own if _key(each) not in (node, f"{node}.name")]
    given = [f"++{each.lstrip('+')}" if each[0] != "~" else each for each in options]
    return [*others, f"{node}={{}}", f"++{node}.name={quoting.quoted(name)}", *given]


def _chosen(overrides: list[str], key: str, group: str) -> str | None:
    """The part from outside that the last override of a key names, its path made absolute; None if it names none."""
    value = _value(overrides, key)
    if value is None:
        return None
    return outside.absolute(value) if outside.parse(value) or value in outside.registered(group) else None


def _value(overrides: list[str], key: str) -> str | None:
    """The text that the last override of a key gives; None if none does."""
    given = [override for override in overrides if _key(override) == key and "=" in override]
    try:
        parsed = OverridesParser.create().parse_override(quoting.readable(given[-1])) if given else None
    except HydraException:
        return None
    value = parsed.value() if parsed else None
    text = value.text if isinstance(value, QuotedString) else value
    return text if isinstance(text, str) else None


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+~")
