"""Estimates of time: from the cells most like the one to train, by steps and seeds."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from qllm_jax import config
from qllm_jax.studies import estimate, runner
from qllm_jax.studies.cells import Cell
from qllm_jax.studies.estimate import Rate
from qllm_jax.studies.plan import CellsEntry, Plan, Study
from qllm_jax.studies.trainings import Training
from qllm_jax.studies.work import Work

CONFIG = config.load(["algo=matched_vdn", "seeds=2", "total_steps=1000"])
CELL = Cell("spread", "vdn", 1, (), CONFIG, "")


def test_the_cells_most_like_it_decide():
    rates = [Rate("tag", "qmix", 0.008)]
    assert estimate.of_cell(CELL, []) is None
    assert estimate.of_cell(CELL, rates) == pytest.approx(16.0)
    rates.append(Rate("tag", "vdn", 0.004))
    assert estimate.of_cell(CELL, rates) == pytest.approx(8.0)
    rates.append(Rate("spread", "qmix", 0.002))
    assert estimate.of_cell(CELL, rates) == pytest.approx(4.0)
    rates += [Rate("spread", "vdn", seconds) for seconds in (0.001, 0.001, 0.5)]
    assert estimate.of_cell(CELL, rates) == pytest.approx(2.0)
    longer = CELL._replace(config=replace(CONFIG, seeds=4, total_steps=2000))
    assert estimate.of_cell(longer, rates) == pytest.approx(8.0)
    assert estimate.of_training(Training([CELL, longer]), rates) == pytest.approx(10.0)


def test_a_sum_with_an_unknown_part_is_unknown():
    assert estimate.total([1.0, None]) is None
    assert estimate.total([]) == 0.0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "unknown"),
        (0.0, "about 1 s"),
        (59.0, "about 59 s"),
        (600.0, "about 10 min"),
        (7500.0, "about 2 h 05 min"),
    ],
)
def test_durations_are_text(seconds: float | None, text: str):
    assert estimate.text(seconds) == text


def test_only_the_first_training_may_be_too_long_for_max_hours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(estimate, "rates", lambda _: [Rate("spread", "vdn", 1.0)])
    work = Work(
        Study("s", tmp_path, Plan("s", 1, {}, {}, [CellsEntry(["spread"], ["vdn"])])), [CELL], tmp_path, tmp_path
    )
    start = lambda number, stop_at: runner.announce(work, [Training([CELL])], number, stop_at)
    assert start(1, 0.0)
    assert not start(2, 0.0)
    assert start(2, math.inf)
