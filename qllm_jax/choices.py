"""Names and keys that help texts and shells offer, read from files alone: nothing is imported that takes time."""

import ast
import re
import textwrap
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
WIDTH = 110  # of help texts
MATCHED = "matched_"  # of methods that differ in the method alone


def config_dir() -> Path:
    """Return the folder of the Hydra groups: inside the package in a wheel, beside it in a checkout."""
    inside, beside = PACKAGE / "configs", PACKAGE.with_name("configs")
    return inside if inside.is_dir() else beside


def group_names(group: str) -> list[str]:
    """Choices of a Hydra group, sorted. Files that begin with an underscore are parts that choices share."""
    return sorted(file.stem for file in (config_dir() / group).glob("*.yaml") if not file.stem.startswith("_"))


def keys_of(file: str) -> list[str]:
    """Return the keys of the first level of a file of `config_dir`."""
    return re.findall(r"^(\w+):", (config_dir() / file).read_text(encoding="utf-8"), re.MULTILINE)


def commands() -> dict[str, str]:
    """Help text of each command by its name: the docstrings of the files that end in a call of `cli.main`."""
    texts = {file.stem: file.read_text(encoding="utf-8") for file in sorted(PACKAGE.glob("*.py"))}
    found = {name: text for name, text in texts.items() if re.search(r"^    cli\.main\(", text, re.MULTILINE)}
    return {name: ast.get_docstring(ast.parse(text)) or "" for name, text in found.items()}


def policies() -> list[str]:
    """Policies of the zoo as commands take them, zoo:TASK/METHOD, sorted."""
    library = PACKAGE / "run" / "library"
    return sorted(
        f"zoo:{file.parent.relative_to(library).as_posix()}" for file in library.glob("*/*/policy.safetensors")
    )


def of_training() -> str:
    """Return the part of the help of `train` that lists methods, environments and keys."""
    algos = group_names("algo")
    short = [name.removeprefix(MATCHED) for name in algos if name.startswith(MATCHED)]
    rows = {
        "env=": group_names("env"),
        "algo=": [*short, "(these are short for matched_NAME)", *(a for a in algos if not a.startswith(MATCHED))],
        "sweep=": group_names("sweep"),
        "experiment=": group_names("experiment"),
        "algo.KEY": [key for key in keys_of("algo/_matched.yaml") if key != "defaults"],
        "sweep.KEY": keys_of("sweep/none.yaml"),
    }
    wrapped = (_row(name, " ".join(values)) for name, values in rows.items())
    return "\n".join(["Choices:", *wrapped, "  --cfg job --package env shows the keys of the chosen environment"])


def _row(name: str, text: str) -> str:
    filled = textwrap.wrap(text, WIDTH - 14, break_long_words=False, break_on_hyphens=False)
    return "\n".join(f"  {name if i == 0 else '':<12}{line}" for i, line in enumerate(filled))
