"""The life of a run: what it leaves, kill -9 and resume, Ctrl-C, a full disk, and folders that are no runs."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

from qllm_jax import files
from qllm_jax.errors import UserError
from qllm_jax.run import checkpoint, continued, folder, stored_logs
from qllm_jax.train import train

SMALL = [
    "n_agents=3", "seeds=2", "total_steps=3000", "log_interval=100", "eval_interval=500", "eval_episodes=4",
    "final_episodes=8", "algo.hidden_dim=8", "algo.batch_episodes=4", "algo.buffer_episodes=32", "algo.n_envs=4",
    "devices=1",  # as in the tests' own process: on other devices, numbers are rounded in another order
]  # fmt: skip
pytestmark = pytest.mark.usefixtures("kept_programs")  # nearly all of these trainings are of one configuration
ONE_DEVICE = {"JAX_NUM_CPU_DEVICES": "1"}  # as in this process, whose compiled programs then fit


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "qllm_jax.train", *arguments]


def lines(path: Path) -> int:
    return len((path / folder.METRICS).read_text().splitlines()) if (path / folder.METRICS).is_file() else 0


def start_until(path: Path, n_lines: int, *arguments: str) -> subprocess.Popen:
    """A training process that has logged at least `n_lines`."""
    process = subprocess.Popen(
        command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ | ONE_DEVICE
    )
    deadline = time.monotonic() + 120
    while lines(path) < n_lines and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    return process


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody interrupted."""
    path = tmp_path_factory.mktemp("runs") / "whole"
    assert train([*SMALL, f"run_dir={path}", "wandb.mode=offline"]) == 0
    return path


def test_a_run_leaves_what_is_needed_to_repeat_and_to_report_it(whole: Path):
    names = {p.name for p in whole.iterdir()}
    assert {"config.yaml", "meta.json", "tfcaf.py", "metrics.jsonl", "timing.jsonl", "checkpoints"} <= names
    assert {"result.json", "marl_eval.json", "wandb"} <= names
    assert "def credit(state)" in (whole / "tfcaf.py").read_text()
    assert json.loads((whole / "meta.json").read_text())["versions"]["jax"]
    evaluations = [r for r in files.read_json_lines(whole / folder.METRICS) if r["event"] == "eval"]
    assert [r["env_steps"] for r in evaluations if r["seed"] == 0] == [0, 500, 1000, 1500, 2000, 2500, 3000]
    earlier, last = sorted((whole / "checkpoints").iterdir())  # which one is the earlier depends on the time it took
    assert last.name == "step_000000003000"
    assert checkpoint.damage(earlier) == checkpoint.damage(last) == ""


def test_marl_eval_json_has_the_structure_of_its_readers(whole: Path):
    times = [each["elapsed_s"] for each in stored_logs.timing(whole) if each["event"] == "eval"]
    runs = json.loads((whole / "marl_eval.json").read_text())["mpe_spread"]["mpe_spread_n3"]["matched_qllm"]
    assert set(runs) == {"seed_0", "seed_1"}
    for run in runs.values():
        assert set(run) == {*(f"step_{i}" for i in range(7)), "absolute_metrics"}
        counts = [run[f"step_{i}"]["step_count"] for i in range(7)]
        interval = np.diff([0, *counts]).mean()  # as marl-eval finds it, which draws evaluation k at k intervals
        assert 6 * interval == 3000
        assert counts == [500, 1000, 1500, 2000, 2500, 3000, 3500]
        assert [run[f"step_{i}"]["elapsed_time"] for i in range(7)] == times
        assert len(run["step_6"]["return"]) == 4
        assert len(run["absolute_metrics"]["return"]) == 8


def test_wandb_has_one_run_a_seed(whole: Path):
    assert len(list((whole / "wandb").glob("offline-run-*"))) == 2


@pytest.mark.thorough
def test_killed_interrupted_and_resumed_equals_never_stopped(whole: Path, tmp_path: Path, capsys):
    path = tmp_path / "killed"
    process = start_until(path, 30, *SMALL, f"run_dir={path}")
    process.kill()
    process.wait()
    assert 30 <= lines(path) < lines(whole)
    process = start_until(path, lines(path) + 8, f"resume={path}")
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 130, output
    assert f"continue: python -m qllm_jax.train resume={path}" in output
    assert lines(path) < lines(whole)
    assert train([f"resume={path}"]) == 0
    assert (path / folder.METRICS).read_bytes() == (whole / folder.METRICS).read_bytes()
    assert "the uniformly random policy" in capsys.readouterr().out
    result = json.loads((path / folder.RESULT).read_text())
    assert result == json.loads((whole / folder.RESULT).read_text())
    meta = json.loads((path / folder.META).read_text())
    assert [set(each) <= set(meta) for each in meta[continued.RESUMED]] == [True, True]
    assert continued.RESUMED not in json.loads((whole / folder.META).read_text())


