"""Checkpoints at evaluations: two are kept, and writing them takes no more than a share of the time."""

import time
from pathlib import Path

import pytest

from qllm_jax.run import session
from qllm_jax.run.session import Session


@pytest.mark.parametrize(
    ("kept", "saving_s", "ago_s", "due"),
    [(0, 5.0, 1.0, True), (1, 5.0, 1.0, True), (2, 5.0, 1.0, False), (2, 5.0, 44.0, False), (2, 5.0, 46.0, True)],
)
def test_a_checkpoint_is_due_when_writing_it_takes_a_tenth_of_the_time(
    kept: int, saving_s: float, ago_s: float, due: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for step in range(kept):
        (tmp_path / "checkpoints" / f"step_{step:012d}").mkdir(parents=True)
    at_work, written = Session.__new__(Session), []
    at_work.path, at_work._saving_s, at_work._saved_at = tmp_path, saving_s, time.monotonic() - ago_s
    monkeypatch.setattr(session.Session, "save", lambda self: written.append(self))
    at_work.save_if_due()
    assert bool(written) == due
