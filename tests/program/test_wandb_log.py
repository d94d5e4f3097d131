"""One wandb run for each run of a folder: it is continued with the folder, and its steps are environment steps."""

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from qllm_jax import config
from qllm_jax.commands import train as command
from qllm_jax.errors import UserError
from qllm_jax.program import run_axis
from qllm_jax.run import continued, folder, log, wandb_log
from qllm_jax.tfcaf import find
from qllm_jax.train import train

SETTINGS = ["env=matrix_climbing", "algo=matched_vdn", "seeds=2", "wandb.mode=offline"]


class Fake:
    """A wandb that keeps what it is given; like wandb, it drops what comes with a smaller step than before."""

    Error = RuntimeError
    login_refusal = ""

    def __init__(self) -> None:
        self.kept: dict[str, dict[int, dict]] = {}
        self.given: list[dict] = []  # to `init`

    def Video(self, file: str, format: str) -> tuple[str, str]:  # noqa: N802 - names of wandb
        return file, format

    def login(self, verify: bool) -> None:
        assert verify
        if self.login_refusal:
            raise RuntimeError(self.login_refusal)

    def init(self, **given) -> SimpleNamespace:
        rows = self.kept.setdefault(given["id"], {})
        self.given.append(given)

        def keep(numbers: dict, step: int | None = None) -> None:
            if step is None:
                rows[-1] = numbers
            elif step >= max(rows, default=0):
                rows.setdefault(step, {}).update(numbers)

        return SimpleNamespace(log=keep, define_metric=lambda *a, **k: None, finish=lambda: None)


def test_a_lost_connection_ends_the_sending_and_not_the_training(capsys: pytest.CaptureFixture[str]):
    sent = []

    def lost(records: list[dict]) -> None:
        sent.append(records)
        raise ConnectionResetError("Connection lost")

    sink = log.outlived(log.Sink(lost, lambda: pytest.fail("it was dropped")), "wandb")
    for _ in range(2):
        sink.write([{}])
    sink.close()
    assert sent == [[{}]]
    note = "note: wandb failed (ConnectionResetError: Connection lost); training goes on without it\n"
    assert capsys.readouterr().err == note


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
            sink.write(log.records(event, step, run_axis.runs(settings), {"return": [step, step]}, failed={}))
    sink.close()


def test_records_that_are_made_again_after_a_kill_are_not_counted_twice(fake: Fake, tmp_path: Path):
    settings = make(tmp_path / "a")
    send(tmp_path / "a", settings, range(1, 5))
    send(tmp_path / "a", settings, range(3, 8))  # continued from a checkpoint at step 2
    assert len(fake.kept) == 2
    for rows in fake.kept.values():
        assert list(rows) == list(range(1, 8))
        assert rows[4] == {"env_steps": 4, "train/return": 4, "eval/return": 4}


def test_a_run_whose_environment_is_a_copy_in_its_folder_keeps_its_name(fake: Fake, tmp_path: Path):
    settings = make(tmp_path / "a")
    send(tmp_path / "a", settings, range(1, 2))
    copied = replace(settings, env=settings.env | {"name": f"{tmp_path}/a/parts/env.py:make"})
    send(tmp_path / "a", copied, range(2, 3))
    assert [given["name"] for given in fake.given] == [f"matched_vdn-matrix-seed{seed}" for seed in (0, 1)] * 2


def test_ids_belong_to_the_folder_and_move_with_it(fake: Fake, tmp_path: Path):
    settings = make(tmp_path / "a")
    send(tmp_path / "a", settings, range(1, 2))
    (tmp_path / "a").rename(tmp_path / "b")
    send(tmp_path / "b", settings, range(2, 3))
    assert len(fake.kept) == 2
    send(tmp_path / "a", make(tmp_path / "a"), range(1, 2))  # made again at the same path
    assert len(fake.kept) == 4


