"""What passes between the parts of a generation. All of it is data, and all of it can be rebuilt from a transcript.

The coder-evaluator loop is section 4.2 of QLLM (arxiv.org/abs/2504.12961), Eq. 4 to 6.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from qllm_jax.tfcaf.verdict import Verdict

KEPT = 0  # the number under which the best function of earlier rounds competes with a round's new ones


class Place(NamedTuple):
    """Which question of a generation something belongs to. As text it is the name of that question's files."""

    round: int  # from 1
    role: str  # "coder" or "evaluator"
    number: int  # of the candidate, from 1; KEPT for the best of earlier rounds; 0 for the evaluator
    attempt: int  # 0, and one more after each answer that was refused

    def __str__(self) -> str:
        what = f"candidate_{self.number}" if self.role == "coder" else self.role
        return f"round_{self.round}_{what}_try_{self.attempt}"


class Request(NamedTuple):
    """One question. It stands alone: whatever was said before and still matters is in its text."""

    place: Place
    system: str
    user: str


class Usage(NamedTuple):
    """Tokens as the server counted them, None where it did not say."""

    prompt: int | None
    completion: int | None  # with those of reasoning
    reasoning: int | None
    cached: int | None  # part of `prompt`

    @property
    def total(self) -> int | None:
        """What was paid for, None unless both parts are known."""
        return None if self.prompt is None or self.completion is None else self.prompt + self.completion


class Reply(NamedTuple):
    """One answer."""

    text: str  # without reasoning
    reasoning: str
    finish: str | None  # why the model stopped; "length" is a reply that was cut off
    usage: Usage
    model: str  # as the server calls it
    date: str  # YYYY-MM-DD in UTC, by the server's clock where it tells
    seconds: float = 0.0  # that the answer took


class Price(NamedTuple):
    """USD for one million tokens."""

    prompt: float
    completion: float


class Llm(NamedTuple):
    """One way to a language model."""

    model: str
    parameters: dict[str, Any]  # what is sent beside the messages
    # (request, folder of the generation, seconds left). Raises NoAnswerError, or WaitingError where a person answers.
    ask: Callable[[Request, Path, float | None], Reply]
    retries: int = 0  # of one request, after failures that can pass
    backoff_s: float = 0.0  # before the first retry; doubles with each
    price: Price | None = None


class NoAnswerError(Exception):
    """A request without a usable answer: one sentence, whether trying again can help, and the wait that was asked."""

    def __init__(self, problem: str, *, transient: bool, wait_s: float | None = None):
        super().__init__(problem)
        self.problem, self.transient, self.wait_s = problem, transient, wait_s


class StoppedError(Exception):
    """The generation stops here, keeps what it has, and can be resumed. The text is the reason, one clause."""


class WaitingError(StoppedError):
    """A person has to answer before the generation can go on."""


class Try(NamedTuple):
    """One answer of the coder and what the gates said about it."""

    place: Place
    reply: Reply
    source: str | None  # None: no code could be read from the reply
    verdict: Verdict


class Candidate(NamedTuple):
    """One of a round's K functions with its repairs. The last try is the one that counts."""

    round: int
    number: int
    tries: tuple[Try, ...]

    @property
    def last(self) -> Try:
        """The try that counts."""
        return self.tries[-1]

    @property
    def source(self) -> str:
        """The verified text. Only for a candidate that passed."""
        assert self.last.source is not None
        return self.last.source


class Pool(NamedTuple):
    """What a round's choice is made from: functions that passed every gate, no two of one text."""

    round: int
    kept: Candidate | None  # the best of the rounds before
    new: tuple[Candidate, ...]

    def numbered(self) -> dict[int, Candidate]:
        """The functions by the number under which they are shown."""
        kept = {} if self.kept is None else {KEPT: self.kept}
        return kept | {candidate.number: candidate for candidate in self.new}


class Choice(NamedTuple):
    """One function of a pool, and why."""

    candidate: Candidate
    by: str  # who chose, as the table tells it
    reason: str
    advice: str = ""  # to the coder of the next round
    igm: bool | None = None  # the gate as it was decided; None: as the function has it
    igm_reason: str = ""
    note: str = ""  # what became of the decision on the gate, where it could not be kept


# How a round is decided. Another rule (a short training run, say) is another function of this type.
Select = Callable[[Pool], Choice]
