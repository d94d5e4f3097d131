"""The transcript of a generation: an append-only file of JSON lines, from which everything else can be rebuilt.

A line is on the disk before its content is used, so that `kill -9` loses at most a request without a reply yet.
Kinds of lines: `start` (configuration and prompts), `reply`, `failure` (a request without a usable reply), `verdict`,
`trial` (results of short trainings), `archive` (a function that passed, and what it repeats), `device` (seconds that
this machine worked), `resume` (limits and settings of the server that changed), and in the transcript of a critic
`credit` (the outcome of a question).
"""

import json
import math
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ConfigDict, TypeAdapter

from qllm_jax import files
from qllm_jax.errors import UserError
from qllm_jax.files import JsonLines
from qllm_jax.llm import replies
from qllm_jax.llm.types import Reply, Request, Usage
from qllm_jax.tfcaf.verdict import sha256

NAME = "transcript.jsonl"
_REPLY = TypeAdapter(Reply, config=ConfigDict(strict=True))


class Transcript(NamedTuple):
    """An open transcript. `records` grows with the file."""

    lines: JsonLines
    records: list[dict[str, Any]]
    earlier_s: float  # wall time of the processes before this one
    opened: float  # of the monotonic clock


@contextmanager
def opened(path: Path) -> Iterator[Transcript]:
    """Open the transcript at `path`, created if it is missing. A last line that a kill cut short is removed."""
    records, size = read(path) if path.exists() else ([], 0)
    lines = JsonLines(path, size)
    try:
        yield Transcript(lines, records, records[-1]["elapsed_s"] if records else 0.0, time.monotonic())
    finally:
        lines.close()


def read(path: Path) -> tuple[list[dict[str, Any]], int]:
    """Read the whole records of a file, and their size in bytes. Raise `UserError` if it is no transcript."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"transcript {str(path)!r} cannot be read: {error.strerror}") from error
    size = data.rfind(b"\n") + 1
    records = []
    for number, line in enumerate(data[:size].splitlines(), start=1):
        try:
            record = json.loads(line, parse_int=replies.bounded_int)
            if not record["kind"] or not 0 <= record["elapsed_s"] < math.inf:
                raise ValueError(record)
            if records:
                _check(record)
            records.append(record)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise UserError(f"{path}:{number} is no line of a transcript of qllm_jax.generate") from error
    if records and records[0]["kind"] != "start":
        raise UserError(f"{path}:1 is not the start of a transcript of qllm_jax.generate")
    return records, size


def create(path: Path, records: Iterable[dict[str, Any]]) -> None:
    """Write a new transcript whose records are known, all of them or nothing."""
    files.write_atomically(path, "".join(json.dumps({**record, "elapsed_s": 0.0}) + "\n" for record in records))


def _check(record: dict[str, Any]) -> None:
    """Raise an error unless a record has what is read of its kind."""
    if record["kind"] == "reply":
        _REPLY.validate_python(record["reply"])
        if not isinstance(record["place"], list):
            raise ValueError(record["place"])
    if record["kind"] == "device" and not (isinstance(record["work"], str) and 0 <= record["device_s"] < math.inf):
        raise ValueError(record)


def elapsed_s(transcript: Transcript) -> float:
    """Wall time of all processes that wrote this transcript, without the time between them."""
    return transcript.earlier_s + time.monotonic() - transcript.opened


def restarted(transcript: Transcript, earlier_s: float) -> Transcript:
    """Return the transcript with a clock that goes on now from `earlier_s`: time between two uses does not count."""
    return transcript._replace(earlier_s=earlier_s, opened=time.monotonic())


def append(transcript: Transcript, kind: str, **fields: Any) -> None:
    """Write one record and wait until the disk has it."""
    record = {"kind": kind, **fields, "elapsed_s": round(elapsed_s(transcript), 3)}
    transcript.lines.write([record])
    transcript.lines.size()  # which calls fsync
    # As it will be read back: a generation that is resumed must not see lists where this one sees tuples.
    transcript.records.append(json.loads(json.dumps(record)))


def add_failure(transcript: Transcript, request: Request, problem: str, usage: Usage | None = None) -> None:
    """Store a request that got no usable reply, with its tokens if the server reports them."""
    counted = {} if usage is None or usage.total is None else {"usage": usage._asdict()}
    append(transcript, "failure", place=list(request.id), problem=problem, **counted)


def add_reply(transcript: Transcript, request: Request, digest: str, reply: Reply) -> None:
    """Store a reply. The system text is not repeated: it is in the start record."""
    plain = reply._asdict() | {"usage": reply.usage._asdict()}
    append(transcript, "reply", place=list(request.id), digest=digest, user=request.user, reply=plain)


def find_reply(transcript: Transcript, request_id: tuple[int | str, ...]) -> Reply | None:
    """Return the stored reply to a request, None if there is none.

    It is found by the request's ID and not by its text: a reply that was paid for stays valid when a later version of
    this package words the question differently. `digest` tells whether it did.
    """
    for record in transcript.records:
        if record["kind"] == "reply" and tuple(record["place"]) == request_id:
            return _reply(record)
    return None


def _reply(record: dict[str, Any]) -> Reply:
    return Reply(**(record["reply"] | {"usage": Usage(**record["reply"]["usage"])}))


def digest(request: Request, model: str, parameters: dict[str, Any]) -> str:
    """SHA-256 of a request, its model and its parameters. Two samples of one prompt differ by the request's ID."""
    asked = [model, parameters, list(request.id), request.system, request.user]
    return sha256(json.dumps(asked, sort_keys=True, ensure_ascii=False))
