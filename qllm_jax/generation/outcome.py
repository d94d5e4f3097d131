"""What a generation leaves for people: every function that was tried, a table, a summary, and the chosen file."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from qllm_jax import files
from qllm_jax.generation import source as sources
from qllm_jax.generation.measurements import in_short
from qllm_jax.llm import budget as budgets
from qllm_jax.llm.records import Choice, Price, Try
from qllm_jax.llm.replies import brief
from qllm_jax.tfcaf.static import igm as gate
from qllm_jax.tfcaf.verdict import Verdict

TFCAF, TABLE, SUMMARY, CANDIDATES = "tfcaf.py", "table.txt", "summary.json", "candidates"


class Progress(NamedTuple):
    """What has happened so far, in order."""

    tries: list[Try]
    choices: list[tuple[int, Choice]]  # round, choice


class Outcome(NamedTuple):
    """How a generation ended, for now."""

    progress: Progress
    chosen: Choice | None
    stopped: str | None  # why it is not finished
    records: list[dict[str, Any]]  # of the transcript
    price: Price | None


def write_try(folder: Path, tried: Try) -> None:
    """The function of a try, or the reply where no function was found in it, and the verdict beside it."""
    place = folder / CANDIDATES
    place.mkdir(exist_ok=True)
    text = tried.reply.text if tried.source is None else tried.source
    files.write_atomically(place / sources.name_of(tried), text.rstrip("\n") + "\n")
    files.write_atomically(place / f"{tried.place}.json", json.dumps(_verdict(tried.verdict), indent=2) + "\n")


def tried_line(tried: Try, price: Price | None) -> str:
    """One line for the terminal."""
    usage = tried.reply.usage
    tokens = "tokens not reported" if usage.total is None else f"{usage.total:,} tokens"
    usd = budgets.cost(usage, price)
    cost = "" if usd is None else f", {usd:.4f} USD"
    problem = "" if tried.verdict.ok else f" ({brief(tried.verdict.problem)})"
    said = f"{tried.verdict.code}{problem}"
    return f"{str(tried.place).replace('_', ' ')}: {said}; {tokens}{cost}, {tried.reply.seconds:.0f} s"


def write(folder: Path, outcome: Outcome, text: str | None, verdict: Verdict | None) -> str:
    """Write table, summary and the chosen file; gives the table."""
    table = render(outcome)
    files.write_atomically(folder / TABLE, table + "\n")
    files.write_atomically(folder / SUMMARY, json.dumps(_summary(outcome, verdict), indent=2) + "\n")
    if text is not None:
        files.write_atomically(folder / TFCAF, text)
    return table


def render(outcome: Outcome) -> str:
    """All tries, the choices with their reasons, and what it took."""
    head = ["round", "candidate", "try", "verdict", "weights", "even", "varies", "tokens in", "out", "USD", "s", ""]
    rows = [head, *(_row(tried, outcome) for tried in outcome.progress.tries)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    reasons = [_reason(round_, choice) for round_, choice in outcome.progress.choices]
    if outcome.chosen is not None and not reasons:
        reasons = [_reason(outcome.chosen.candidate.round, outcome.chosen)]
    return "\n".join([*lines, "", *reasons, "", _totals(outcome)])


def _row(tried: Try, outcome: Outcome) -> list[str]:
    place, verdict, usage = tried.place, tried.verdict, tried.reply.usage
    usd = budgets.cost(usage, outcome.price)
    line = "" if verdict.line is None else f" line {verdict.line}"
    is_chosen = outcome.chosen is not None and outcome.chosen.candidate.last.place == place
    best_of = [round_ for round_, choice in outcome.progress.choices if choice.candidate.last.place == place]
    known = lambda value: "?" if value is None else f"{value:,}"
    return [
        str(place.round),
        str(place.number),
        str(place.attempt),
        verdict.code + line,
        *in_short(verdict),
        known(usage.prompt),
        known(usage.completion),
        "?" if usd is None else f"{usd:.4f}",
        f"{tried.reply.seconds:.0f}",
        "chosen" if is_chosen else ", ".join(f"best of round {round_}" for round_ in best_of),
    ]


def _reason(round_: int, choice: Choice) -> str:
    igm = "on" if gate.read(choice.candidate.source) else "off"
    why_igm = choice.note or choice.igm_reason
    lines = [
        f"Round {round_}: {str(choice.candidate.last.place).replace('_', ' ')}, chosen by {choice.by}",
        f"  why: {choice.reason or 'not said'}",
        f"  IGM {igm}" + (f": {why_igm}" if why_igm else ""),
    ]
    return "\n".join(lines + ([f"  advice: {choice.advice}"] if choice.advice else []))


def _totals(outcome: Outcome) -> str:
    used = budgets.spent(outcome.records, outcome.price)
    failures = sum(record["kind"] == "failure" for record in outcome.records)
    usd = "cost unknown" if used.usd is None else f"{used.usd:.4f} USD at list prices"
    silent = f" ({used.unreported} replies report none)" if used.unreported else ""
    seconds = outcome.records[-1]["elapsed_s"] if outcome.records else 0.0
    return f"{used.calls} calls ({failures} failed), {used.tokens:,} tokens{silent}, {usd}, {seconds:,.0f} s"


def _summary(outcome: Outcome, verdict: Verdict | None) -> dict[str, Any]:
    used = budgets.spent(outcome.records, outcome.price)
    return {
        "stopped": outcome.stopped,
        "chosen": None if outcome.chosen is None else _choice(outcome.chosen),
        "verdict": None if verdict is None else _verdict(verdict),  # of the chosen file
        "choices": [{"round": round_, **_choice(choice)} for round_, choice in outcome.progress.choices],
        "tries": [_tried(tried, outcome.price) for tried in outcome.progress.tries],
        "calls": used.calls,
        "tokens": None if used.unreported else used.tokens,
        "usd": used.usd,
    }


def _tried(tried: Try, price: Price | None) -> dict[str, Any]:
    return {
        "place": str(tried.place),
        "verdict": _verdict(tried.verdict),
        "model": tried.reply.model,
        "usage": tried.reply.usage._asdict(),
        "usd": budgets.cost(tried.reply.usage, price),
        "seconds": tried.reply.seconds,
    }


def _choice(choice: Choice) -> dict[str, Any]:
    rest = {key: getattr(choice, key) for key in ("by", "reason", "advice", "igm_reason", "note")}
    return {"place": str(choice.candidate.last.place), "igm": gate.read(choice.candidate.source), **rest}


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return verdict._asdict() | {"feedback": verdict.feedback()}
