"""Budgets: sums over the records of a transcript, and the limit that forbids one more request or ends it."""

from pathlib import Path
from typing import Any

import pytest

from qllm_jax.llm import transcript
from qllm_jax.llm.client import Budget, Client, Spent, ask, cost, limit_reached, spent
from qllm_jax.llm.types import Llm, Price, Reply, Request, Usage

PRICE = Price(1.0, 10.0)


def reply(prompt: int | None, completion: int | None) -> dict[str, Any]:
    return {"kind": "reply", "reply": {"usage": Usage(prompt, completion, None, None)._asdict()}}


RECORDS = [
    {"kind": "start"},
    reply(1000, 100),
    {"kind": "failure"},
    {"kind": "device", "work": "gates", "device_s": 1.5},
    {"kind": "verdict"},
    {"kind": "device", "work": "short trainings", "device_s": 20.0},
    reply(3000, 900),
]


def test_spent_by_hand():
    # 1000 x 1 + 100 x 10 = 2000 and 3000 x 1 + 900 x 10 = 12000 millionths of a dollar.
    used = spent(RECORDS, PRICE)
    expected = Spent(3, 5000, unreported=0, usd=0.014, largest_tokens=3900, largest_usd=0.012, device_s=21.5)
    assert used == expected
    assert spent([{"kind": "start"}], PRICE) == Spent(0, 0, 0, 0.0, 0, 0.0)


def test_a_failed_request_counts_by_the_tokens_that_the_server_reports():
    failure = {"kind": "failure", "usage": Usage(3000, 1000, None, None)._asdict()}
    used = spent([*RECORDS, failure], PRICE)
    assert (used.calls, used.tokens, used.unreported, used.largest_tokens) == (4, 9000, 0, 4000)
    assert used.usd == pytest.approx(0.014 + 0.013)


def test_what_is_unknown_is_not_zero():
    assert spent(RECORDS, None).usd is None
    used = spent([*RECORDS, reply(None, None)], PRICE)
    assert (used.tokens, used.unreported, used.usd) == (5000, 1, None)
    assert cost(Usage(10, None, None, None), PRICE) is None


LIMITS = [
    (Budget(), 1e9, None),
    (Budget(max_calls=4), 0, None),
    (Budget(max_calls=3), 0, "max_calls=3 is reached"),
    (Budget(max_minutes=2), 119, None),
    (Budget(max_minutes=2), 120, "max_minutes=2 is reached"),
    (Budget(max_device_seconds=22), 0, None),
    (Budget(max_device_seconds=21.5), 0, "max_device_seconds=21.5 is reached"),
    # 5000 are used and the largest reply took 3900: as much again must fit.
    (Budget(max_tokens=8900), 0, None),
    (Budget(max_tokens=8899), 0, "max_tokens=8899 would be exceeded (5,000 are used)"),
    (Budget(max_usd=0.0261), 0, None),
    (Budget(max_usd=0.0259), 0, "max_usd=0.0259 would be exceeded (0.0140 are used)"),
]


@pytest.mark.parametrize(("budget", "elapsed_s", "sentence"), LIMITS)
def test_limits(budget: Budget, elapsed_s: float, sentence: str | None):
    assert limit_reached(budget, spent(RECORDS, PRICE), elapsed_s) == sentence


def test_a_limit_that_needs_counts_stops_where_there_are_none():
    used = spent([*RECORDS, reply(None, 5)], PRICE)
    sentence = "cannot be kept: the server does not report how many tokens a reply took"
    assert limit_reached(Budget(max_tokens=10**9), used, 0) == f"max_tokens {sentence}"
    assert limit_reached(Budget(max_tokens=10**9, max_usd=1e9), used, 0) == f"max_tokens and max_usd {sentence}"
    assert limit_reached(Budget(max_calls=10**9), used, 0) is None


def test_tokens_that_are_not_told_apart_cost_as_the_dearer_ones():
    assert cost(Usage(None, None, None, None, 1_000_000), PRICE) == 10.0


def test_a_request_gets_the_seconds_that_are_left(tmp_path: Path):
    given: list[float | None] = []

    def answer(request: Request, folder: Path, seconds: float | None) -> Reply:
        del request, folder
        given.append(seconds)
        return Reply("x", "", None, Usage(1, 1, None, None), "m", "2026-06-01")

    with transcript.opened(tmp_path / transcript.NAME) as lines:
        for attempt, minutes in enumerate((None, 60.0)):
            client = Client(Llm("m", {}, answer), lines, Budget(max_minutes=minutes), tmp_path, lambda line: None)
            ask(client, Request((1, "coder", 1, attempt), "s", "u"))
    assert given[0] is None
    assert given[1] is not None
    assert 3000 < given[1] <= 3600
