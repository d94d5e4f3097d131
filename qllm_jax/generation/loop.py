"""The coder-evaluator loop: T rounds of K functions, a choice after each, the best of all rounds at the end."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from qllm_jax.generation import coder as coders
from qllm_jax.generation.coder import Coder
from qllm_jax.generation.evaluator import by_rule
from qllm_jax.llm.records import Candidate, Choice, Pool, Select, Try


class Shape(NamedTuple):
    """The shape of a generation."""

    k: int
    rounds: int


def run(coder: Coder, select: Select, shape: Shape, chosen: Callable[[int, Choice], None]) -> None:
    """Play all rounds; `chosen` is told of each round's choice, which is the best of all rounds so far.

    A round in which nothing passed chooses nothing if no round before it did. The evaluator compares a round's
    functions with the best of the rounds before, so that a later round can only replace it by what is judged better.
    """
    best: Choice | None = None
    for round_ in range(1, shape.rounds + 1):
        assignment = coders.first_assignment(coder.prompts)
        if best is not None:
            assignment = coders.next_assignment(coder.prompts, best)
        candidates = coders.write(coder, round_, shape.k, assignment)
        pool = pool_of(round_, best and best.candidate, candidates)
        if pool.numbered():
            best = coders.with_igm(coder, round_, _decided(select(pool), best))
            chosen(round_, best)


def pool_of(round_: int, kept: Candidate | None, candidates: tuple[Candidate, ...]) -> Pool:
    """The candidates that passed, once each: a model that is asked for three samples may well give one text thrice."""
    seen = set() if kept is None else {kept.source}
    new = []
    for candidate in candidates:
        if candidate.last.verdict.ok and candidate.source not in seen:
            seen.add(candidate.source)
            new.append(candidate)
    return Pool(round_, kept, tuple(new))


def so_far(best: Choice | None, tries: Iterable[Try]) -> Choice | None:
    """What a generation that stopped has: the best of the rounds that were decided, or by rule of what passed since."""
    passed = [tried for tried in tries if tried.verdict.ok]
    if best is not None or not passed:
        return best
    candidates = (Candidate(tried.place.round, tried.place.number, (tried,)) for tried in passed)
    return by_rule(pool_of(1, None, tuple(candidates)))._replace(reason="it stopped before a choice was made")


def _decided(choice: Choice, best: Choice | None) -> Choice:
    """`choice` with what an earlier round said, where this one keeps that round's function and says nothing."""
    if best is None or choice.candidate != best.candidate or choice.by != "rule":
        return choice
    return best
