"""Systems are timed in loops that learned, peers from clones that stay as they are. No timing is asserted."""

import json
import statistics
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from qllm_jax.errors import UserError

pytestmark = pytest.mark.thorough

CLONES = Path(__file__).with_name("clones")  # of the parts of the peers that are touched
SIZES = {"agents": 3, "seeds": 2, "envs": 8, "batch": 32, "hidden": 8, "buffer": 320}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--jaxmarl", "{empty}"], "is no clone of github.com/FLAIROx/JaxMARL"),
        (["--jaxmarl", "{jaxmarl}", "--out", "{empty}/old.json"], "exists already"),
        (["--jaxmarl", "{jaxmarl}", "--algos", "matched_qmax"], "'matched_qmax' does not exist"),
        (["--jaxmarl", "{jaxmarl}", "--buffer", "100"], "the replay must hold at least 256"),
        (["--jaxmarl", "{jaxmarl}", "--seeds", "0"], "must be an integer of at least 1"),
        (
            ["--jaxmarl", "{jaxmarl}", "--updates", "100"],
            "would test in every 125. update: between two tests must be 135",
        ),
        (["--epymarl", "{epymarl}"], "are given together or not at all"),
        (["--epymarl", "{empty}", "--epymarl-python", "{python}"], "is no clone of github.com/uoe-agents/epymarl"),
        (["--epymarl", "{epymarl}", "--epymarl-python", "{empty}"], "is no Python to start"),
    ],
)
def test_throughput_refuses(arguments, sentence, load, mistake_of, tmp_path, monkeypatch):
    (tmp_path / "old.json").write_text("kept")
    paths = {"jaxmarl": CLONES / "jaxmarl", "epymarl": CLONES / "epymarl", "empty": tmp_path, "python": sys.executable}
    monkeypatch.setattr(load("jaxmarl_qmix"), "NEEDS", ())
    assert sentence in mistake_of("throughput", *(argument.format(**paths) for argument in arguments))
    assert (tmp_path / "old.json").read_text() == "kept"


def test_throughput_names_missing_packages(load, monkeypatch):
    jaxmarl, sizes = load("jaxmarl_qmix"), load("workload").Sizes(**SIZES)
    monkeypatch.setattr(jaxmarl, "NEEDS", ("jax", "no_such_package"))
    with pytest.raises(UserError, match=r'\(no_such_package\): pip install "jaxmarl\[algs\]"'):
        jaxmarl.check(CLONES / "jaxmarl", sizes, 1)


def test_a_worker_answers_from_a_process_of_its_own(load):
    head = load("systems", "--x").head("numpy")
    assert set(head) == {"command", "started", "hardware", "versions", "commit"}
    assert head["command"] == "systems.py --x"


def test_a_mistake_that_a_worker_finds_is_the_sentence_of_its_starter(load, monkeypatch, capsys):
    systems = load("systems", "--worker", "{}")

    def mistaken(job):
        del job
        raise UserError("no such task")

    with pytest.raises(SystemExit) as stop:
        systems.answer(mistaken)
    assert stop.value.code == 2
    ended = subprocess.CompletedProcess([], 2, "", f"a warning\n{capsys.readouterr().err}")
    monkeypatch.setattr(systems.subprocess, "run", lambda *args, **options: ended)
    with pytest.raises(SystemExit) as stop:
        systems.in_process("memory.py", {})
    assert (stop.value.code, capsys.readouterr().err) == (2, "error: no such task\n")


def test_a_worker_measures_the_system_of_its_job(load, monkeypatch):
    throughput = load("throughput")
    monkeypatch.setattr(throughput.systems, "ours", lambda job: "ours")
    monkeypatch.setattr(throughput.jaxmarl_qmix, "make", lambda job: "theirs")
    monkeypatch.setattr(throughput.systems, "measure", lambda system, job: ({"measured": system}, None))
    systems = ("matched_vdn", throughput.jaxmarl_qmix.NAME)
    assert [throughput.work({"system": name})["measured"] for name in systems] == ["ours", "theirs"]


