"""Files of a generation for people: every function that was tried, a table, a summary, and the chosen file."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from qllm_jax import files
from qllm_jax.generation.measurements import table_cells
from qllm_jax.generation.source import signature
from qllm_jax.generation.types import Attempt, Choice
from qllm_jax.llm.client import cost, spent
from qllm_jax.llm.replies import brief
from qllm_jax.llm.types import Price
from qllm_jax.tfcaf.static import igm as gate
from qllm_jax.tfcaf.static.vocabulary import KINDS
from qllm_jax.tfcaf.verdict import Verdict, printable

TFCAF, TABLE, SUMMARY, CANDIDATES = "tfcaf.py", "table.txt", "summary.json", "candidates"


class Progress(NamedTuple):
    """Attempts and choices so far, in order."""

    attempts: list[Attempt]
    choices: list[tuple[int, Choice]]  # round, choice


class Outcome(NamedTuple):
    """State of a generation when its process ends."""

    progress: Progress
    chosen: Choice | None
    stopped: str | None  # the reason why it is not finished
    records: list[dict[str, Any]]  # of the transcript
    price: Price | None


def write_attempt(folder: Path, attempt: Attempt) -> None:
    """Write the function of an attempt, or the reply if it has no function, and the verdict in a file beside it."""
    candidates = folder / CANDIDATES
    files.make_folder(candidates, exist_ok=True)
    text, suffix = (printable(attempt.reply.text, "\n\t"), "txt") if attempt.source is None else (attempt.source, "py")
    files.write_atomically(candidates / f"{attempt.id}.{suffix}", text.rstrip("\n") + "\n")
    files.write_atomically(candidates / f"{attempt.id}.json", json.dumps(_verdict(attempt.verdict), indent=2) + "\n")


def attempt_line(attempt: Attempt, price: Price | None) -> str:
    """One line for the terminal."""
    usage = attempt.reply.usage
    tokens = "tokens not reported" if usage.total is None else f"{usage.total:,} tokens"
    usd = cost(usage, price)
    paid = "" if usd is None else f", {usd:.4f} USD"
    problem = "" if attempt.verdict.ok else f" ({brief(attempt.verdict.problem)})"
    like = "" if attempt.like is None else f", a near-duplicate of {attempt.like.of}: {attempt.like.why}"
    result = f"{attempt.verdict.code}{problem}{like}"
    return f"{_words(attempt)}: {result}; {tokens}{paid}, {attempt.reply.seconds:.0f} s"


def write(folder: Path, outcome: Outcome, text: str | None, verdict: Verdict | None) -> str:
    """Write the table, the summary and, unless `text` is None, the chosen file. Return the table."""
    table = render(outcome)
    files.write_atomically(folder / TABLE, table + "\n")
    files.write_atomically(folder / SUMMARY, json.dumps(_summary(outcome, verdict), indent=2) + "\n")
    if text is not None:
        files.write_atomically(folder / TFCAF, text)
    return table


def render(outcome: Outcome) -> str:
    """Table of all attempts, the choices with their reasons, and the sums of calls, tokens, USD and time."""
    head = ["round", "candidate", "try", "verdict", "weights", "even", "varies", "tokens in", "out", "USD", "s", ""]
    rows = [head, *(_row(attempt, outcome) for attempt in outcome.progress.attempts)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    reasons = [_reason(round_, choice) for round_, choice in outcome.progress.choices]
    if outcome.chosen is not None and not reasons:
        reasons = [_reason(outcome.chosen.candidate.round, outcome.chosen)]
    return "\n".join([*lines, "", *reasons, "", _totals(outcome)])


def _row(attempt: Attempt, outcome: Outcome) -> list[str]:
    id_, verdict, usage = attempt.id, attempt.verdict, attempt.reply.usage
    usd = cost(usage, outcome.price)
    line = "" if verdict.line is None else f" line {verdict.line}"
    is_chosen = outcome.chosen is not None and outcome.chosen.candidate.last.id == id_
    best_of = [round_ for round_, choice in outcome.progress.choices if choice.candidate.last.id == id_]
    notes = ["chosen"] if is_chosen else [f"best of round {round_}" for round_ in best_of]
    notes += [f"near-duplicate of {attempt.like.of}"] if attempt.like is not None else []
    known = lambda value: "?" if value is None else f"{value:,}"
    return [
        str(id_.round),
        str(id_.candidate),
        str(id_.attempt),
        verdict.code + line,
        *table_cells(verdict),
        known(usage.prompt),
        known(usage.completion),
        "?" if usd is None else f"{usd:.4f}",
        f"{attempt.reply.seconds:.0f}",
        ", ".join(notes),
    ]


def _reason(round_: int, choice: Choice) -> str:
    lines = [
        f"Round {round_}: {_words(choice.candidate.last)}, chosen by {choice.by}",
        f"  why: {choice.reason or 'not said'}",
    ]
    if KINDS[signature(choice.candidate.source)] == "value":
        why_igm = choice.note or choice.igm_reason
        igm = "on" if gate.read(choice.candidate.source) else "off"
        lines.append(f"  IGM {igm}" + (f": {why_igm}" if why_igm else ""))
    return "\n".join(lines + ([f"  advice: {choice.advice}"] if choice.advice else []))


def _words(attempt: Attempt) -> str:
    return str(attempt.id).replace("_", " ")


def _totals(outcome: Outcome) -> str:
    used = spent(outcome.records, outcome.price)
    failures = sum(record["kind"] == "failure" for record in outcome.records)
    usd = "cost unknown" if used.usd is None else f"{used.usd:.4f} USD at list prices"
    silent = f" ({used.unreported} replies report none)" if used.unreported else ""
    seconds = outcome.records[-1]["elapsed_s"] if outcome.records else 0.0
    device = f"{seconds:,.0f} s, of which gates and short trainings {used.device_s:,.0f} s"
    return f"{used.calls} calls ({failures} failed), {used.tokens:,} tokens{silent}, {usd}, {device}"


def _summary(outcome: Outcome, verdict: Verdict | None) -> dict[str, Any]:
    used = spent(outcome.records, outcome.price)
    return {
        "stopped": outcome.stopped,
        "chosen": None if outcome.chosen is None else _choice(outcome.chosen),
        "verdict": None if verdict is None else _verdict(verdict),  # of the chosen file
        "choices": [{"round": round_, **_choice(choice)} for round_, choice in outcome.progress.choices],
        "tries": [_attempt(attempt, outcome.price) for attempt in outcome.progress.attempts],
        "calls": used.calls,
        "tokens": None if used.unreported else used.tokens,
        "usd": used.usd,
        "device_seconds": round(used.device_s, 3),
    }


def _attempt(attempt: Attempt, price: Price | None) -> dict[str, Any]:
    return {
        "place": str(attempt.id),
        "verdict": _verdict(attempt.verdict),
        "model": attempt.reply.model,
        "usage": attempt.reply.usage._asdict(),
        "usd": cost(attempt.reply.usage, price),
        "seconds": attempt.reply.seconds,
        "near_duplicate_of": attempt.like and attempt.like.of,
    }


def _choice(choice: Choice) -> dict[str, Any]:
    rest = {key: getattr(choice, key) for key in ("by", "reason", "advice", "igm_reason", "note")}
    return {"place": str(choice.candidate.last.id), "igm": gate.read(choice.candidate.source), **rest}


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return verdict._asdict() | {"feedback": verdict.feedback()}
