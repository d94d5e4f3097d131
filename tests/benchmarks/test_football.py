"""The port of football against recorded traces of the engine, and what docs/football_engine.md says about it."""

from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "football_engine.md"


@pytest.fixture
def parity(load):
    return load("football_parity")


def on_page(part: str) -> dict[str, str]:
    """The page's word on each gate of a part: "yes", "**no**" or ""."""
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in PAGE.read_text().splitlines()]
    return {row[1]: row[-1] for row in rows if row and row[0] == part}


@pytest.mark.parametrize("part", ["ball", "runs", "kicks"])
def test_gates_that_the_page_calls_met_are_met(parity, part):
    """All parts: python benchmarks/football_parity.py all."""
    rows, told = parity.PARTS[part](), on_page(part)
    assert [row.what for row in rows] == list(told)
    assert [row.what for row in rows if told[row.what] == "yes" and not row.ok] == []
