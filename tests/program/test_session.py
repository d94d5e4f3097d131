"""A session evaluates, writes checkpoints that take a bounded share of the time, and ends at its last step."""

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from qllm_jax import config
from qllm_jax.program.experiment import Experiment
from qllm_jax.program.one_run import RunState
from qllm_jax.run import loop, session
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


def test_training_ends_with_an_evaluation_at_its_last_step_whatever_the_intervals():
    events: list[tuple[str, int]] = []

    class FakeSession:
        is_fresh, between, env_steps = True, None, 0
        exp = SimpleNamespace(config=config.load(["total_steps=250", "log_interval=100", "eval_interval=200"]))
        work_between = lambda self, stopped: True
        evaluate = lambda self: events.append(("eval", self.env_steps))
        save_if_due = lambda self: events.append(("save if due", self.env_steps))
        save = lambda self: events.append(("save", self.env_steps))
        check_learning = lambda self: None

        def train(self, goal: int) -> None:
            self.env_steps = goal
            events.append(("train", goal))

    assert loop.advance(cast(Session, FakeSession()), cast(Any, SimpleNamespace(requested=False)), np.inf)
    evaluated = lambda step: [("train", step), ("eval", step), ("save if due", step)]
    assert events == [("eval", 0), ("train", 100), *evaluated(200), *evaluated(250), ("save", 250)]


def test_the_final_evaluation_plays_the_best_parameters_as_set(monkeypatch: pytest.MonkeyPatch):
    def final_scores(*given: Any) -> None:
        raise StopIteration(*given[1:])

    monkeypatch.setattr(session, "final_scores", final_scores)
    at_work = Session.__new__(Session)
    settings = config.load(["algo.eval_epsilon=0.1", "final_episodes=7"])
    at_work.exp = cast(Experiment, SimpleNamespace(config=settings))
    at_work.state = cast(RunState, SimpleNamespace(best_params="best"))
    with pytest.raises(StopIteration) as called:
        at_work.finish()
    assert called.value.args == ("best", 7, 0.1)
