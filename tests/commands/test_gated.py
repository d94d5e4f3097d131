"""Commands that train verify each credit function before any is loaded; commands that only read start no process.

Jobs of --multirun are in test_multirun.py.
"""

import json
import shutil
from pathlib import Path

import pytest
from conftest import TINY_RUN

from qllm_jax import config, user_cache
from qllm_jax.commands.evaluate import evaluate
from qllm_jax.commands.params import params
from qllm_jax.commands.render import render
from qllm_jax.commands.report import report
from qllm_jax.commands.train import train
from qllm_jax.run import folder, gated
from qllm_jax.tfcaf import TfcafError, gates
from qllm_jax.tfcaf.loading import loader
from qllm_jax.tfcaf.sandbox import process
from qllm_jax.tfcaf.verdict import Location, sha256

GOOD = "def credit(state):\n    return 1.0 + state['agent_pos'][:, 0] ** 2, 0.0\n"
BAD = GOOD.replace("** 2", "")  # negative weights


def settings(function: Path, *more: str) -> config.Config:
    return config.load(["n_agents=3", f"algo.mixer.function={function}", *more])


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(user_cache.VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache" / "verified"


@pytest.fixture
def no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "run", lambda *arguments: pytest.fail("a process was started"))


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The gates refuse the second function that they see, and none may be loaded before; the texts that they saw."""
    seen: list[str] = []

    def require(source: str, file: str, spec: object, kind: str) -> None:
        del spec, kind
        seen.append(source)
        if len(seen) == 2:
            raise TfcafError("NONMONO", Location(file, 2), "a weight is negative", "make weights non-negative")

    monkeypatch.setattr(gates, "require", require)
    monkeypatch.setattr(loader, "define", lambda *arguments: pytest.fail("it was loaded"))
    return seen


def test_a_function_is_verified_once(empty_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "mine.py"
    file.write_text(GOOD)
    gated.build(settings(file))
    assert len(list(empty_cache.iterdir())) == 1
    monkeypatch.setattr(process, "run", lambda *arguments: pytest.fail("a process was started"))
    mixer = gated.build(settings(file)).mixer
    assert mixer is not None
    assert mixer.sources == (GOOD,)


@pytest.mark.usefixtures("empty_cache")
def test_nothing_that_is_refused_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "mine.py"
    file.write_text(BAD)
    monkeypatch.setattr(loader, "define", lambda *arguments: pytest.fail("it was loaded"))
    with pytest.raises(TfcafError, match=r"mine\.py:2: a weight is -.*while IGM is True; make weights non-negative"):
        gated.build(settings(file))


def test_a_new_run_and_a_sweep_verify_all_their_functions(refused: list[str], tmp_path: Path):
    files = [tmp_path / "good.py", tmp_path / "bad.py"]
    for file, text in zip(files, (GOOD, BAD), strict=True):
        file.write_text(text)
    sweep = [*TINY_RUN.split(), f"sweep.tfcaf=[{files[0]},{files[1]}]", f"run_dir={tmp_path / 'run'}"]
    with pytest.raises(TfcafError, match="a weight is negative"):
        train(sweep)
    assert refused == [GOOD, BAD]
    refused[:] = [GOOD]
    one = [*TINY_RUN.split(), f"algo.mixer.function={files[1]}"]
    with pytest.raises(TfcafError, match="a weight is negative"):
        train([*one, f"run_dir={tmp_path / 'run'}"])
    assert not (tmp_path / "run").exists()


def with_function(path: Path, text: str) -> Path:
    """The folder of a run that was begun with another function, as one of an older version of the gates may hold."""
    (path / "tfcaf.py").write_text(text)
    meta = json.loads((path / folder.META).read_text())
    meta[folder.FILES]["sha256"]["tfcaf.py"] = sha256(text)
    (path / folder.META).write_text(json.dumps(meta))
    return path


def test_a_resumed_run_verifies_its_own_copy(refused: list[str], tiny_run: Path, tmp_path: Path):
    path = with_function(shutil.copytree(tiny_run, tmp_path / "run"), BAD)
    refused[:] = [GOOD]
    with pytest.raises(TfcafError, match="a weight is negative"):
        train([f"resume={path}", "total_steps=800"])
    assert refused == [GOOD, BAD]


@pytest.mark.usefixtures("empty_cache", "no_process")
def test_commands_that_only_read_start_no_process(tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """They open a run whose function was changed, too, and say that it has no stored pass."""
    path = with_function(shutil.copytree(tiny_run, tmp_path / "run"), BAD)
    for command, arguments in ((evaluate, ["episodes=2"]), (render, [f"out={tmp_path / 'film.gif'}"])):
        assert command([str(path), *arguments]) == 0
        assert capsys.readouterr().err == (
            f"note: no stored pass of the gates, only the static check, for {path / 'tfcaf.py'}\n"
        )
    assert report([str(path), f"out={tmp_path / 'curves.svg'}"]) == 0
    assert params(["n_agents=3", f"algo.mixer.function={path / 'tfcaf.py'}"]) == 0
    with_function(path, "import os\n" + BAD)
    with pytest.raises(TfcafError, match="import"):
        evaluate([str(path)])