def test_a_run_that_goes_on_keeps_the_name_of_its_function(fake: Fake, tmp_path: Path):
    settings = config.load(["env=matrix_climbing", "seeds=1", "wandb.mode=offline", f"run_dir={tmp_path / 'a'}"])
    folder.create(tmp_path / "a", settings, [find("matrix").text])
    opened = folder.load(str(tmp_path / "a"))[1]
    assert opened.algo.mixer["function"] == str(tmp_path / "a/tfcaf.py")
    for each in (settings, opened):
        wandb_log.make(each, tmp_path / "a").close()
    assert [given["config"]["algo"]["mixer"]["function"] for given in fake.given] == ["matrix"] * 2
    assert fake.given[0]["config"] == fake.given[1]["config"]


def test_a_wandb_that_refuses_is_one_sentence(fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(**given):
        del given
        raise RuntimeError("no answer from the server.\nwhile retrying: ...")

    monkeypatch.setattr(fake, "init", refuse)
    settings = make(tmp_path / "a")
    with pytest.raises(UserError, match=r"^wandb: no answer from the server$"):
        wandb_log.make(settings, tmp_path / "a")
    online = replace(settings, wandb=replace(settings.wandb, mode="online"))
    with pytest.raises(UserError, match=r"server; wandb.mode=offline needs no account, also with resume=RUN$"):
        wandb_log.make(online, tmp_path / "a")


def test_who_is_not_logged_in_is_told_before_anything_is_made_or_changed(fake: Fake, tmp_path: Path):
    fake.login_refusal = "No API key configured. Use `wandb login` to log in"
    sentence = r"^wandb: No API key configured. Use `wandb login` to log in; wandb.mode=offline needs no account"
    with pytest.raises(UserError, match=sentence):
        train([*SETTINGS, "wandb.mode=online", f"run_dir={tmp_path / 'new'}"])
    assert list(tmp_path.iterdir()) == []
    make(tmp_path / "a")
    before = (tmp_path / "a" / "config.yaml").read_text()
    with pytest.raises(UserError, match=sentence):
        train([f"resume={tmp_path / 'a'}", "wandb.mode=online", "total_steps=3000000"])
    assert (tmp_path / "a" / "config.yaml").read_text() == before


def test_the_mode_may_change_on_resume_and_is_recorded(fake: Fake, tmp_path: Path):
    settings = make(tmp_path / "a")
    _, found = command.recorded(
        config.load([f"resume={tmp_path / 'a'}", "wandb.mode=disabled"]), ["resume=x", "wandb.mode=disabled"]
    )
    assert found.wandb.mode == "disabled"
    continued.change(tmp_path / "a", found)
    assert folder.load(str(tmp_path / "a"))[1].wandb.mode == "disabled"
    assert folder.load(str(tmp_path / "a"))[1].total_steps == settings.total_steps
    assert not fake.kept


def test_a_film_goes_to_the_run_of_its_seed_and_a_line_says_how_to_send_it(
    fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    settings = make(tmp_path / "my run")
    send(tmp_path / "my run", settings, range(1, 3))
    film, path = {"env_steps": 1, "episode": (str(tmp_path / "episode.gif"), "gif")}, tmp_path / "my run"
    wandb_log.send_film(settings, path, 1, tmp_path / "episode.gif", env_steps=1, newest=2)
    assert [rows[2].get("episode") for rows in fake.kept.values()] == [None, film["episode"]]
    online = replace(settings, wandb=replace(settings.wandb, mode="online"))
    wandb_log.send_film(online, path, 1, tmp_path / "episode.gif", env_steps=1, newest=2)
    assert [rows.get(-1) for rows in fake.kept.values()] == [None, film]  # wandb goes on after the run's last step
    line = wandb_log.sync_line(settings, tmp_path / "my run")
    assert line == f"send to wandb: wandb sync '{tmp_path / 'my run'}'/wandb/offline-run-*"
    silent = config.load([*SETTINGS[:3]])
    assert wandb_log.sync_line(silent, tmp_path / "my run") == ""
    with pytest.raises(UserError, match=r"has no wandb runs: train with wandb\.mode=offline or online"):
        wandb_log.send_film(silent, path, 1, tmp_path / "episode.gif", 1, 2)
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(UserError, match="cannot be written, and wandb keeps its files there"):
        wandb_log.check_film(settings, path)
