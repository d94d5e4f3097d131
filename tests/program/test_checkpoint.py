"""Checkpoints: which are kept, and those of older versions: a field that is None here and was not there is no fault."""

from pathlib import Path
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from orbax.checkpoint import v1 as ocp

from qllm_jax.core.types import Clock
from qllm_jax.program import guard
from qllm_jax.program.one_run import RunState
from qllm_jax.run import checkpoint, stored_tree
from qllm_jax.run.checkpoint import HostState, TrainState


class Old(NamedTuple):
    kept: Any


class New(NamedTuple):
    kept: Any
    added: Any = None  # by a later version


class Whole(NamedTuple):
    inner: Any
    steps: tuple


def test_a_field_that_a_version_did_not_have_is_none(tmp_path: Path):
    path = tmp_path / "old"
    ocp.save(str(path), Whole(Old(jnp.arange(3.0)), (jnp.ones(2),)))
    like = Whole(New(jnp.zeros(3)), (jnp.zeros(2),))
    stored = stored_tree.as_stored(like, ocp.metadata(str(path)).metadata)
    assert list(stored["inner"]) == ["kept"]
    found = stored_tree.as_here(ocp.load(str(path), stored), like)
    assert isinstance(found.inner, New)
    assert found.inner.added is None
    np.testing.assert_array_equal(found.inner.kept, np.arange(3.0))
    np.testing.assert_array_equal(found.steps[0], np.ones(2))


def test_arrays_that_are_not_asked_for_are_not_read(tmp_path: Path):
    path = tmp_path / "whole"
    ocp.save(str(path), Whole(Old(jnp.arange(3.0)), (jnp.ones(2), jnp.zeros(4))))
    like = Whole(Old(jnp.zeros(3)), (stored_tree.UNREAD, stored_tree.UNREAD))
    stored = stored_tree.as_stored(like, ocp.metadata(str(path)).metadata)
    found = stored_tree.as_here(ocp.load(str(path), stored), like)
    np.testing.assert_array_equal(found.inner.kept, np.arange(3.0))
    assert tuple(found.steps) == like.steps


def test_a_field_with_an_array_must_be_there():
    like = New(jnp.zeros(3), jnp.zeros(1))
    assert list(stored_tree.as_stored(like, {"kept": None})) == ["kept", "added"]


def test_in_a_checkpoint_without_faults_no_run_has_failed(tmp_path: Path):
    path, clock = tmp_path / "old", Clock(*map(jnp.int32, (100, 4, 2)))
    runs = {"key": jnp.arange(2), "learner": {"w": jnp.ones(2)}, "storage": {"r": jnp.ones((2, 3))}}
    runs |= {"best_params": {"w": jnp.full(2, 3.0)}, "best_return": jnp.full(2, -1.0)}
    counters = {"metrics_bytes": 1, "timing_bytes": 2, "elapsed_s": 3.0}
    ocp.save(str(path), {"clock": clock._asdict(), "runs": runs}, custom_metadata=counters)
    fault = guard.none(cast(Any, {"x": jnp.ones(5)}))
    expected = jax.tree.map(lambda x: jnp.stack([x, x]), fault)
    like = TrainState(clock, RunState(**cast(Any, runs), fault=jax.tree.map(jnp.ones_like, expected)))
    for asked in (like, checkpoint.without_replay(like)):
        state, host = checkpoint.restore(path, asked)
        jax.tree.map(np.testing.assert_array_equal, state.runs.fault, expected)
        assert state.runs.fault.env_steps.dtype == jnp.int32
        np.testing.assert_array_equal(state.runs.best_return, [-1.0, -1.0])
        assert (int(state.clock.env_steps), host) == (100, HostState(1, 2, 3.0))


def test_two_whole_checkpoints_are_kept_and_none_of_a_later_step_that_is_damaged(tmp_path: Path):
    path = tmp_path / "checkpoints"

    def save(step: int) -> None:
        state = TrainState(Clock(*map(jnp.int32, (step, 0, 0))), cast(RunState, {"x": jnp.arange(3.0)}))
        checkpoint.save(path, state, HostState(1, 1, 0.0, metrics_sha256="0"))

    for step in (100, 200, 400):
        save(step)
    assert [*map(checkpoint.step_of, checkpoint.newest_first(path))] == [400, 200]
    (checkpoint.newest_first(path)[0] / checkpoint.SUMS).unlink()
    save(300)  # training went on from step 200
    assert [*map(checkpoint.step_of, checkpoint.newest_first(path))] == [300, 200]
    assert not any(map(checkpoint.damage, checkpoint.newest_first(path)))
