"""Records of a conversation with a language model, and its errors. All of them are data: a transcript holds them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

# What servers call a limit on tokens at which the model stopped.
LIMITS = ("length", "max_tokens", "max_output_tokens", "model_length", "model_context_window_exceeded", "error_limit")


class Request(NamedTuple):
    """One request. It stands alone: a server keeps no conversation, so that all context is in its text."""

    id: tuple[int | str, ...]  # unique in a transcript; its text (`str`) names the request in messages and files
    system: str
    user: str


class Usage(NamedTuple):
    """Tokens as the server counted them, None where it did not report them."""

    prompt: int | None
    completion: int | None  # with those of reasoning
    reasoning: int | None
    cached: int | None  # part of `prompt`
    unsplit: int | None = None  # all tokens, of a server that does not tell the two parts

    @property
    def total(self) -> int | None:
        """Tokens that were charged, None unless they are known."""
        return self.unsplit if self.prompt is None or self.completion is None else self.prompt + self.completion


class Reply(NamedTuple):
    """One answer."""

    text: str  # without reasoning
    reasoning: str
    finish: str | None  # the reason why the model stopped
    usage: Usage
    model: str  # as the server calls it
    date: str  # YYYY-MM-DD in UTC, by the server's clock if it reports one
    seconds: float = 0.0  # from request to reply

    @property
    def is_cut_off(self) -> bool:
        """True if the model stopped at a limit on tokens, in the words of any server."""
        return (self.finish or "").lower() in LIMITS


class Price(NamedTuple):
    """USD for one million tokens."""

    prompt: float
    completion: float


class Llm(NamedTuple):
    """A language model at a provider."""

    model: str
    parameters: dict[str, Any]  # sent with each request, beside the messages
    # (request, folder of the transcript, seconds left). Raises NoAnswerError, or WaitingError where a person answers.
    ask: Callable[[Request, Path, float | None], Reply]
    retries: int = 0  # of one request, after transient failures
    backoff_s: float = 0.0  # before the first retry; doubles with each
    price: Price | None = None


class NoAnswerError(Exception):
    """A request without a usable reply: the problem in one sentence, whether and when to retry it, and what it cost.

    `of_request`: the server refuses this request for what is in it (its length, its words), and may answer another.
    """

    def __init__(
        self,
        problem: str,
        *,
        transient: bool,
        wait_s: float | None = None,
        usage: Usage | None = None,
        of_request: bool = False,
    ):
        super().__init__(problem)
        self.problem, self.transient, self.wait_s, self.of_request = problem, transient, wait_s, of_request
        self.usage = usage  # None: the server reports none


class StoppedError(Exception):
    """No more requests can be made now; a later process can continue. The message is the reason, one clause."""


class RefusedRequestError(StoppedError):
    """The server refuses one request for what is in it, and would again; it may answer others."""


class WaitingError(StoppedError):
    """A person has to answer first."""
