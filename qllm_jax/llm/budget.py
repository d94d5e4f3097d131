"""Hard limits on what a generation may use, and what it has used: sums over its transcript."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from qllm_jax.llm.records import Price, Usage


class Budget(NamedTuple):
    """Limits over all processes of one generation. None is no limit."""

    max_calls: int | None = None  # requests, with those that failed and were made again
    max_tokens: int | None = None
    max_usd: float | None = None
    max_minutes: float | None = None


class Spent(NamedTuple):
    """What was used so far."""

    calls: int
    tokens: int  # of the replies that report them
    unreported: int  # replies that do not
    usd: float | None  # None: a price or a count is unknown
    largest_tokens: int  # of one reply: what the next one may need
    largest_usd: float


def cost(usage: Usage, price: Price | None) -> float | None:
    """USD, None where tokens or price are unknown. Cached tokens are charged in full: an upper bound."""
    if price is None or usage.prompt is None or usage.completion is None:
        return None
    return (usage.prompt * price.prompt + usage.completion * price.completion) / 1e6


def spent(records: Iterable[dict[str, Any]], price: Price | None) -> Spent:
    """The sums over the records of a transcript. A failed request counts as a call; what it cost, nobody says."""
    records = list(records)
    usages = [Usage(**record["reply"]["usage"]) for record in records if record["kind"] == "reply"]
    totals = [usage.total for usage in usages if usage.total is not None]
    costs = [cost(usage, price) for usage in usages]
    known = [usd for usd in costs if usd is not None]
    return Spent(
        calls=sum(record["kind"] in ("reply", "failure") for record in records),
        tokens=sum(totals),
        unreported=len(usages) - len(totals),
        usd=sum(known) if len(known) == len(costs) and price is not None else None,
        largest_tokens=max(totals, default=0),
        largest_usd=max(known, default=0.0),
    )


def refusal(budget: Budget, used: Spent, elapsed_s: float) -> str | None:
    """Why one more request is not made, None if it may be.

    A request is made only if the most expensive one so far would still fit, and no limit is kept by guessing: one that
    needs counts stops at the first reply without them.
    """
    if budget.max_calls is not None and used.calls >= budget.max_calls:
        return f"max_calls={budget.max_calls} is reached"
    if budget.max_minutes is not None and elapsed_s >= 60 * budget.max_minutes:
        return f"max_minutes={budget.max_minutes:g} is reached"
    limits = [name for name in ("max_tokens", "max_usd") if getattr(budget, name) is not None]
    if limits and used.unreported:
        return f"{' and '.join(limits)} cannot be kept: the server does not report how many tokens a reply took"
    if budget.max_tokens is not None and used.tokens + used.largest_tokens > budget.max_tokens:
        return f"max_tokens={budget.max_tokens} would be exceeded ({used.tokens:,} are used)"
    if budget.max_usd is not None and used.usd is not None and used.usd + used.largest_usd > budget.max_usd:
        return f"max_usd={budget.max_usd:g} would be exceeded ({used.usd:.4f} are used)"
    return None
