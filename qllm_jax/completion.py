"""Completion of `qllm-jax` in bash, zsh and fish: subcommands, keys, and the choices of groups.

The shell asks `qllm-jax --complete SHELL WORD...` at each key, so nothing is imported here that takes time.
"""

import re
from collections.abc import Sequence

from qllm_jax import choices

SCRIPTS = {
    "bash": """_qllm_jax() {
  local line="${COMP_LINE:0:COMP_POINT}" words
  read -ra words <<< "$line"
  [[ "$line" == *" " ]] && words+=("")
  mapfile -t COMPREPLY < <(qllm-jax --complete bash "${words[@]:1}")
  [[ ${COMPREPLY[0]} == *= ]] && compopt -o nospace
}
complete -o default -F _qllm_jax qllm-jax""",
    "zsh": """_qllm_jax() {
  local -a found
  found=("${(@f)$(qllm-jax --complete zsh "${(@)words[2,CURRENT]}")}")
  [[ -n "$found" ]] && compadd -Q -S '' -- $found
  _files
}
compdef _qllm_jax qllm-jax""",
    "fish": """complete -c qllm-jax -a '(qllm-jax --complete fish (commandline -opc)[2..] (commandline -ct))'""",
}
VALUES = {"wandb.mode": ("disabled", "offline", "online"), "unroll": ("auto", "scan", "pallas")}
VALUES |= {"which": ("best", "last")}
VALUES |= dict.fromkeys(("overwrite", "upload", "untrained", "tensorboard"), ("true", "false"))
OF_RUNS = ("evaluate", "render", "explain", "export", "report", "zoo")  # commands that take zoo:TASK/METHOD


def candidates(words: Sequence[str]) -> list[str]:
    """Return what the last of the words after `qllm-jax` may be; [] where only the shell knows, as for folders."""
    *before, last = words or [""]
    if not before:
        return [name for name in choices.commands() if name.startswith(last)]
    key, equals, value = last.partition("=")
    if equals:
        return [f"{key}={each}" for each in values(key) if each.startswith(value)]
    policies = choices.policies() if before[0] in OF_RUNS and last.startswith("zo") else []
    return [name for name in (*policies, *(f"{each}=" for each in keys(before[0]))) if name.startswith(last)]


def values(key: str) -> Sequence[str]:
    """Return the known values of a key; () if there are none."""
    if key in VALUES:
        return VALUES[key]
    names = choices.group_names(key) if key.isidentifier() else []
    short = [name.removeprefix(choices.MATCHED) for name in names if name.startswith(choices.MATCHED)]
    return [*(short if key == "algo" else ()), *names]


def keys(command: str) -> list[str]:
    """Return the keys of a command: those that its help describes, and for `train` and `generate` those of configs/."""
    described = re.findall(r"^  ((?:[a-z_.]+, )*[a-z_.]+)  +\S", choices.commands().get(command, ""), re.MULTILINE)
    found = [key for row in described for key in row.split(", ")]
    if command == "generate":
        found += choices.keys_of("generate.yaml")
    if command == "train":
        found += [*choices.keys_of("config.yaml"), "wandb.mode", "experiment"]
        found += [f"sweep.{key}" for key in choices.keys_of("sweep/none.yaml")]
        found += [f"algo.{key}" for key in choices.keys_of("algo/_matched.yaml")]
    return sorted({*found} - {"defaults", "hosts", "wandb", "hosts.", "algo.defaults"})


def answer(shell: str, words: Sequence[str]) -> list[str]:
    """Return the lines for a shell. bash takes `=` and `:` for the end of a word, and wants only what comes after."""
    found = candidates(words)
    signs = [sign for sign in "=:" if words and sign in words[-1]]
    return [each.partition(signs[0])[2] for each in found] if shell == "bash" and signs else found
