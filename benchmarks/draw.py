"""Draw stored reports: `python benchmarks/draw.py throughput.json --out throughput.png`.

All files are of one benchmark; their rows are drawn together. Bars and dots are medians, thin lines run from the lowest
to the highest round, and a black tick is the floor: the same work at the speed of one large matrix multiplication.
"""

import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import common
import env_peers

from qllm_jax.reporting.style import CURVE_COLORS

Row = dict[str, Any]
OURS, PEER, INK = CURVE_COLORS[0], CURVE_COLORS[1], "#20242a"
PEERS = ("jaxmarl_qmix", "epymarl_qmix", *env_peers.NAMES)
AXES = {"agents": "agents N", "envs": "environments E", "batch": "episodes of a batch B", "seeds": "runs R"}


class Look(NamedTuple):
    """Layout of the rows of a benchmark: panels, and in a panel a label and a bar or dot for each row."""

    panel: Callable[[Row], str]
    label: Callable[[Row], str]
    value: str  # key of a row: a number, or one per round
    axis: str
    log: bool = False  # dots instead of bars, which need a zero
    note: Callable[[Row], str] = lambda row: ""  # after the value
    scale: float = 1.0


def seeds(row: Row) -> str:
    """Title of the panel of a row: agents and seeds."""
    return f"{row['agents']} agents, {row['seeds']} seed" + ("s" if row["seeds"] > 1 else "")


def form(row: Row) -> str:
    """System and form of a program of gpu.py."""
    return f"{row['system']}, {row['form']}" + (", graphs" if row["graphs"] else "")


def speed(row: Row) -> str:
    """Speed relative to each peer, as a note."""
    found = {key.removeprefix("speed_to_"): row[key] for key in row if key.startswith("speed_to_")}
    if row["system"] in PEERS:
        return ""
    return "".join(f", {statistics.median(ratios):,.2f} x {peer}" for peer, ratios in found.items())


def peak(row: Row) -> Row:
    """Row of memory.py whose figure has one name for stages and items."""
    figure = {"label": f"peak: {row['stage']}", "size": row["peak_bytes"]} if "stage" in row else {}
    return row | (figure or {"label": row["item"], "size": row["bytes"]})


LOOKS = {
    "throughput": Look(seeds, lambda row: row["system"], "whole_ms", "ms per update and seed", True, speed),
    "algorithms": Look(seeds, lambda row: row["system"], "update_ms", "ms per update and seed"),
    "sweep": Look(
        lambda row: f"{row['agents']} agents", lambda row: f"{row['runs']} runs", "update_ms", "ms per update and run"
    ),
    "env_step": Look(
        lambda row: f"{row['envs']:,} environments",
        lambda row: row["system"],
        "env_steps_per_s",
        "environment steps per second",
        True,
        speed,
    ),
    "recurrent_core": Look(lambda row: "", lambda row: row["form"], "iteration_ms", "ms, forward and gradient"),
    "profile_update": Look(lambda row: "", lambda row: row["part"], "iteration_ms", "ms per iteration, all seeds"),
    "early_termination": Look(
        lambda row: "",
        lambda row: f"{row['task']}, {row['policy']}",
        "speed_to_full",
        "an iteration, times as fast as with all steps after the ends",
        note=lambda row: f", {row['masked_share']:.0%} of slots after the end",
    ),
    "memory": Look(seeds, lambda row: row["label"], "size", "MiB", scale=1 / 2**20),
    "gpu": Look(
        lambda row: f"{row['system']}: kernels" if "kernel" in row else f"{seeds(row)}, {row['hidden']} hidden units",
        lambda row: row["kernel"][:48] if "kernel" in row else form(row),
        "iteration_ms",
        "ms per iteration of all seeds",
    ),
    "gpu_program": Look(seeds, lambda row: row["system"], "kernels", "kernels of an iteration"),
}


def figure_rows(benchmark: str, rows: list[Row]) -> list[Row]:
    """Add the figure that the look of a benchmark names to its rows."""
    if benchmark == "memory":
        return [peak(row) for row in rows]
    if benchmark == "gpu":  # rows of trainings and of programs that failed have no figure
        timed = [row | {"iteration_ms": row["kernel_ms"]} if "kernel" in row else row for row in rows]
        return [row for row in timed if "iteration_ms" in row]
    return rows


def values(row: Row, key: str, scale: float = 1.0) -> list[float]:
    """Return a figure of all rounds."""
    found = row[key] if isinstance(row[key], list) else [row[key]]
    return [scale * each for each in found]


