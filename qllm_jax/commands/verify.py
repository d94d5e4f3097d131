"""Verify one credit function and print its verdict as a table."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast, get_args

from qllm_envs.parts import suggest
from qllm_jax import cli, config
from qllm_jax.errors import UserError
from qllm_jax.tfcaf import find, gates
from qllm_jax.tfcaf.sandbox import confine
from qllm_jax.tfcaf.static.vocabulary import Kind
from qllm_jax.tfcaf.verdict import CODES, TfcafError, Verdict, printable, refusal, sha256

KEYS = ("env", "n_agents", "experiment")
_SIZES = ("operations", "largest_array", "flops", "constant_bytes", "states", "rollout_states", "searched_states")


def verify(arguments: list[str]) -> int:
    """Read the file, run the gates, print the verdict. Return 0 for a pass, 1 for a refusal."""
    cli.check_dashes(arguments)
    paths = [argument for argument in arguments if "=" not in argument or Path(argument).is_file()]
    if len(paths) != 1:
        raise UserError(
            "give one file, for example: python -m qllm_jax.verify my_function.py env=mpe_spread n_agents=6"
        )
    kinds = [argument.removeprefix("kind=") for argument in arguments if argument.startswith("kind=")]
    kind = check_kind(kinds[-1] if kinds else "value")
    keys = [argument for argument in arguments if argument not in paths and not argument.startswith("kind=")]
    for key in (argument.partition("=")[0] for argument in keys):
        if key.lstrip("+~").partition(".")[0] not in KEYS:
            problem = f"{key!r} makes no difference to a verdict"
            raise UserError(f"{problem}: the keys are file, kind, {', '.join(KEYS)} and env.KEY")
    settings = config.load(keys)
    env = config.environment(settings.env, settings.n_agents)
    verdict = verdict_of(paths[0], env, kind)
    print("\n".join(table(verdict, printable(paths[0]))))
    return 0 if verdict.ok else 1


def check_kind(name: str) -> Kind:
    """Return the kind of a name. UserError if there is none."""
    kinds = get_args(Kind)
    if name not in kinds:
        raise UserError(f"kind {name!r} does not exist: {suggest(name, kinds)}")
    return cast(Kind, name)


def verdict_of(path: str, env: Mapping[str, Any], kind: Kind) -> Verdict:
    """Return the verdict on the function of a name or a file. UserError if there is none."""
    try:
        found = find(path, kind)
    except TfcafError as error:  # a file that is no text in UTF-8
        return refusal(error, "L1", "", {})
    return gates.verify(found.text, found.file, env, kind)


def table(verdict: Verdict, file: str) -> list[str]:
    """Return the lines of the table of a verdict."""
    lines = [f"{verdict.code} at {verdict.layer}: {file}: {CODES[verdict.code]}"]
    lines += [f"sha256 {verdict.sha256}"] if verdict.sha256 != sha256("") else []  # of a file that could not be read
    if not verdict.ok:
        at = "" if verdict.line is None else f"line {verdict.line}: {verdict.report.get('line_text', '').strip()}"
        lines += [line for line in (verdict.problem, at, f"what to do: {verdict.hint}") if line]
    report = verdict.report
    lines += _rows("tried", {key.replace("_", " "): report[key] for key in _SIZES if key in report})
    lines += _rows("weights in rollouts", report.get("weights", {}))
    lines += _rows("credit in steps of play", report.get("credit", {}))
    named = ("env", "n_agents", "signature", "igm", "tasks", "task_shares", "treats_agents_alike")
    named += ("traces_for_n_agents",)
    lines += _rows("function", {key.replace("_", " "): report[key] for key in named if key in report})
    if layers := report.get("sandbox"):
        lines += _rows("sandbox", layers | {"network": "cut off" if confine.has_no_network(layers) else "NOT cut off"})
    return lines + [f"note: {note}" for note in report.get("notes", ())]


def _rows(title: str, values: dict[str, Any]) -> list[str]:
    return [f"{title}:", *(f"  {key:<24} {value}" for key, value in values.items())] if values else []