def test_rows_compare_round_by_round(load, monkeypatch):
    throughput = load("throughput", "--jaxmarl", "x", "--algos", "a", "--repeats", "2", "--evaluation")
    monkeypatch.setattr(throughput, "check", lambda args: None)
    updates = {"a": iter([1.0, 2.0]), "jaxmarl_qmix": iter([3.0, 8.0])}
    figures = {
        "evaluation_ms": 10.0,
        "evaluation_every_updates": 10,
        "evaluation_episodes": 32,
        "steps_per_update": 200,
    }
    figures |= {"samples_ms": [], "compile_s": 1.0, "floor_ms": 0.5, "state_bytes": 10**6}
    monkeypatch.setattr(throughput, "run", lambda job: figures | {"update_ms": next(updates[job["system"]])})
    ours, peer = throughput.compare(throughput.arguments(), agents=3, seeds=5)
    assert ours["whole_ms"] == [2.0, 3.0]
    assert ours["speed_to_jaxmarl"] == [2.0, 3.0]  # (3 + 1) / (1 + 1), (8 + 1) / (2 + 1)
    assert ours["times_floor"] == [2.0, 4.0]
    cells = {heading: cell(ours) for heading, cell in throughput.columns([ours, peer]).items()}
    assert cells["times jaxmarl's speed"] == "2.50 (2.00 to 3.00)"
    assert cells["ms per update with its share of evaluation"] == "2.50 (2.00 to 3.00)"


@pytest.fixture(scope="module")
def peer():
    """JaxMARL's system, from a clone that has its loop."""
    patch = pytest.MonkeyPatch()
    patch.syspath_prepend(Path(__file__).resolve().parents[2] / "benchmarks")
    import jaxmarl_qmix  # pyright: ignore[reportMissingImports]

    job = {
        "system": "jaxmarl_qmix",
        "sizes": SIZES,
        "updates": 2,
        "evaluation": True,
        "jaxmarl": str(CLONES / "jaxmarl"),
    }
    yield jaxmarl_qmix.make(job), job
    patch.undo()
    sys.modules.pop("qmix_rnn", None)


def test_jaxmarl_is_entered_where_it_learns_and_tests(peer):
    system, _ = peer
    returns = lambda state: jax.device_get(state[-2]).tolist()  # its test's result, after the counters
    state = jax.tree.map(lambda leaf: leaf.copy(), system.state)
    assert system.gradient_steps(state) == 1  # from the 32nd write on
    before = returns(state)
    state = system.run(state, 3)
    assert system.gradient_steps(state) == 4
    assert returns(state) == before  # no test was due, though its test is on
    state, result = system.evaluation.run(state)
    assert system.gradient_steps(state) == 4 + system.evaluation.updates
    assert returns(state) == result["return"].tolist() != before
    assert (system.evaluation.every, system.evaluation.episodes) == (125, 512)  # as its yaml says
    assert system.flops == 2 * 3**3


def test_jaxmarl_is_measured(peer, load):
    figures, _ = load("systems").measure(*peer)
    assert len(figures["samples_ms"]) == 3
    assert figures["evaluation_every_updates"] == 125
    assert figures["steps_per_update"] == 5 * 8


def epymarl(load, tmp_path, monkeypatch):
    """epymarl's figures from a clone that has its loop, run by this Python with packages that only have a version."""
    for name in ("torch", "pettingzoo", "gymnasium"):
        (tmp_path / f"{name}-1.0.dist-info").mkdir()
        (tmp_path / f"{name}-1.0.dist-info" / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
        )
    (tmp_path / "python").write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path} exec {sys.executable} "$@"\n')
    (tmp_path / "python").chmod(0o755)
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    job = {"sizes": SIZES, "updates": 2, "evaluation": True, "epymarl": str(CLONES / "epymarl")}
    return load("epymarl_qmix").measure(job | {"epymarl_python": str(tmp_path / "python")})


def test_epymarl_is_timed_by_its_own_python(load, tmp_path, monkeypatch):
    before = sorted(CLONES.rglob("*"))
    figures = epymarl(load, tmp_path, monkeypatch)
    assert figures["update_ms"] == statistics.median(figures["samples_ms"])
    assert (len(figures["samples_ms"]), figures["steps_per_update"]) == (3, 200)
    assert (figures["evaluation_episodes"], figures["evaluation_every_updates"]) == (96, 250)
    assert "torch 1.0" in figures["versions"]
    assert sorted(CLONES.rglob("*")) == before
    assert json.dumps(figures)


def test_epymarl_has_to_learn(load, tmp_path, monkeypatch):
    monkeypatch.setenv("LEARN_NOTHING", "1")
    with pytest.raises(SystemExit, match="epymarl did not learn in a timed loop"):
        epymarl(load, tmp_path, monkeypatch)