def draw_panels(figure: Any, look: Look, rows: list[Row]) -> None:
    """Draw panels one below the other, of heights in proportion to their rows."""
    panels = {name: [row for row in rows if look.panel(row) == name] for name in dict.fromkeys(map(look.panel, rows))}
    heights = [len(each) + 1.5 for each in panels.values()]
    figure.set_size_inches(10, 1.0 + 0.3 * sum(heights))
    all_axes = figure.subplots(len(panels), squeeze=False, height_ratios=heights)[:, 0]
    for axes, (name, each) in zip(all_axes, panels.items(), strict=True):
        for y, row in enumerate(each):
            draw_row(axes, look, row, y)
        axes.set_yticks(range(len(each)), [look.label(row) for row in each], fontsize=9)
        axes.set_ylim(len(each) - 0.4, -0.6)
        axes.set_title(name, fontsize=10, loc="left")
        axes.set_xscale("log" if look.log else "linear")
        axes.margins(x=0.35)
        axes.set_xlim(left=None if look.log else 0)
        frame(axes)
    all_axes[-1].set_xlabel(look.axis)


def draw_row(axes: Any, look: Look, row: Row, y: int) -> None:
    """Draw the median, range and floor of a row, and its figure as text."""
    found, color = values(row, look.value, look.scale), PEER if row.get("system") in PEERS else OURS
    middle = statistics.median(found)
    if look.log:
        axes.plot([middle], [y], "o", color=color, markersize=7)
    else:
        axes.barh(y, middle, height=0.62, color=color, alpha=0.85)
    axes.plot([min(found), max(found)], [y, y], color=INK, linewidth=1.4)
    if "floor_ms" in row and look.value in ("update_ms", "whole_ms", "iteration_ms"):
        runs = row["seeds"] if look.value == "iteration_ms" and "seeds" in row else 1
        axes.plot([runs * statistics.median(values(row, "floor_ms"))], [y], "|", color=INK, markersize=13, mew=2.2)
    text = f"{middle:,.0f}" if middle >= 100 else f"{middle:.3g}" if middle >= 0.01 else "< 0.01"
    axes.annotate(text + look.note(row), (max(found), y), (8, 0), textcoords="offset points", va="center", fontsize=8)


def draw_scaling(figure: Any, rows: list[Row]) -> None:
    """Draw a panel for each axis: time per update and run, and its floor."""
    names = list(dict.fromkeys(row["axis"] for row in rows))
    figure.set_size_inches(3.4 * len(names) + 1, 4.0)
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False, sharey=True)[0], names, strict=True):
        points = sorted((row for row in rows if row["axis"] == name), key=lambda row: row["value"])
        x, times = [row["value"] for row in points], [row["update_ms"] for row in points]
        middle = [statistics.median(each) for each in times]
        axes.fill_between(x, [min(each) for each in times], [max(each) for each in times], color=OURS, alpha=0.2)
        axes.plot(x, middle, "o-", color=OURS, label="ours")
        axes.plot(x, [row["floor_ms"] for row in points], "--", color=INK, label="floor")
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xticks(x, [str(each) for each in x])
        axes.set_xlabel(AXES[name])
        frame(axes)
        if name == names[0]:
            axes.set_ylabel("ms per update and run")
            axes.legend(frameon=False, fontsize=9)


def frame(axes: Any) -> None:
    """Draw the grid and the borders."""
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def draw(reports: list[dict[str, Any]], out: Path) -> None:
    """Write the picture, with the task above and the machine and commit below."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    benchmark, rows = reports[0]["benchmark"], [row for report in reports for row in report["rows"]]
    figure = Figure(layout="constrained")
    FigureCanvasAgg(figure)
    if benchmark == "scaling":
        draw_scaling(figure, rows)
    else:
        draw_panels(figure, LOOKS[benchmark], figure_rows(benchmark, rows))
    figure.suptitle("\n".join(dict.fromkeys(report["task"] for report in reports)), fontsize=9, wrap=True)
    origins = dict.fromkeys(f"{each['head']['hardware']}; commit {each['head']['commit'][:9]}" for each in reports)
    figure.supxlabel("\n".join(origins), fontsize=7, color="#747a82")
    figure.savefig(out, dpi=160)


def main() -> None:
    parser = common.parser(__doc__, out=".png")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE.json", help="stored by --out of one benchmark")
    args = parser.parse_args()
    try:
        reports = [json.loads(path.read_text()) for path in args.files]
        kinds = {report["benchmark"] for report in reports}
        empty = [
            str(path)
            for path, report in zip(args.files, reports, strict=True)
            if not figure_rows(report["benchmark"], report["rows"])
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        parser.error(f"not a stored report: {error!r}")
    if args.out is None:
        parser.error("--out FILE.png is needed")
    if len(kinds) > 1 or not kinds <= {*LOOKS, "scaling"}:
        parser.error(
            f"files must be of one of {', '.join([*LOOKS, 'scaling'])}; these are of {', '.join(sorted(kinds))}"
        )
    if empty:
        parser.error(f"{', '.join(empty)} has no rows to draw")
    draw(reports, args.out)


if __name__ == "__main__":
    main()
