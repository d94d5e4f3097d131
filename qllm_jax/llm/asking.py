"""Asking a language model: answers that are stored, a budget, and a bounded number of retries."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from qllm_jax.llm import budget as budgets
from qllm_jax.llm import transcript as transcripts
from qllm_jax.llm.budget import Budget
from qllm_jax.llm.records import Llm, NoAnswerError, Reply, Request, StoppedError
from qllm_jax.llm.transcript import Transcript

MAX_WAIT_S = 300.0  # a server that asks for a longer wait ends the process: it can be resumed


class Desk(NamedTuple):
    """What is needed to ask."""

    llm: Llm
    transcript: Transcript
    budget: Budget
    folder: Path
    say: Callable[[str], None]


def ask(desk: Desk, request: Request) -> Reply:
    """The stored answer to `request`, or a new one, which is stored first. `StoppedError` when there will be none."""
    if stored := transcripts.find_reply(desk.transcript, request.place):
        return stored
    for attempt in range(desk.llm.retries + 1):
        allow(desk)
        began = time.monotonic()
        try:
            reply = desk.llm.ask(request, desk.folder, _left_s(desk))
        except NoAnswerError as failure:
            transcripts.append(desk.transcript, "failure", place=list(request.place), problem=failure.problem)
            desk.say(f"{request.place}: {failure.problem}")
            if not failure.transient:
                raise StoppedError(failure.problem) from failure
            if attempt < desk.llm.retries:
                _wait(desk, failure, attempt)
        else:
            digest = transcripts.digest(request, desk.llm.model, desk.llm.parameters)
            reply = reply._replace(seconds=round(time.monotonic() - began, 1))
            transcripts.add_reply(desk.transcript, request, digest, reply)
            return reply
    raise StoppedError(f"no answer after {desk.llm.retries + 1} attempts")


def allow(desk: Desk) -> None:
    """`StoppedError` when the budget does not allow one more request."""
    used = budgets.spent(desk.transcript.records, desk.llm.price)
    if reason := budgets.refusal(desk.budget, used, transcripts.elapsed_s(desk.transcript)):
        raise StoppedError(reason)


def _left_s(desk: Desk) -> float | None:
    if desk.budget.max_minutes is None:
        return None
    return max(60 * desk.budget.max_minutes - transcripts.elapsed_s(desk.transcript), 0.0)


def _wait(desk: Desk, failure: NoAnswerError, attempt: int) -> None:
    """Sleep before the next attempt: as long as the server asked for, or ever longer."""
    backoff = min(desk.llm.backoff_s * 2**attempt, MAX_WAIT_S)
    wait = backoff if failure.wait_s is None else failure.wait_s
    if wait > MAX_WAIT_S:
        raise StoppedError(f"the server asks for a wait of {wait:,.0f} s")
    left = _left_s(desk)
    if left is not None and wait >= left:
        raise StoppedError(f"max_minutes={desk.budget.max_minutes:g} does not leave the {wait:g} s to wait")
    time.sleep(wait)