@pytest.mark.thorough
def test_a_full_disk_is_one_sentence_and_the_run_goes_on_afterwards(whole: Path, tmp_path: Path):
    path = tmp_path / "full"
    limited = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, 12_000)); "
        "from qllm_jax import cli; from qllm_jax.train import train; cli.main(train, None)"
    )
    arguments = [sys.executable, "-c", limited, *SMALL, f"run_dir={path}"]
    done = subprocess.run(arguments, capture_output=True, text=True, env=os.environ | ONE_DEVICE)
    assert done.returncode == 2, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "could not write" in errors[0]
    assert "resume" in errors[0]
    assert "Traceback" not in done.stderr
    assert train([f"resume={path}"]) == 0
    assert (path / folder.METRICS).read_bytes() == (whole / folder.METRICS).read_bytes()


def test_a_checkpoint_of_another_shape_is_refused(whole: Path, tmp_path: Path):
    path = tmp_path / "changed"
    subprocess.run(["cp", "-r", str(whole), str(path)], check=True)
    changed = OmegaConf.load(path / folder.CONFIG)
    changed.algo.hidden_dim = 16
    OmegaConf.save(changed, path / folder.CONFIG)
    (path / folder.META).write_text("{}")  # an older version, which does not know that it was changed
    before = (path / folder.METRICS).read_bytes()
    with pytest.raises(UserError, match=r"does not fit its run: .* is of shape .* there and must be of shape"):
        train([f"resume={path}", "total_steps=4000"])
    assert (path / folder.METRICS).read_bytes() == before


def test_an_old_run_keeps_its_own_credit_function(whole: Path):
    _, recorded = folder.load(str(whole))
    assert recorded.algo.mixer["function"] == str(whole / "tfcaf.py")


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["run_dir={whole}"], "exists already: continue it with resume="),
        (["resume={whole}/nothing"], "is not the folder of a run (it has no config.yaml)"),
        (["resume={whole}", "total_steps=2900"], "total_steps=2900 is less than the 3,000 env steps that"),
        (
            ["resume={whole}", "seeds=3"],
            "devices, unroll, wandb.mode, tensorboard and hosts can change, not seeds",
        ),
    ],
)
def test_folders_are_neither_overwritten_nor_guessed(whole: Path, overrides: list[str], sentence: str):
    before = sorted((p, p.stat().st_mtime_ns) for p in whole.rglob("*"))
    with pytest.raises(UserError, match=r".*") as error:
        train([o.format(whole=whole) for o in overrides])
    assert sentence in str(error.value)
    assert sorted((p, p.stat().st_mtime_ns) for p in whole.rglob("*")) == before


@pytest.mark.parametrize("overrides", [[], ["total_steps=3000"], ["wandb.mode=disabled"], ["devices=2"]])
def test_a_finished_run_that_is_resumed_to_no_more_steps_stays_as_it_is(whole: Path, overrides: list[str], capsys):
    before = sorted((p, p.stat().st_mtime_ns) for p in whole.rglob("*"))
    assert train([f"resume={whole}", *overrides]) == 0
    printed = capsys.readouterr().out
    assert f"{whole} is finished, at step 3,000, and stays as it is; python -m qllm_jax.train" in printed
    assert "return of 8 greedy episodes, best checkpoint: " in printed
    assert sorted((p, p.stat().st_mtime_ns) for p in whole.rglob("*")) == before


def test_a_folder_in_use_is_refused(whole: Path):
    with folder.locked(whole), pytest.raises(UserError, match="is in use: another process uses it"):
        train([f"resume={whole}", "total_steps=4000"])


def test_a_stale_config_names_the_key(whole: Path, tmp_path: Path):
    path = tmp_path / "stale"
    path.mkdir()
    text = (whole / folder.CONFIG).read_text().replace("hidden_dim", "hidden_size")
    (path / folder.CONFIG).write_text(text)
    with pytest.raises(UserError, match=r"config.yaml: .*hidden_size"):
        train([f"resume={path}"])


def test_the_command_ends_mistakes_with_exit_code_2_and_no_traceback(tmp_path: Path):
    done = subprocess.run(command("n_agent=3"), capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: unknown key 'n_agent': did you mean 'n_agents'?")
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
    helped = subprocess.run(command("--help"), capture_output=True, text=True, cwd=tmp_path)
    assert helped.returncode == 0
    assert "python -m qllm_jax.train env=mpe_spread n_agents=25 seeds=5" in helped.stdout
