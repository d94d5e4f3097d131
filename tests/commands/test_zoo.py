"""The zoo: an added policy acts as its run does, all commands take its name, what ships returns what is written."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest

import qllm_jax as qj
from qllm_jax.commands import evaluate, explain, render, report, train
from qllm_jax.commands import zoo as command
from qllm_jax.commands.zoo import zoo as run_command
from qllm_jax.errors import UserError
from qllm_jax.run import load, zoo

pytestmark = pytest.mark.thorough

QUICK = ["duty_n10/qllm", "matrix_climbing/qmix"]
SHIPPED = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in zoo.names()]


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_policy_returns_what_is_written(name: str):
    """To 1% and a tenth of the interval: rounding differs between machines, and a close choice between two actions."""
    run = qj.load(f"zoo:{name}")
    written = json.loads((run.path / "result.json").read_text())["return"]["mean"]
    found = float(run.evaluate(run.scores.returns.shape[1]).returns.mean())
    half = command.half_width(command.read(run.path)[1])
    assert written == pytest.approx(float(run.returns[0]))
    assert found == pytest.approx(written, rel=0.01, abs=0.1 * half)


def test_the_zoo_is_small_and_names_nobody_s_machine():
    files = [file for file in zoo.LIBRARY.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) < 9_000_000
    texts = [file.read_text() for file in files if file.suffix != ".safetensors"]
    assert not any(word in text for text in texts for word in ("/home", "/tmp", "/root"))
    assert {
        "+dirty" in json.loads((zoo.LIBRARY / name / "meta.json").read_text())["commit"] for name in zoo.names()
    } == {False}


@pytest.fixture(scope="module")
def library(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory):
    """A library that holds tiny/qllm alone, of the first seed of `tiny_run`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zoo, "LIBRARY", tmp_path_factory.mktemp("library"))
        assert run_command(["add", str(tiny_run), "tiny/qllm", "episodes=8"]) == 0
        yield zoo.LIBRARY


def test_an_added_policy_is_that_of_the_first_seed(library: Path, tiny_run: Path):
    run, entry = load.load_run(str(tiny_run)), load.load_run("zoo:tiny/qllm")
    jax.tree.map(lambda both, one: np.testing.assert_array_equal(both[:1], one), run.params, entry.params)
    assert (entry.params_steps, entry.env_steps) == (run.params_steps[:1], run.env_steps)
    assert entry.exp.config.algo.mixer["function"] == str(library / "tiny/qllm/tfcaf.py")
    found = qj.load("zoo:tiny/qllm")
    np.testing.assert_array_equal(found.evaluate(8).returns, found.scores.returns)
    np.testing.assert_allclose(found.evaluate(8).returns[0], qj.load(tiny_run).evaluate(8).returns[0], rtol=1e-4)
    assert sorted(each.name for each in (library / "tiny/qllm").iterdir()) == [
        "config.yaml", "meta.json", "metrics.jsonl", "policy.safetensors", "result.json", "tfcaf.py", "timing.jsonl",
    ]  # fmt: skip
    origin, stored = (json.loads((path / "meta.json").read_text()) for path in (tiny_run, library / "tiny/qllm"))
    assert all(stored[key] == origin[key] for key in ("command", "commit", "started", "versions", "platform"))
    np.testing.assert_allclose(stored["zoo"]["return_per_seed"], qj.load(tiny_run).returns, rtol=1e-5)


def test_all_commands_take_its_name_and_write_beside_it(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    monkeypatch.chdir(tmp_path)
    before = sorted(library.rglob("*"))
    assert evaluate.evaluate(["zoo:tiny/qllm", "episodes=8"]) == 0
    assert render.render(["zoo:tiny/qllm"]) == 0
    assert report.report(["zoo:tiny/qllm"]) == 0
    assert (tmp_path / "runs/zoo/tiny/qllm/episode.gif").is_file()
    assert explain.outputs(None, "zoo:tiny/qllm", False)[1] == Path("runs/zoo/tiny/qllm/explain.json")
    assert sorted(library.rglob("*")) == before
    assert "| matched_qllm | 1 |" in capsys.readouterr().out


def test_it_is_listed_with_its_origin(library: Path, capsys: pytest.CaptureFixture):
    del library
    assert run_command([]) == 0
    assert run_command(["zoo:tiny/qllm"]) == 0
    listed, described = capsys.readouterr().out.split("zoo:tiny/qllm\n")
    mean, half = (
        float(qj.load("zoo:tiny/qllm").returns[0]),
        command.half_width(command.read(zoo.path_of("zoo:tiny/qllm"))[1]),
    )
    assert f"| `zoo:tiny/qllm` | {mean:,.1f} ± {half:,.1f} |" in listed
    assert "mean and 95% interval of 8 greedy episodes" in described
    assert "the first of 2, whose returns are" in described


def test_the_groups_of_a_run_are_no_runs_to_add(tmp_path: Path):
    for file in ("tag/qllm/config.yaml", "big/config.yaml", "big/meta.json", "big/group_000/config.yaml"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    assert command.to_add([str(tmp_path)]) == [(tmp_path / "tag/qllm", "tag/qllm")]


@pytest.mark.parametrize("trained", [None, {"failed": [{"seed": 1}]}])
def test_a_run_that_is_not_finished_or_failed_is_not_added(
    trained: dict | None, library: Path, tiny_run: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(command.results, "read_finished", lambda *_: trained)
    with pytest.raises(UserError, match="cannot be added: it is not finished, or a seed failed"):
        command.add(tiny_run, "tiny/other", 8, False)
    assert not (library / "tiny/other").exists()


def test_mistakes_name_what_there_is(library: Path, tiny_run: Path):
    mistakes = {
        "zoo:tiny/qmix does not exist: did you mean 'tiny/qllm'": lambda: qj.load("zoo:tiny/qmix"),
        "has the parameters of the best evaluation alone": lambda: load.load_run("zoo:tiny/qllm", "last"),
        "so training cannot go on": lambda: train.train(["resume=zoo:tiny/qllm", "total_steps=100000"]),
        "exists already: choose another name": lambda: run_command(["add", str(tiny_run), "tiny/qllm"]),
        "after add, give the folder": lambda: run_command(["add", str(tiny_run), "../qllm"]),
        "the zoo takes the folder of one": lambda: command.add(library / "tiny/qllm", "tiny/other", 8, False),
    }
    for sentence, attempt in mistakes.items():
        with pytest.raises(UserError, match=sentence):
            attempt()
