"""The transcript of a generation: an append-only file of JSON lines, from which everything else can be rebuilt.

A line is on the disk before what it says is used, so that `kill -9` loses at most a question that was not answered yet.
Kinds of lines: `start` (configuration and prompts), `reply`, `failure` (a request without a usable answer), `verdict`,
`trial` (returns of short trainings), and `resume` (limits that changed).
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from qllm_jax.errors import UserError
from qllm_jax.files import JsonLines
from qllm_jax.llm.records import Place, Reply, Request, Usage
from qllm_jax.tfcaf.verdict import Verdict, sha256

NAME = "transcript.jsonl"


class Transcript(NamedTuple):
    """An open transcript. `records` grows with the file."""

    lines: JsonLines
    records: list[dict[str, Any]]
    earlier_s: float  # wall time of the processes before this one
    opened: float  # of the monotonic clock


@contextmanager
def opened(path: Path) -> Iterator[Transcript]:
    """The transcript at `path`, made if it is not there. A last line that a kill cut short is taken off the file."""
    records, size = read(path) if path.exists() else ([], 0)
    lines = JsonLines(path, size)
    try:
        yield Transcript(lines, records, records[-1]["elapsed_s"] if records else 0.0, time.monotonic())
    finally:
        lines.close()


def read(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The records of a file and the bytes that they take. `UserError` when it is no transcript."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"transcript {str(path)!r} cannot be read: {error.strerror}") from error
    size = data.rfind(b"\n") + 1
    records = []
    for number, line in enumerate(data[:size].splitlines(), start=1):
        try:
            record = json.loads(line)
            records.append(record if record["kind"] and record["elapsed_s"] >= 0 else None)
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}:{number} is no line of a transcript of qllm_jax.generate") from error
    if records and records[0]["kind"] != "start":
        raise UserError(f"{path}:1 is not the start of a transcript of qllm_jax.generate")
    return records, size


def elapsed_s(transcript: Transcript) -> float:
    """Wall time of all processes of this generation so far; the time between them does not count."""
    return transcript.earlier_s + time.monotonic() - transcript.opened


def append(transcript: Transcript, kind: str, **fields: Any) -> None:
    """Write one record and wait until the disk has it."""
    record = {"kind": kind, **fields, "elapsed_s": round(elapsed_s(transcript), 3)}
    transcript.lines.write([record])
    transcript.lines.size()  # which calls fsync
    # As it will be read back: a generation that is resumed must not see lists where this one sees tuples.
    transcript.records.append(json.loads(json.dumps(record)))


def add_reply(transcript: Transcript, request: Request, digest: str, reply: Reply) -> None:
    """Store an answer. The system text is not repeated: it is in the start record."""
    plain = reply._asdict() | {"usage": reply.usage._asdict()}
    append(transcript, "reply", place=list(request.place), digest=digest, user=request.user, reply=plain)


def find_reply(transcript: Transcript, place: Place) -> Reply | None:
    """The answer to the question at `place`.

    By place and not by the text of the question: a generation has one question at each place, and an answer that was
    paid for stays good when a later version of this package words the question otherwise. `digest` tells of that.
    """
    for record in transcript.records:
        if record["kind"] == "reply" and Place(*record["place"]) == place:
            return Reply(**(record["reply"] | {"usage": Usage(**record["reply"]["usage"])}))
    return None


def digest(request: Request, model: str, parameters: dict[str, Any]) -> str:
    """What a question was, as one number: of two samples of one prompt the places differ."""
    asked = [model, parameters, list(request.place), request.system, request.user]
    return sha256(json.dumps(asked, sort_keys=True, ensure_ascii=False))


def add_verdict(transcript: Transcript, source: str, verdict: Verdict) -> None:
    """Store what the gates said about `source`."""
    append(transcript, "verdict", source_sha256=sha256(source), verdict=verdict._asdict())


def add_trial(transcript: Transcript, sources: list[str], curves: dict[str, Any]) -> None:
    """Store what short trainings with `sources` gave."""
    append(transcript, "trial", sources_sha256=[sha256(source) for source in sources], curves=curves)


def find_trial(transcript: Transcript, sources: list[str]) -> dict[str, Any] | None:
    """What short trainings with the same `sources` gave before."""
    digests = [sha256(source) for source in sources]
    found = (r["curves"] for r in transcript.records if r["kind"] == "trial" and r["sources_sha256"] == digests)
    return next(found, None)


def find_verdict(transcript: Transcript, source: str) -> Verdict | None:
    """What the gates said about `source` before: a text is verified once, and a replay needs no gates to decide."""
    digest = sha256(source)
    for record in transcript.records:
        if record["kind"] == "verdict" and record["source_sha256"] == digest:
            return Verdict(**record["verdict"])
    return None
