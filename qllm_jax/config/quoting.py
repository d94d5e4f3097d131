"""Values that Hydra's grammar cannot read, such as paths with spaces, `#` or `~`: they are quoted, and so are texts."""

from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import QuotedString
from hydra.errors import HydraException

# Keys whose value is a text, whatever it looks like.
TEXTS = (
    *("run_dir", "resume", "hydra.sweep.dir", "wandb.project", "wandb.entity", "wandb.group"),
    *("algo.mixer.function", "algo.learner.function", "algo.learner.task", "algo.learner.data"),
    *("llm.model", "llm.transcript"),
)


def readable(override: str, several: bool = False) -> str:
    """Return an override that Hydra reads: as it is, or with its value in quotes if that is not in the grammar.

    The value of a key of TEXTS is quoted too where it would be a number, a list, or several values that are not asked
    for.
    """
    key, _, value = override.partition("=")
    try:
        parsed: Any = OverridesParser.create().parse_override(override)
    except HydraException:
        return f"{key}={quoted(value)}"
    if key not in TEXTS or parsed.value() is None or (several and parsed.is_sweep_override()):
        return override
    is_text = not parsed.is_sweep_override() and isinstance(parsed.value(), str | QuotedString)
    return override if is_text or not value else f"{key}={quoted(value)}"


def replacing(override: str) -> list[str]:
    """Return overrides by which `key={}` empties a group; Hydra alone would merge the two, and change nothing."""
    key, _, value = override.partition("=")
    return [f"~{key}", f"+{key}={{}}"] if value.strip() == "{}" and key[:1].isalpha() else [override]


def quoted(value: str) -> str:
    """Return a text in the quotes of Hydra's grammar."""
    inner = value.replace("\\'", "\\\\'").replace("'", "\\'")
    return f"'{inner}\\'" if inner.endswith("\\") else f"'{inner}'"
