"""The end of a study's page: what is missing, and where each result comes from."""

import json
import shlex
from collections.abc import Sequence
from typing import Any

from qllm_jax.run.continued import RESUMED
from qllm_jax.run.provenance import short_commit
from qllm_jax.studies.report.measured import Measured, Result
from qllm_jax.studies.report.tables import NONE, markdown, steps_text

HARDWARE = ("platform", "python", "devices", "versions")
OWN_PATHS = ", both with the `results=` and `run_dir=` with which it was trained."
EDITED = "another text of their credit function than there is now"


def missing(data: Measured) -> str:
    """Name the cells without a result by priority, and the results that other overrides or texts of functions made."""
    cells: dict[tuple[int, str, str], list[str]] = {}
    for cell in data.missing():
        others = f", trained by study {cell.trained_by}" if cell.trained_by else ""
        cells.setdefault((cell.priority, cell.task, others), []).append(data.method_label(cell.method))
    order = list(data.study.plan.tasks)
    by_priority = sorted(cells.items(), key=lambda item: (item[0][0], order.index(item[0][1]), item[0][2]))
    lines = [f"- {data.task_label(t)}: {'; '.join(names)} (priority {p}{o})" for (p, t, o), names in by_priority]
    parts = ["These cells have no result yet.", "\n".join(lines)] if lines else ["No cell is without a result."]
    for pairs, what in ((data.outdated(), "other overrides than the study gives now"), (data.edited(), EDITED)):
        if pairs:
            parts.append(f"These results were made with {what}.")
            parts.append("\n".join(f"- {data.task_label(t)}: {data.method_label(m)}" for t, m in pairs))
    return "\n\n".join(parts)


def describe(data: Measured) -> str:
    """Name machines, commands, and the seeds, steps, wall time and commit of each result."""
    given = data.study.argument
    machines = list(dict.fromkeys(machine_of(result) for result in data.results.values()))
    overrides = next(iter(data.results.values())).content["overrides"]
    parts = [
        f"The numbers of each seed are in `{data.shown_folder}`, one file a cell, with its configuration. The first "
        "command makes what is missing there, the second this page" + ("." if data.study.is_shipped else OWN_PATHS),
        *(others_text(data, *item) for item in data.of_others().items()),
        f"```text\npython -m qllm_jax.study {given}\npython -m qllm_jax.study {given} report\n```",
        "One cell alone is trained by the `overrides` of its file, for example:",
        f"```text\npython -m qllm_jax.train {shlex.join(overrides)}\n```",
        "\n".join(f"- Machine {letter(i)}: {machine_text(machine)}." for i, machine in enumerate(machines)),
        cells_table(data, machines),
        "*Wall time: of the training that the cell was a part of, with compilation, without the start of "
        "Python and the gates. Runs: how many it trained at once.*",
    ]
    return "\n\n".join(parts)


def others_text(data: Measured, study: str, pairs: Sequence[tuple[str, str]]) -> str:
    """Name the cells that another study has trained."""
    tasks = {task: [data.method_label(m) for t, m in pairs if t == task] for task, _ in pairs}
    named = "; ".join(f"{data.task_label(task)} with {', '.join(methods)}" for task, methods in tasks.items())
    return f"These cells are those of study `{study}`, in `results/{study}`, with its seed: {named}."


def cells_table(data: Measured, machines: Sequence[str]) -> str:
    """Return a row for each result."""
    rows = []
    for (task, method), result in data.results.items():
        content = result.content
        rows.append(
            [
                data.task_label(task),
                data.method_label(method),
                seeds_text(content["seeds"]),
                steps_text(content["env_steps"]),
                wall_text(content["wall_s"]),
                str(content["runs_at_once"]),
                commits_text(content["provenance"]),
                letter(machines.index(machine_of(result))),
            ]
        )
    return markdown(["task", "method", "seeds", "env steps", "wall time", "runs", "commit", "machine"], rows)


def commits_text(origin: dict[str, Any]) -> str:
    """Name the commits of the processes that trained a run, in short."""
    commits = [each.get("commit") or "-" for each in (origin, *origin.get(RESUMED, []))]
    return ", ".join(dict.fromkeys(map(short_commit, commits)))


def questions(data: Measured) -> str:
    """Return a row for each result whose training asked a critic; "" if none did."""
    rows = []
    for (task, method), result in data.results.items():
        if counts := result.content.get("critic"):
            usable = counts["answered"] + counts["repaired"]
            faults = ", ".join(f"{label} {n}" for label, n in counts["faults"].items()) or NONE
            numbers = [f"{counts['questions']:,}", f"{usable:,}", faults, f"{counts['tokens']:,}"]
            rows.append([data.task_label(task), data.method_label(method), *numbers])
    return markdown(["task", "method", "questions", "labelled", "faults", "tokens"], rows) if rows else ""


def machine_of(result: Result) -> str:
    """Return the hardware and the versions of a result as canonical JSON."""
    return json.dumps({key: result.content["provenance"].get(key) for key in HARDWARE}, sort_keys=True)


def machine_text(machine: str) -> str:
    """Write the hardware and the versions of a machine."""
    found: dict[str, Any] = json.loads(machine)
    devices = found["devices"] or []
    counted = [f"{devices.count(device)} x {device}" for device in dict.fromkeys(devices)]
    versions = [f"{name} {version}" for name, version in (found["versions"] or {}).items() if version]
    return f"{found['platform']}, {', '.join(counted)}, Python {found['python']}, {', '.join(versions)}"


def seeds_text(seeds: Sequence[int]) -> str:
    """Write seeds as a range if they are one."""
    whole = list(seeds) == list(range(seeds[0], seeds[-1] + 1)) and len(seeds) > 1
    return f"{seeds[0]} to {seeds[-1]}" if whole else ", ".join(map(str, seeds))


def wall_text(seconds: float) -> str:
    """Write a wall time."""
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{seconds / 60:.1f} min"


def letter(index: int) -> str:
    """Name a machine: A to Z, then A1 and so on."""
    return chr(ord("A") + index % 26) + (str(index // 26) if index >= 26 else "")
