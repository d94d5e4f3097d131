"""Records of the coder-evaluator loop (QLLM, arxiv.org/abs/2504.12961, section 4.2), rebuilt from a transcript."""

from collections.abc import Callable
from typing import NamedTuple

from qllm_jax.llm.types import Reply
from qllm_jax.tfcaf.verdict import Verdict

INCUMBENT = 0  # the number under which the best candidate of earlier rounds competes with a round's new ones


class RequestId(NamedTuple):
    """Coordinates of one request of a generation. As text it is the name of the request's files."""

    round: int  # from 1
    role: str  # "coder" or "evaluator"
    candidate: int  # from 1; INCUMBENT for the best of earlier rounds; 0 for the evaluator
    attempt: int  # 0, and one more after each answer that was refused

    def __str__(self) -> str:
        name = f"candidate_{self.candidate}" if self.role == "coder" else self.role
        return f"round_{self.round}_{name}_try_{self.attempt}"


class Likeness(NamedTuple):
    """A function that a near-duplicate repeats."""

    of: str  # the request that it answered
    why: str  # the reason, a clause


class Attempt(NamedTuple):
    """One answer of the coder and its verdict."""

    id: RequestId
    reply: Reply
    source: str | None  # None: the reply holds no code
    verdict: Verdict
    like: Likeness | None = None  # None: it repeats no function of the archive, or there is no archive


class Candidate(NamedTuple):
    """One of a round's K functions with its repairs. The last attempt is the one that counts."""

    round: int
    number: int
    attempts: tuple[Attempt, ...]

    @property
    def last(self) -> Attempt:
        """Attempt that counts."""
        return self.attempts[-1]

    @property
    def source(self) -> str:
        """Verified text of a candidate that passed."""
        assert self.last.source is not None
        return self.last.source


class Pool(NamedTuple):
    """Candidates among which a round chooses: each passed every gate, and no two have the same text."""

    round: int
    incumbent: Candidate | None  # the best of the rounds before
    new: tuple[Candidate, ...]

    def by_number(self) -> dict[int, Candidate]:
        """Return the candidates by the numbers under which the evaluator sees them."""
        incumbent = {} if self.incumbent is None else {INCUMBENT: self.incumbent}
        return incumbent | {candidate.number: candidate for candidate in self.new}


class Choice(NamedTuple):
    """One candidate of a pool, with the reason."""

    candidate: Candidate
    by: str  # who chose, in the words of the table
    reason: str
    advice: str = ""  # to the coder of the next round
    igm: bool | None = None  # the gate as it was decided; None: as the function has it
    igm_reason: str = ""
    note: str = ""  # why the decision on the gate could not be kept


# The rule that decides a round in which some new function passed. Another rule is another function of this type.
Select = Callable[[Pool], Choice]


class Trials(NamedTuple):
    """Short trainings of the pools of one generation."""

    # Sentences on each candidate by its number. A near-duplicate has none if what it repeats is in the pool.
    lines: Callable[[Pool], dict[int, list[str]]]
    best: Select  # chooses the candidate of the first rank
