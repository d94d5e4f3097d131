"""One wandb run for each run of a folder: it is continued with the folder, and its steps are environment steps."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from qllm_jax import config
from qllm_jax.errors import UserError
from qllm_jax.program import run_axis
from qllm_jax.run import folder, log, wandb_log

SETTINGS = ["env=matrix_climbing", "algo=matched_vdn", "seeds=2", "wandb.mode=offline"]


class Fake:
    """A wandb that keeps what it is given; like wandb, it drops what comes with a smaller step than before."""

    Error = RuntimeError

    def __init__(self) -> None:
        self.kept: dict[str, dict[int, dict]] = {}

    def init(self, **given) -> SimpleNamespace:
        rows = self.kept.setdefault(given["id"], {})

        def keep(numbers: dict, step: int) -> None:
            if step >= max(rows, default=0):
                rows.setdefault(step, {}).update(numbers)

        return SimpleNamespace(log=keep, define_metric=lambda *a, **k: None, finish=lambda: None)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    made = Fake()
    monkeypatch.setitem(sys.modules, "wandb", made)  # pyright: ignore[reportArgumentType]
    return made


def make(path: Path) -> config.Config:
    settings = config.load([*SETTINGS, f"run_dir={path}"])
    folder.create(path, settings, [])
    return settings


def send(path: Path, settings: config.Config, steps: range) -> None:
    sink = wandb_log.make(settings, path)
    for step in steps:
        for event in ("train", "eval"):
            sink.write(log.records(event, step, run_axis.runs(settings), {"return": [step, step]}))
    sink.close()


def test_records_that_are_made_again_after_a_kill_are_not_counted_twice(fake: Fake, tmp_path: Path):
    settings = make(tmp_path / "a")
    send(tmp_path / "a", settings, range(1, 5))
    send(tmp_path / "a", settings, range(3, 8))  # continued from a checkpoint at step 2
    assert len(fake.kept) == 2
    for rows in fake.kept.values():
        assert list(rows) == list(range(1, 8))
        assert rows[4] == {"env_steps": 4, "train/return": 4, "eval/return": 4}


def test_ids_belong_to_the_folder_and_move_with_it(fake: Fake, tmp_path: Path):
    settings = make(tmp_path / "a")
    send(tmp_path / "a", settings, range(1, 2))
    (tmp_path / "a").rename(tmp_path / "b")
    send(tmp_path / "b", settings, range(2, 3))
    assert len(fake.kept) == 2
    send(tmp_path / "a", make(tmp_path / "a"), range(1, 2))  # made again at the same path
    assert len(fake.kept) == 4


def test_a_wandb_that_refuses_is_one_sentence(fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(**given):
        del given
        raise RuntimeError("no answer from the server.\nwhile retrying: ...")

    monkeypatch.setattr(fake, "init", refuse)
    with pytest.raises(UserError, match=r"^wandb: no answer from the server; wandb.mode=offline needs no account$"):
        wandb_log.make(make(tmp_path / "a"), tmp_path / "a")
