"""Rows of football_parity.py: gates on losses of the ball, and two-sample tests with effect sizes."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from qllm_envs.football_engine import LIMIT

STEAL = 4  # steps of the median step of a loss
SMALL = 0.2  # largest effect that counts as small: Cohen's h of shares, Cliff's delta of others
LEVEL = 0.01  # of the two-sample tests


Lengths = tuple[np.ndarray, Sequence[str]]  # and ends, of the same episodes


class Row(NamedTuple):
    """One gate."""

    part: str
    what: str
    engine: str
    port: str
    gate: str
    ok: bool


def loss(part: str, what: str, engine: Lengths, port: Lengths, n: int) -> Row:
    """The row on the median step in which the ball is lost, from the lengths and ends of `n` episodes of each."""
    lost = [np.asarray(lengths)[np.asarray(ends) == "lost"] for lengths, ends in (engine, port)]
    share = [f"{len(x) / n:.2f} lost, median step {np.median(x) if len(x) else np.nan:g}" for x in lost]
    both = [float(np.median(x)) if len(x) > n // 10 else LIMIT for x in lost]
    return Row(part, what, share[0], share[1], f"{STEAL} steps", abs(both[0] - both[1]) <= STEAL)


def of_shares(task: str, name: str, end: str, marks: Sequence[np.ndarray]) -> Row:
    """Compare the share of episodes with an end: Fisher's exact test and Cohen's h."""
    share = [float(np.mean(x)) for x in marks]
    table = [[int(np.sum(x)), int(np.sum(~x))] for x in marks]
    exact: Any = stats.fisher_exact(table)
    p = float(exact.pvalue)
    h = float(2 * np.arcsin(np.sqrt(share[1])) - 2 * np.arcsin(np.sqrt(share[0])))
    return tested(task, name, end, f"{share[0]:.3f}", f"{share[1]:.3f}", p, h, "h")


def of_numbers(task: str, name: str, column: str, theirs: np.ndarray, own: np.ndarray) -> Row:
    """Compare distributions: the Mann-Whitney test and Cliff's delta."""
    theirs, own = (np.round(x.astype(float), 4) for x in (theirs, own))  # sums of 0.1 in other orders are equal
    test = stats.mannwhitneyu(own, theirs)
    delta = float(2 * test.statistic / (len(own) * len(theirs)) - 1)
    text = lambda x: f"{x.mean():.2f} ({np.quantile(x, 0.25):.2f} to {np.quantile(x, 0.75):.2f})"
    return tested(task, name, column, text(theirs), text(own), float(test.pvalue), delta, "delta")


def tested(task: str, name: str, what: str, theirs: str, own: str, p: float, effect: float, letter: str) -> Row:
    """The row of a test: met if the test sees no difference or the effect is small."""
    figure = f"{own}; {letter} {effect:+.2f}, p {p:.2g}"
    gate = f"p > {LEVEL} or {letter} within {SMALL}"
    return Row("episodes", f"{task}, {name}: {what}", theirs, figure, gate, p > LEVEL or abs(effect) < SMALL)
