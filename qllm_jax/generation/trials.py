"""Short trainings of a round's candidates, whose results the evaluator gets to see (`select=train`).

The paper's evaluator only reads the functions. Results are stored in the transcript, each when its function has trained
to its end: one that was trained in an earlier round, or in a process that was stopped since, is not trained again.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

from qllm_jax.errors import UserError
from qllm_jax.generation.standing import describe, standings
from qllm_jax.generation.trial_training import Plan, Result, train
from qllm_jax.generation.types import Candidate, Choice, Pool, Trials
from qllm_jax.generation.work import device_work
from qllm_jax.llm import transcript as transcripts
from qllm_jax.llm.client import Client
from qllm_jax.llm.replies import brief
from qllm_jax.llm.transcript import Transcript
from qllm_jax.stats import format_number
from qllm_jax.tfcaf.verdict import sha256


class Found(NamedTuple):
    """Results of a pool by the numbers of its candidates."""

    results: dict[int, Result]
    random: float  # return of the uniformly random policy


def make(client: Client, plan: Plan, trained_as: Callable[[Candidate], str] | None = None) -> Trials:
    """Make the trainings of a generation.

    `trained_as` gives the source with which a candidate is trained, None: its own. It differs for one that repeats
    an earlier one.
    """
    source_of = trained_as or (lambda candidate: candidate.source)

    def find(pool: Pool) -> Found:
        sources = {number: source_of(candidate) for number, candidate in pool.by_number().items()}
        found = find_pool(client.transcript, sources)
        if found is None:
            _train_missing(client, plan, pool.round, sources)
            found = find_pool(client.transcript, sources)
        assert found is not None
        return found

    def lines(pool: Pool) -> dict[int, list[str]]:
        results, random = find(pool)
        first_of_each = {}
        for number, candidate in sorted(pool.by_number().items(), key=lambda item: item[1].last.like is not None):
            first_of_each.setdefault(source_of(candidate), number)
        texts = describe({number: results[number] for number in sorted(first_of_each.values())}, random)
        for number, sentences in texts.items():
            client.log(f"round {pool.round}, function {number}: {'; '.join(sentences)}")
        return texts

    return Trials(lines, lambda pool: _first(pool, find(pool).results))


def best_stored(transcript: Transcript, pool: Pool) -> Choice | None:
    """Choose by the short trainings that are stored, without training; None if no function of the pool has one."""
    found = {i: find_pool(transcript, {i: candidate.source}) for i, candidate in pool.by_number().items()}
    results = {i: each.results[i] for i, each in found.items() if each is not None}
    return _first(pool, results) if results else None


def _first(pool: Pool, results: Mapping[int, Result]) -> Choice:
    """Choose the candidate of the first rank."""
    chosen = next(iter(standings(results)))
    result = results[chosen]
    reason = f"the highest return after a short training: {format_number(result.last)}"
    reason = "the short trainings of all functions failed" if result.failed else reason
    return Choice(pool.by_number()[chosen], "rule", reason)


def find_pool(transcript: Transcript, sources: Mapping[int, str]) -> Found | None:
    """Return the stored results of functions by their numbers, None if one was not trained."""
    digests = [sha256(source) for source in sources.values()]
    stored, random = {}, 0.0
    for record in transcript.records:
        if record["kind"] == "trial" and "curves" in record and record["sources_sha256"] == digests:
            return _of_older_version(sources, record["curves"])
        if record["kind"] == "trial" and "results" in record:
            random = record["random"]
            stored |= dict(zip(record["sources_sha256"], record["results"], strict=True))
    if not set(digests) <= set(stored):
        return None
    return Found({i: Result(**stored[digest]) for i, digest in zip(sources, digests, strict=True)}, random)


def _of_older_version(sources: Mapping[int, str], curves: Mapping[str, Any]) -> Found:
    """Results of a version that stored a pool at once, as means over seeds."""
    rows = zip(sources, curves["returns"], strict=True)
    return Found({i: Result(curves["steps"], [[mean] for mean in row]) for i, row in rows}, curves["random"])


def add_result(transcript: Transcript, source: str, result: Result, random: float) -> None:
    """Store the result of a short training with `source`. The lists are those of older versions, of a whole pool."""
    transcripts.append(transcript, "trial", sources_sha256=[sha256(source)], results=[result._asdict()], random=random)


def _train_missing(client: Client, plan: Plan, round_: int, sources: Mapping[int, str]) -> None:
    """Train with each source that has no stored result. Raise `StoppedError` at a limit on time."""
    missing = [s for s in dict.fromkeys(sources.values()) if find_pool(client.transcript, {0: s}) is None]
    size = f"{len(missing)} functions, {plan.seeds} seeds, {plan.steps:,} steps each on average"
    client.log(f"round {round_}: short trainings with {size}")
    with device_work(client, "short trainings") as check:
        try:
            for trained in train(plan, missing, check):
                add_result(client.transcript, missing[trained.function], trained.result, trained.random)
        except UserError as error:
            raise UserError(f"select=train: {error}") from error
        except jax.errors.JaxRuntimeError as error:  # most often: the memory of the device is full
            hint = "if the memory is full, lower k or trial_seeds"
            raise UserError(f"select=train: the device failed: {brief(str(error))}; {hint}") from error
