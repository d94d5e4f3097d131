"""Pictures of a study's figures. A method has the same color, dash and marker in all of them."""

from collections.abc import Callable
from pathlib import Path

from matplotlib.figure import Figure

from qllm_jax.reporting import plotting
from qllm_jax.reporting.style import Look, looks
from qllm_jax.studies.plan import FigureEntry, FigureKind
from qllm_jax.studies.report import pictures_of_all, pictures_of_tasks
from qllm_jax.studies.report.measured import Measured

DRAWINGS: dict[FigureKind, Callable[[Measured, FigureEntry, dict[str, Look]], Figure | str]] = {
    "curves": pictures_of_tasks.draw_curves,
    "bars": pictures_of_tasks.draw_bars,
    "auc_by_agents": pictures_of_tasks.draw_auc_by_agents,
    "profile": pictures_of_all.draw_profile,
    "improvement": pictures_of_all.draw_improvement,
    "critical_difference": pictures_of_all.draw_critical_difference,
}


def draw(data: Measured, entry: FigureEntry) -> Figure | str:
    """Return the picture of a figure, or without enough results why there is none."""
    return DRAWINGS[entry.kind](data, entry, looks(data.study.plan.methods))


def write(drawn: Figure | str, out: Path) -> None:
    """Write a picture. If there is none, remove one of earlier results."""
    if isinstance(drawn, str):
        out.unlink(missing_ok=True)
    else:
        plotting.save_small(drawn, out)
