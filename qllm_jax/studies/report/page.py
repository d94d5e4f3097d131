"""The page of a study, docs/studies/NAME.md: a head by hand, then tables and pictures made of its results.

The text depends on the study's file, the results and the head alone.
"""

from collections.abc import Sequence

from matplotlib.figure import Figure

from qllm_jax import stats
from qllm_jax.studies.plan import FigureEntry, FigureKind
from qllm_jax.studies.report import over_tasks, provenance, tables
from qllm_jax.studies.report.measured import Measured

Pictures = Sequence[tuple[FigureEntry, Figure | str]]  # or why there is none
TITLES: dict[FigureKind, str] = {
    "curves": "Learning curves",
    "bars": "Final returns",
    "auc_by_agents": "Mean over training by number of agents",
    "profile": "Performance profile",
    "improvement": "Probability of improvement",
    "critical_difference": "Critical differences of ranks",
}

FINAL = (
    "Mean over seeds of {episodes} episodes on each seed's best checkpoint, ± half its 95% t interval; of a share won, "
    "its ends. Bold: above every other method of the row by Welch's interval of the difference, in {comparisons} at 5% "
    "each, none corrected. Methods are compared by the share of episodes won if there is a winner, else by the return."
)
CRASHED = " Crashed: the share of episodes in which an agent crashed, and the ends of its interval."
DIFFERENCE = (
    "Final score minus that of {name}, ± half of Welch's 95% interval; bold if it excludes 0. If no method differed "
    "from {name}, {expected:.2g} of these {comparisons} would be bold on average."
)
CURVES = "Mean over seeds of each evaluation, and its 95% t interval as a band."
AREAS = (
    "Area under the curve of evaluations, divided by its length: the mean over env steps, ± half its 95% t interval "
    "over seeds."
)
ASKED = (
    "Questions that the training of a cell asked, all seeds together, one an episode; the episodes that got a label, "
    "and the faults of the others. All other methods asked none."
)
STATISTICS = "What each statistic is: docs/statistics.md of qllm_jax"
STEPS = (
    "Env steps of the first evaluation from which the mean of any 3 consecutive evaluations is at or above the "
    "threshold: the median over seeds, and how many of them have one. `>`: half of them or more have none within their "
    "training."
)


def text(data: Measured, head: str, pictures: Pictures) -> str:
    """Return the whole page."""
    study, total = data.study, len(data.results) + len(data.missing())
    command = f"python -m qllm_jax.study {study.argument} report"
    note = f"<!-- Made by `{command}`. Edit {data.shown_folder}/head.md instead. -->"
    explained = "[What each statistic is](../statistics.md)" if study.is_shipped else STATISTICS
    count = f"{len(data.results)} of {total} cells (a task with a method) have a result"
    if data.results:
        rest = ", and [those without are named](#missing)" if data.missing() else ""
        parts = [f"{count}{rest}. {explained}.", *sections(data, pictures)]
    else:
        parts = [f"{count}.", *section("Missing", provenance.missing(data))]
    return "\n\n".join(part for part in (note, f"# {study.plan.title}", head.strip(), *parts) if part) + "\n"


def sections(data: Measured, pictures: Pictures) -> list[str]:
    """Return the sections of a study with results."""
    over_all = shown(data, pictures, "profile", "improvement", "critical_difference")
    curves, areas = shown(data, pictures, "curves"), shown(data, pictures, "auc_by_agents")
    steps = tables.steps_to_threshold(data)
    return [
        *section("Final returns", *final(data), *shown(data, pictures, "bars")),
        *difference(data),
        *section(over_tasks.title(data), *over_tasks.parts(data, over_all)),
        *(section("Learning curves", CURVES, *curves) if curves else []),
        *section("Mean over training", AREAS, tables.areas(data), *areas),
        *(section("Steps to a threshold", STEPS, steps) if steps else []),
        *(section("Questions to a critic", ASKED, questions) if (questions := provenance.questions(data)) else []),
        *section("Missing", provenance.missing(data)),
        *section("Provenance", provenance.describe(data)),
    ]


def section(title: str, *parts: str) -> list[str]:
    """Return a section, or nothing if it has no parts."""
    return [f"## {title}", *parts] if parts else []


def final(data: Measured) -> list[str]:
    """Return caption and table of final evaluations."""
    table, comparisons = tables.final(data)
    episodes = sorted({result.content["final"]["episodes"] for result in data.results.values()})
    counted = stats.count(comparisons, "comparison")
    caption = FINAL.format(episodes=" or ".join(map(str, episodes)), comparisons=counted)
    has_crashes = any("crash_rate" in result.final for result in data.results.values())
    return [caption + CRASHED * has_crashes, table]


def difference(data: Measured) -> list[str]:
    """Return the section of differences to the reference."""
    reference = data.study.plan.reference
    table, comparisons = tables.differences(data, reference) if reference else ("", 0)
    if reference is None or not table:
        return []
    name = data.method_label(reference)
    caption = DIFFERENCE.format(name=name, comparisons=comparisons, expected=0.05 * comparisons)
    return section(f"Difference to {name}", caption, table)


def shown(data: Measured, pictures: Pictures, *kinds: FigureKind) -> list[str]:
    """Return the pictures of some kinds with their captions, or why there is none."""
    parts = []
    for entry, drawn in pictures:
        if entry.kind in kinds and isinstance(drawn, str):
            parts.append(f"*There is no picture `{entry.name}`: {drawn}.*")
        elif entry.kind in kinds:
            tasks = "; ".join(data.task_label(task) for task in entry.tasks if task in data.tasks)
            parts.append(f"![{TITLES[entry.kind]}: {tasks}]({data.study.name}_{entry.name}.png)")
            parts += [f"*{entry.caption}*"] if entry.caption else []
    return parts
