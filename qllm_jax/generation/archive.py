"""Archive of the functions of all rounds: one that nearly repeats an earlier one is told apart and not trained again.

Each decision is a line of the transcript, so that a resumed or replayed generation decides as before. A function is
compared with all that were archived before it in time.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from qllm_jax import files
from qllm_jax.generation import likeness
from qllm_jax.generation.types import Attempt, Candidate, Likeness
from qllm_jax.generation.work import device_work
from qllm_jax.llm import transcript as transcripts
from qllm_jax.llm.client import Client
from qllm_jax.tfcaf.semantics.task import Task
from qllm_jax.tfcaf.verdict import sha256

NAME = "archive.json"  # in the folder, for people
SAME_TREE = "the same but for names, docstrings, comments and formatting"


class Archive(NamedTuple):
    """The archive of one generation."""

    judge: Callable[[Attempt], Attempt]  # a function that passed, with what it repeats; archives it
    trained_as: Callable[[Candidate], str]  # source whose training is also that of the candidate


def make(client: Client, task_of: Callable[[], Task], tolerance: float) -> Archive:
    """Make the archive. `tolerance` is the largest `likeness.difference` of functions that count as the same."""
    records, outputs = client.transcript.records, {}

    def outputs_of(source: str) -> likeness.Outputs:
        if source not in outputs:
            outputs[source] = likeness.outputs(source, task_of())
        return outputs[source]

    def judge(attempt: Attempt) -> Attempt:
        place, source = str(attempt.id), attempt.source
        assert source is not None
        if not any(record["place"] == place for record in _records(records)):
            found = _repeated(client, _distinct(records), source, outputs_of, tolerance)
            plain = None if found is None else found._asdict()
            transcripts.append(client.transcript, "archive", place=place, source=source, like=plain)
        like = next(record["like"] for record in _records(records) if record["place"] == place)
        return attempt if like is None else attempt._replace(like=Likeness(**like))

    def trained_as(candidate: Candidate) -> str:
        like, distinct = candidate.last.like, _distinct(records)
        if like is not None:
            return distinct[like.of]
        tree = likeness.canonical(candidate.source)
        # The evaluator's decision on the gate may have changed the text since.
        return next((text for text in distinct.values() if likeness.canonical(text) == tree), candidate.source)

    return Archive(judge, trained_as)


def write(folder: Path, records: list[dict[str, Any]]) -> None:
    """Write the archive as JSON: each distinct function with what repeats it, and the result of its training."""
    results = {}
    for record in records:
        if record["kind"] == "trial" and "results" in record:
            results |= dict(zip(record["sources_sha256"], record["results"], strict=True))
    found = [
        {
            "place": place,
            "near_duplicates": [
                {"place": record["place"], "why": record["like"]["why"]}
                for record in _records(records)
                if record["like"] is not None and record["like"]["of"] == place
            ],
            "training": results.get(sha256(source)),
            "source": source,
        }
        for place, source in _distinct(records).items()
    ]
    files.write_atomically(folder / NAME, json.dumps(found, indent=2) + "\n")


def _repeated(
    client: Client,
    distinct: dict[str, str],
    source: str,
    outputs_of: Callable[[str], likeness.Outputs],
    tolerance: float,
) -> Likeness | None:
    """Return the first of the archived functions that a source repeats, by its tree or else by its outputs."""
    tree = likeness.canonical(source)
    for place, earlier in distinct.items():
        if likeness.canonical(earlier) == tree:
            return Likeness(place, SAME_TREE)
    if not distinct:
        return None
    with device_work(client, "probe states"):
        ours = outputs_of(source)
        for place, earlier in distinct.items():
            apart = likeness.difference(ours, outputs_of(earlier))
            if apart <= tolerance:
                why = f"weights and bias differ by {apart:.2%} of the largest weight at most"
                return Likeness(place, f"{why}, on {len(ours)} probe states")
    return None


def _records(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [record for record in records if record["kind"] == "archive"]


def _distinct(records: list[dict[str, Any]]) -> dict[str, str]:
    """Sources of functions that repeat no earlier one, by the request that they answered."""
    return {record["place"]: record["source"] for record in _records(records) if record["like"] is None}
