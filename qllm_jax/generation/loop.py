"""The coder-evaluator loop: T rounds of K candidates, a choice after each, the best of all rounds at the end."""

from collections.abc import Callable, Iterable
from itertools import groupby

from qllm_jax.generation import coder as coders
from qllm_jax.generation.coder import Coder
from qllm_jax.generation.evaluator import by_rule
from qllm_jax.generation.types import Attempt, Candidate, Choice, Pool, Select
from qllm_jax.llm.types import StoppedError

NOT_SET = "the generation stopped before the gate was as the evaluator wanted it"


def run(coder: Coder, select: Select, k: int, rounds: int, on_choice: Callable[[int, Choice], None]) -> None:
    """Run all rounds. `on_choice` is called with each round and its choice, the best of all rounds so far.

    The evaluator compares a round's candidates with the best of the rounds before, so that only what it judges better
    replaces that one. A round without a candidate that passed keeps the earlier choice, if there is one.
    """
    best: Choice | None = None
    n_duplicates = 0
    for round_ in range(1, rounds + 1):
        assignment = coders.make_assignment(coder.prompts, best, n_duplicates)
        candidates = coders.write_candidates(coder, round_, k, assignment)
        n_duplicates = sum(candidate.last.like is not None for candidate in candidates)
        pool = make_pool(round_, best and best.candidate, candidates)
        if pool.new:
            choice = select(pool)
            # A rule that keeps the earlier candidate keeps the reason and the advice with which it was chosen.
            if best is None or choice.candidate != best.candidate or choice.by != "rule":
                best = choice
        if best is not None:
            try:
                best = coders.set_igm(coder, round_, best)
            except (StoppedError, KeyboardInterrupt):  # the choice stands
                on_choice(round_, best._replace(note=NOT_SET))
                raise
            on_choice(round_, best)


def make_pool(round_: int, incumbent: Candidate | None, candidates: tuple[Candidate, ...]) -> Pool:
    """Collect the candidates that passed, each text once: a model may give one text for several samples."""
    seen = set() if incumbent is None else {incumbent.source}
    new = []
    for candidate in candidates:
        if candidate.last.verdict.ok and candidate.source not in seen:
            seen.add(candidate.source)
            new.append(candidate)
    return Pool(round_, incumbent, tuple(new))


def best_when_stopped(
    best: Choice | None, attempts: Iterable[Attempt], select: Callable[[Pool], Choice | None] = by_rule
) -> Choice | None:
    """Choice of an unfinished generation: `best` of the decided rounds, or else one of what passed since.

    `select` chooses it; where it gives None, the rule does.
    """
    pool = make_pool(1, None, _passed(attempts))
    if best is not None or not pool.new:
        return best
    chosen = select(pool) or by_rule(pool)
    return chosen._replace(reason=f"{chosen.reason}; it stopped before a choice was made")


def _passed(attempts: Iterable[Attempt]) -> tuple[Candidate, ...]:
    """The candidates of attempts, in their order, each up to the last one that passed."""
    candidates = []
    for (round_, number), own in groupby(attempts, key=lambda attempt: (attempt.id.round, attempt.id.candidate)):
        tried = tuple(own)
        if passed := [i for i, attempt in enumerate(tried) if attempt.verdict.ok]:
            candidates.append(Candidate(round_, number, tried[: passed[-1] + 1]))
    return tuple(candidates)
