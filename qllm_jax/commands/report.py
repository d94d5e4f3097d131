"""`report`: the learning curves of runs in one picture (reporting/), and a Markdown table of their final returns."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from qllm_jax import cli, stats
from qllm_jax.errors import UserError
from qllm_jax.reporting import comparison, curves
from qllm_jax.reporting.comparison import Entry, Panel
from qllm_jax.run import folder, zoo
from qllm_jax.run.results import RATES

DEFAULTS = {"out": "curves.png", "overwrite": False, "untrained": True}
SUFFIXES = (".png", ".pdf", ".svg")
HEADER = "task | N | algorithm | seeds | env steps | final return | 95% CI | IQM | random policy | wall time"


def report(arguments: list[str]) -> int:
    """Read the runs, draw the curves, print the table. Return the exit code."""
    paths, options = cli.parse(arguments, "the folders of runs", DEFAULTS)
    if not paths:
        raise UserError("give the folders of the runs to compare, for example: python -m qllm_jax.report runs/*")
    print(write(paths, options["out"], options["overwrite"], options["untrained"]))
    return 0


def write(paths: list[str], out: str, overwrite: bool, untrained: bool) -> str:
    """Draw the curves of runs into the new file `out`. Return the table in Markdown, and what to know of it."""
    runs, others = without_others(paths)
    panels = comparison.make_panels([entry for path in runs for entry in comparison.read(path)])
    picture = folder.new_file(out, SUFFIXES, overwrite)
    curves.draw(panels, picture, untrained)
    left_out = [f"Left out, as no folders of runs: {', '.join(others)}."] if others else []
    return "\n".join([table(panels), "", *differences(panels), *notes(panels), *left_out, f"curves: {picture}"])


def without_others(paths: list[str]) -> tuple[list[str], list[str]]:
    """Distinct runs among paths, and other folders, such as `runs/*` may name. All are runs if none has a run in it."""
    place = lambda path: path if zoo.is_name(path) else Path(path).resolve()
    found: dict[str | Path, str] = {}
    for path in paths:
        found.setdefault(place(path), str(Path(path)))
    distinct = list(found.values())
    others = [path for path in distinct if Path(path).is_dir() and not (Path(path) / folder.CONFIG).is_file()]
    runs = [path for path in distinct if path not in others]
    return (runs, others) if runs else (distinct, [])


def differences(panels: list[Panel]) -> Iterator[str]:
    """A table of the differences of final returns from the first run of each panel; nothing without any."""
    rows = ["task | run | minus | difference of final returns | 95% CI (Welch)", "--- | --- | --- | --- | ---"]
    for panel in panels:
        each = zip(panel.entries, panel.labels, strict=True)
        known = [(label, np.asarray(e.result["return_per_seed"])) for e, label in each if e.result and not e.failed]
        known = [(label, scores) for label, scores in known if len(scores) > 1]  # one seed has no interval
        for label, scores in known[1:]:
            first, others = known[0]
            found = stats.welch(scores, others)
            low, mean, high = (stats.format_number(x, others.mean()) for x in (found.low, found.mean, found.high))
            rows.append(f"{panel.title} | {label} | {first} | {mean} | {low} to {high}")
    if len(rows) > 2:
        yield from (f"| {row} |" for row in rows)
        yield ""


def table(panels: list[Panel]) -> str:
    """One row per run, or per configuration of a sweep, in Markdown."""
    found = [entry.result or {} for panel in panels for entry in panel.entries]
    rates = {name: rate for name, rate in RATES.items() if any(rate in result for result in found)}
    header = HEADER + "".join(f" | {name} | random policy {name}" for name in rates)
    rows = [header, " | ".join("---" for _ in header.split(" | "))]
    for panel in panels:
        for entry, label in zip(panel.entries, panel.labels, strict=True):
            name = label + comparison.unfinished_mark(entry)
            steps = f"{entry.env_steps:,}" + ("" if entry.result else f" of {entry.config.total_steps:,}")
            head = (panel.title, str(entry.n_agents), name, str(len(entry.returns)), steps)
            shares = [text for rate in rates.values() for text in shares_of(entry, rate)]
            rows.append(" | ".join((*head, *figures(entry), wall_time(entry.elapsed_s), *shares)))
    return "\n".join(f"| {row} |" for row in rows)


def figures(entry: Entry) -> tuple[str, str, str, str]:
    """Mean, interval and IQM of the final return, and the random policy; dashes if a run is not finished or failed."""
    if entry.result is None or entry.failed:
        return "-", "-", "-", "-"
    found, random = entry.result["return"], entry.result["random_policy"]["mean"]
    bounds = [found["ci95_low"], found["ci95_high"]]
    known = all(bound is not None and np.isfinite(bound) for bound in bounds)  # one seed has no interval
    text = lambda x: stats.format_number(x, found["mean"])
    interval = f"{text(bounds[0])} to {text(bounds[1])}" if known else "-"
    return text(found["mean"]), interval, text(found["iqm"]), text(random)


def shares_of(entry: Entry, rate: str) -> tuple[str, str]:
    """A share of episodes with its interval, and that of the random policy; dashes if the result has none."""
    if entry.failed or rate not in (result := entry.result or {}):
        return "-", "-"
    random = result[f"random_policy_{rate}"]["mean"]
    return stats.percentage_with_interval(np.asarray(result[f"{rate}_per_seed"])), f"{random:.1%}"


def wall_time(seconds: float) -> str:
    """Hours and minutes, or minutes and seconds."""
    hours, minutes = int(seconds // 3600), int(seconds % 3600 // 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {int(seconds % 60):02d} s"


def notes(panels: list[Panel]) -> Iterator[str]:
    """Differences between the runs of one panel, which a reader must know before comparing its rows."""
    if any(entry.elapsed_s for panel in panels for entry in panel.entries):
        yield "Wall time: of training and evaluations with compilation, without the start of Python and the gates."
    for panel in panels:
        runs = panel.entries
        columns = {
            "seeds": [len(e.returns) for e in runs],
            "env steps": [e.env_steps for e in runs],
            "evaluation epsilon": [e.config.algo.eval_epsilon for e in runs],
            "final episodes": [e.config.final_episodes for e in runs],
        }
        varied = {name: values for name, values in columns.items() if len(set(values)) > 1}
        differ = [f"{name} ({', '.join(f'{v:,}' for v in values)})" for name, values in varied.items()]
        if differ:
            yield f"{panel.title}: the runs differ in {', '.join(differ)}."
        for algo, settings in comparison.differing(runs).items():
            yield f"{panel.title}: the runs of {algo} differ in {', '.join(settings)}."
        if any(entry.configuration for entry in runs):
            yield f"{panel.title}: the wall time of a sweep is that of all its configurations together."
        if any(entry.failed for entry in runs):
            yield f"{panel.title}: runs with failed seeds have no mean; what failed is in their metrics.jsonl."
        if all(entry.result is None for entry in runs):
            yield f"{panel.title}: no run is finished, so the random policy is not drawn."
