"""The picture of critical differences (Demsar 2006, figure 1): methods on an axis of average ranks, the best first.

Bars join methods that the test does not part.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from qllm_jax.reporting import plotting
from qllm_jax.reporting.style import Look
from qllm_jax.stats.ranks import Ranking

WIDTH = 7.4  # inches
ROW, BAR = 0.27, 0.13  # heights of a label's row and of a bar, in inches
INK = "#20242a"


def draw(found: Ranking, labels: Sequence[str], looks: Sequence[Look]) -> Figure:
    """Draw the ranks of methods, whose labels and looks are in the order of `found.ranks`."""
    n_methods, cliques = len(labels), found.cliques
    order = [int(method) for method in np.argsort(found.ranks, kind="stable")]
    n_rows, head = -(-n_methods // 2), 0.8  # of labels at the left; inches above the axis
    bars = 0.22 + BAR * len(cliques)  # from the axis to the first label
    height = head + bars + ROW * n_rows
    figure, (axes,) = plotting.panels(1, 1, (WIDTH, height))
    margin = 0.42 * (n_methods - 1)
    axes.set_xlim(1 - margin, n_methods + margin)
    axes.set_ylim(head - height, head)  # in inches, the axis of ranks at 0
    axes.axis("off")
    _draw_axis(axes, n_methods)
    _draw_difference(axes, found)
    for i, method in enumerate(order):
        left = i < n_rows
        y = -bars - ROW * (i if left else n_methods - 1 - i)
        _draw_label(axes, float(found.ranks[method]), y, left, n_methods, labels[method], looks[method])
    for i, clique in enumerate(cliques):
        ranks = found.ranks[np.asarray(clique)]
        axes.plot([ranks.min() - 0.04, ranks.max() + 0.04], [-0.15 - BAR * i] * 2, color=INK, linewidth=4)
    return figure


def _draw_axis(axes: Axes, n_methods: int) -> None:
    axes.plot([1, n_methods], [0, 0], color=INK, linewidth=1.2)
    for rank in np.arange(1, n_methods + 0.5, 0.5):
        whole = rank == int(rank)
        axes.plot([rank, rank], [0, 0.09 if whole else 0.05], color=INK, linewidth=1.2)
        if whole:
            axes.text(rank, 0.13, f"{rank:g}", ha="center", va="bottom", fontsize=9)


def _draw_difference(axes: Axes, found: Ranking) -> None:
    """Draw the length of the critical difference above the axis, or write that the test does not reject."""
    start, stop, text = 1.0, 1 + found.critical_difference, {"ha": "center", "va": "bottom", "fontsize": 9}
    if not found.rejects:
        sentence = f"Friedman's test does not reject that all are alike (p = {found.p:.2f})"
        axes.text((1 + len(found.ranks)) / 2, 0.45, sentence, **text)
        return
    axes.plot([start, stop], [0.45, 0.45], color=INK, linewidth=1.4)
    for end in (start, stop):
        axes.plot([end, end], [0.40, 0.50], color=INK, linewidth=1.4)
    axes.text((start + stop) / 2, 0.52, f"critical difference {found.critical_difference:.2f}", **text)


def _draw_label(axes: Axes, rank: float, y: float, left: bool, n_methods: int, label: str, look: Look) -> None:
    """Draw the line from a rank on the axis to the name of the method at one side."""
    end = 1 - 0.06 * (n_methods - 1) if left else n_methods + 0.06 * (n_methods - 1)
    axes.plot([rank, rank, end], [0, y, y], color=look.color, linewidth=1.2)
    axes.plot(rank, 0, look.marker, color=look.color, markersize=6, clip_on=False)
    side = -0.02 if left else 0.02
    text = f"{label}  {rank:.2f}" if left else f"{rank:.2f}  {label}"
    axes.text(end + side * (n_methods - 1), y, text, ha="right" if left else "left", va="center", fontsize=9.5)
