"""Progress of a study: a table of tasks and methods, the time used, and the estimated time left."""

from collections.abc import Iterator

from qllm_jax.errors import UserError
from qllm_jax.studies import estimate, plan, results, trainings, wanted
from qllm_jax.studies import work as of_work
from qllm_jax.studies.cells import Cell
from qllm_jax.studies.plan import Study
from qllm_jax.studies.work import Work

NO_CELL = "-"


def describe(work: Work) -> str:
    """The table, the sentences of failures, and the times."""
    words = states(work)
    done = sum(word == "done" for word in words.values())
    head = f"{work.study.name}: {work.study.plan.title} ({done} of {len(words)} cells done)"
    return "\n".join([head, "", *table(work, words), "", *failures(work, words), *left_to_others(work), *times(work)])


def states(work: Work) -> dict[str, str]:
    """The state of each cell, by name.

    It is done, running or stopped at a share, failed, missing, of another configuration or function, or not yet in the
    study that trains it.
    """
    missing = work.missing()
    shares: dict[tuple[str, str], float] = {}
    for found in trainings.furthest_first(trainings.found_in(work.runs, {cell.task for cell in missing})):
        for each in found.identities.values():
            shares.setdefault((found.path.parent.name, each), found.progress()[0] / found.run_steps)
    left = {cell.name: unfinished(work, cell, shares.get((cell.task, cell.identity))) for cell in missing}
    return {cell.name: left.get(cell.name, "done") for cell in work.cells}


def of_other_cells(study: Study, results_dir: str | None) -> str:
    """A sentence on results that are not of the cells as the study gives them now, "" if all are."""
    try:
        work = of_work.make(study, results_dir)
    except UserError as error:
        return f"some results may be of other configurations: {error}"
    found = {cell.name: results.read(work.results, cell) for cell in work.cells}
    old = [cell.name for cell in work.cells if (read := found[cell.name]) and not results.is_of(read, cell)]
    if not old:
        return ""
    return f"of another configuration or function than the study gives now, and in the report: {', '.join(old)}"


def unfinished(work: Work, cell: Cell, share: float | None) -> str:
    """The state of a cell that is not done; `share` is the progress of its run folder, None without one."""
    if cell.trained_by:
        return f"not yet in {cell.trained_by}"
    if work.is_claimed(cell):
        return f"running at {share or 0.0:.0%}"
    if work.failure(cell):
        return "failed"
    if share is not None:
        return f"stopped at {share:.0%}"
    if (found := results.read(work.results, cell)) is None:
        return "missing"
    return "other configuration" if found["config_hash"] != cell.hash else "other function"


def table(work: Work, words: dict[str, str]) -> list[str]:
    """Rows of tasks and columns of methods, in Markdown."""
    tasks = list(dict.fromkeys(cell.task for cell in work.cells))
    methods = [name for name in work.study.plan.methods if any(cell.method == name for cell in work.cells)]
    body = [[task, *(words.get(f"{task}/{method}", NO_CELL) for method in methods)] for task in tasks]
    rows = [["task", *methods], *body]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["| " + " | ".join(f"{text:<{n}}" for text, n in zip(row, widths, strict=True)) + " |" for row in rows]
    return [lines[0], "|" + "|".join("-" * (n + 2) for n in widths) + "|", *lines[1:]]


def failures(work: Work, words: dict[str, str]) -> Iterator[str]:
    """The sentence of each failed cell."""
    failed = [cell for cell in work.cells if words[cell.name] == "failed"]
    yield from (f"{cell.name} failed: {work.failure(cell)}" for cell in failed)
    if failed:
        yield ""


def left_to_others(work: Work) -> Iterator[str]:
    """A line for each other study that trains cells which have no result yet."""
    named: dict[str, list[str]] = {}
    for cell in work.missing():
        if cell.trained_by:
            named.setdefault(cell.trained_by, []).append(cell.name)
    for study, cells in named.items():
        yield f"left to study {study} (python -m qllm_jax.study {study}): {', '.join(cells)}"


def times(work: Work) -> Iterator[str]:
    """The wall time of all cells so far, and what the others will take."""
    used, missing = 0.0, work.missing_here()
    for cell in work.cells:
        if (result := results.read(work.results, cell)) and results.is_of(result, cell):
            used += result["wall_s"] * len(result["seeds"]) / result["runs_at_once"]
    left = trainings.to_do(missing, {cell.name for cell in missing}, work.runs)
    used += sum(training.found.progress()[1] for training in left if training.found)
    yield f"time used: {estimate.text(used) if used else 'none'}"
    if not left:
        return
    rates = estimate.rates(work)
    seconds = estimate.total(estimate.of_training(training, rates) for training in left)
    if seconds is None:
        yield "time left: nothing to estimate it from, as no cell has been trained yet"
    else:
        yield f"time left: {estimate.text(seconds)} in one process, {len(left)} trainings"


def list_all(results_dir: str | None) -> str:
    """All studies with their titles and the number of cells that have a result file, of whatever configuration."""
    studies = [plan.load(name) for name in plan.names()]
    if not studies:
        return "there are no studies in configs/study"
    width = max(len(study.name) for study in studies)
    return "\n".join(f"{study.name:<{width}}  {study.plan.title} ({progress(study, results_dir)})" for study in studies)


def progress(study: Study, results_dir: str | None) -> str:
    """The number of a study's cells that have a result file. It composes no configuration, which takes time."""
    root = of_work.results_folder(study, results_dir)
    paths = [results.path_of(root, cell) for cell in wanted.cells(study)]
    return f"{sum(path.is_file() for path in paths)} of {len(paths)} cells have results"
