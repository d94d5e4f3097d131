"""TensorBoard beside wandb: one folder a run, on the axis of env steps; nothing is made where the extra is missing."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from qllm_jax import config
from qllm_jax.errors import UserError
from qllm_jax.program import run_axis
from qllm_jax.run import log, tensorboard_log
from qllm_jax.train import train

SETTINGS = ["env=matrix_climbing", "algo=vdn", "seeds=2", "tensorboard=true"]


class Writer:
    """A tensorboardX.SummaryWriter that keeps what it is given."""

    made: list["Writer"]

    def __init__(self, folder: str, purge_step: int | None = None) -> None:
        self.folder, self.purge_step, self.rows, self.closed = folder, purge_step, [], False
        self.made.append(self)

    def add_scalar(self, name: str, value: float, global_step: int) -> None:
        self.rows.append((name, value, global_step))

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Writer]:
    monkeypatch.setattr(Writer, "made", [], raising=False)
    monkeypatch.setitem(sys.modules, "tensorboardX", SimpleNamespace(SummaryWriter=Writer, __spec__=object()))  # pyright: ignore
    return Writer.made


def test_each_run_has_its_charts(made: list[Writer], tmp_path: Path):
    settings = config.load([*SETTINGS, "sweep.lr=[0.1,0.2]"])
    sink = tensorboard_log.make(settings, tmp_path, 0)
    sink.write(log.records("eval", 50, run_axis.runs(settings), {"return": range(4)}, failed={}))
    sink.close()
    names = ["lr=0.1_seed_0", "lr=0.1_seed_1", "lr=0.2_seed_0", "lr=0.2_seed_1"]
    assert [Path(writer.folder).name for writer in made] == names
    assert [writer.rows for writer in made] == [[("eval/return", i, 50)] for i in range(4)]
    assert all(writer.closed and writer.purge_step is None for writer in made)


def test_what_was_written_after_the_checkpoint_is_void(made: list[Writer], tmp_path: Path):
    tensorboard_log.make(config.load(SETTINGS), tmp_path, 100)
    assert [writer.purge_step for writer in made] == [101, 101]


def test_without_it_nothing_is_imported(made: list[Writer], tmp_path: Path):
    tensorboard_log.make(config.load(SETTINGS[:3]), tmp_path, 0).close()
    assert made == []


def test_a_missing_extra_is_one_sentence_before_anything_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tensorboard_log, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'qllm-jax\[tensorboard\]'"):
        train([*SETTINGS, f"run_dir={tmp_path / 'run'}"])
    assert list(tmp_path.iterdir()) == []


def test_the_real_writer_writes_events(tmp_path: Path):
    pytest.importorskip("tensorboardX")
    settings = config.load(SETTINGS)
    sink = tensorboard_log.make(settings, tmp_path, 0)
    sink.write(log.records("train", 50, run_axis.runs(settings), {"return": [1.0, 2.0]}, failed={}))
    sink.close()
    assert len(list(tmp_path.glob("tensorboard/seed_*/events.out.tfevents.*"))) == 2
