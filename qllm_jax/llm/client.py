"""A client of a language model: it asks within a budget, retries a bounded number of times, and stores each reply."""

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from qllm_jax.errors import UserError
from qllm_jax.llm import transcript as transcripts
from qllm_jax.llm.transcript import Transcript
from qllm_jax.llm.types import Llm, NoAnswerError, Price, RefusedRequestError, Reply, Request, StoppedError, Usage

MAX_WAIT_S = 300.0  # a server that asks for a longer wait stops the process, which can be resumed


class Budget(NamedTuple):
    """Limits of one transcript, over all processes that wrote it. None is no limit."""

    max_calls: int | None = None  # requests, failed ones and retries included
    max_tokens: int | None = None
    max_usd: float | None = None
    max_minutes: float | None = None
    max_device_seconds: float | None = None  # in which this machine works: gates and short trainings


class Spent(NamedTuple):
    """Sums over the records of a transcript."""

    calls: int
    tokens: int  # of the replies and failed requests that report them
    unreported: int  # replies that do not
    usd: float | None  # None: the price or a count is unknown
    largest_tokens: int  # of one reply: an estimate for the next one
    largest_usd: float
    device_s: float = 0.0


class Client(NamedTuple):
    """A language model, and where its replies and their costs are kept."""

    llm: Llm
    transcript: Transcript
    budget: Budget
    folder: Path  # of the transcript
    log: Callable[[str], None]  # gets one line per failed request


def ask(client: Client, request: Request) -> Reply:
    """Return the stored reply to `request`, or a new one, which is stored first. Raise `StoppedError` if there is none.

    A transient failure is retried, up to `llm.retries` times; each retry counts as a call. `RefusedRequestError` is
    raised for a request that the server refuses for what is in it.
    """
    if stored := transcripts.find_reply(client.transcript, request.id):
        return stored
    problem = ""
    for retry in range(client.llm.retries + 1):
        _check_budget(client)
        began = time.monotonic()
        try:
            reply = client.llm.ask(request, client.folder, _seconds_left(client))
        except (StoppedError, UserError):  # no request was made
            raise
        except NoAnswerError as failure:
            transcripts.add_failure(client.transcript, request, failure.problem, failure.usage)
            client.log(f"{request.id}: {failure.problem}")
            problem = failure.problem
            if not failure.transient:
                raise (RefusedRequestError if failure.of_request else StoppedError)(problem) from failure
            if retry < client.llm.retries:
                _wait(client, failure, retry)
        except BaseException as error:  # Ctrl-C too: the request was made, so that it counts
            transcripts.add_failure(client.transcript, request, f"broken off by {type(error).__name__}")
            raise
        else:
            digest = transcripts.digest(request, client.llm.model, client.llm.parameters)
            reply = reply._replace(seconds=round(time.monotonic() - began, 1))
            transcripts.add_reply(client.transcript, request, digest, reply)
            return reply
    raise StoppedError(f"no answer after {client.llm.retries + 1} attempts, the last one: {problem}")


def cost(usage: Usage, price: Price | None) -> float | None:
    """USD of one reply, None if tokens or price are unknown. An upper bound: cached tokens are charged in full."""
    if price is None or usage.total is None:
        return None
    if usage.prompt is None or usage.completion is None:
        return usage.total * max(price) / 1e6
    return (usage.prompt * price.prompt + usage.completion * price.completion) / 1e6


def spent(records: Iterable[dict[str, Any]], price: Price | None) -> Spent:
    """Sum over the records of a transcript. What a failed request cost counts if the server reports it."""
    records = list(records)
    counts = [record["reply"]["usage"] for record in records if record["kind"] == "reply"]
    failures = [record for record in records if record["kind"] == "failure"]
    counts += [record["usage"] for record in failures if "usage" in record]
    usages = [Usage(**count) for count in counts]
    totals = [usage.total for usage in usages if usage.total is not None]
    costs = [cost(usage, price) for usage in usages]
    known = [usd for usd in costs if usd is not None]
    return Spent(
        calls=sum(record["kind"] == "reply" for record in records) + len(failures),
        tokens=sum(totals),
        unreported=len(usages) - len(totals),
        usd=sum(known) if len(known) == len(costs) and price is not None else None,
        largest_tokens=max(totals, default=0),
        largest_usd=max(known, default=0.0),
        device_s=sum(record["device_s"] for record in records if record["kind"] == "device"),
    )


def limit_reached(budget: Budget, used: Spent, elapsed_s: float) -> str | None:
    """Return the limit that forbids one more request, as a clause; None if the request is allowed.

    A request is allowed only if the most expensive one so far would still fit. No limit is kept by guessing: one on
    tokens or USD forbids further requests after the first reply without counts.
    """
    if budget.max_calls is not None and used.calls >= budget.max_calls:
        return f"max_calls={budget.max_calls} is reached"
    if reason := time_limit_reached(budget, used.device_s, elapsed_s):
        return reason
    limits = [name for name in ("max_tokens", "max_usd") if getattr(budget, name) is not None]
    if limits and used.unreported:
        return f"{' and '.join(limits)} cannot be kept: the server does not report how many tokens a reply took"
    if budget.max_tokens is not None and used.tokens + used.largest_tokens > budget.max_tokens:
        return f"max_tokens={budget.max_tokens} would be exceeded ({used.tokens:,} are used)"
    if budget.max_usd is not None and used.usd is not None and used.usd + used.largest_usd > budget.max_usd:
        return f"max_usd={budget.max_usd:g} would be exceeded ({used.usd:.4f} are used)"
    return None


def time_limit_reached(budget: Budget, device_s: float, elapsed_s: float) -> str | None:
    """Return the limit on time that forbids more work of any kind, as a clause; None if it is allowed."""
    if budget.max_minutes is not None and elapsed_s >= 60 * budget.max_minutes:
        return f"max_minutes={budget.max_minutes:g} is reached"
    if budget.max_device_seconds is not None and device_s >= budget.max_device_seconds:
        return f"max_device_seconds={budget.max_device_seconds:g} is reached"
    return None


def _check_budget(client: Client) -> None:
    """Raise `StoppedError` if the budget does not allow one more request."""
    used = spent(client.transcript.records, client.llm.price)
    if reason := limit_reached(client.budget, used, transcripts.elapsed_s(client.transcript)):
        raise StoppedError(reason)


def _seconds_left(client: Client) -> float | None:
    if client.budget.max_minutes is None:
        return None
    return max(60 * client.budget.max_minutes - transcripts.elapsed_s(client.transcript), 0.0)


def _wait(client: Client, failure: NoAnswerError, retry: int) -> None:
    """Sleep before the next retry, for as long as the server asked or else exponentially longer."""
    backoff = min(client.llm.backoff_s * 2**retry, MAX_WAIT_S)
    wait = backoff if failure.wait_s is None else failure.wait_s
    if wait > MAX_WAIT_S:
        raise StoppedError(f"the server asks for a wait of {wait:,.0f} s")
    left = _seconds_left(client)
    if left is not None and wait >= left:
        raise StoppedError(f"max_minutes={client.budget.max_minutes:g} does not leave the {wait:g} s to wait")
    time.sleep(wait)
