"""The port of football against recorded traces of the engine, and what docs/football_engine.md says about it."""

from pathlib import Path

import numpy as np
import pytest

from qllm_envs._football import constants
from qllm_jax.core.types import Scores
from qllm_jax.program.run_axis import Run

pytestmark = pytest.mark.thorough

PAGE = Path(__file__).parents[2] / "docs" / "football_engine.md"


@pytest.fixture
def parity(load):
    return load("football_parity")


def on_page(part: str) -> dict[str, str]:
    """The page's word on each gate of a part: "yes", "**no**" or "", from its table of six columns."""
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in PAGE.read_text().splitlines()]
    return {row[1]: row[-1] for row in rows if len(row) == 6 and row[0] == part}


@pytest.mark.parametrize("part", ["ball", "runs", "kicks"])
def test_gates_that_the_page_calls_met_are_met(parity, part):
    """All parts: python benchmarks/football_parity.py all."""
    rows, told = parity.PARTS[part](), on_page(part)
    assert [row.what for row in rows] == list(told)
    assert [row.what for row in rows if told[row.what] == "yes" and not row.ok] == []


def test_the_two_teams_start_where_the_engine_has_them(parity):
    recorded = parity.load("teams")
    ball, players = constants.start_positions("academy_counterattack_easy")
    np.testing.assert_allclose(np.concatenate([players, [ball]]), recorded["path"][0], atol=0.01)
    assert tuple(recorded["first"]) == constants.rules("academy_counterattack_easy", 150).agents


def test_a_row_of_transfer_has_intervals_over_episodes_and_over_seeds(load):
    """Wilson's interval of 10 of 100: 5.5% to 17.4%. The mean of two seeds has the t interval with one degree."""
    transfer = load("football_transfer")
    won = np.arange(100) < 10
    side = won, np.where(won, 8.0, 0.0)
    row = transfer.row("task", "policy", None, side)
    assert row["engine_win_rate"] == "10.0% (5.5% to 17.4%)"
    assert row["engine_return"] == "0.80 (0.32 to 1.28)"
    assert (row["port_episodes"], row["port_win_rate"]) == (0, "")
    both = Scores(np.stack([side[1], side[1]]), np.stack([won, ~won]))
    over_seeds = transfer.mean_row("task", "policy", [both, both])
    assert over_seeds["port_win_rate"] == "50.0% (0.0% to 100.0%)"
    assert over_seeds["engine_return"] == "0.800 (0.800 to 0.800, 2 seeds)"


def test_transfer_has_a_row_for_each_seed_and_the_mean_of_each_configuration(load):
    runs = [Run({"lr": lr}, seed) for lr in (0.1, 0.2) for seed in (0, 1)]
    won = np.repeat([[1], [0], [0], [0]], 10, axis=1) == 1
    scores = Scores(8.0 * won, won)
    rows = load("football_transfer").policy_rows("task", ("vdn", "best"), runs, (scores, scores))
    assert [(row["policy"], row["port_win_rate"][:5]) for row in rows] == [
        ("vdn, lr=0.1, best, seed 0", "100.0"), ("vdn, lr=0.1, best, seed 1", "0.0% "),
        ("vdn, lr=0.1, best, mean of 2", "50.0%"),
        ("vdn, lr=0.2, best, seed 0", "0.0% "), ("vdn, lr=0.2, best, seed 1", "0.0% "),
        ("vdn, lr=0.2, best, mean of 2", "0.0% "),
    ]  # fmt: skip
