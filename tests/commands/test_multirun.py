"""--multirun: each job is an ordinary run in a folder of its own, whatever launches it."""

import importlib.util
import json
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest

from qllm_jax.commands import multirun as command
from qllm_jax.config import load
from qllm_jax.errors import UserError
from qllm_jax.run import folder
from qllm_jax.train import train

SMALL = [
    "env.horizon=4", "seeds=2", "total_steps=200", "log_interval=100", "eval_interval=100", "eval_episodes=2",
    "final_episodes=4", "algo.n_envs=2", "algo.batch_episodes=2", "algo.buffer_episodes=8", "algo.hidden_dim=4",
]  # fmt: skip


def multirun(path: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    arguments = ["--multirun", *SMALL, *overrides, f"hydra.sweep.dir={path}"]
    command = [sys.executable, "-m", "qllm_jax.train", *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def assert_runs(done: subprocess.CompletedProcess[str], path: Path, names: list[str]) -> None:
    """All jobs succeeded, and the last lines say where each run is."""
    assert done.returncode == 0, done.stderr
    for number, (name, line) in enumerate(zip(names, done.stdout.splitlines()[-len(names) :], strict=True)):
        result = json.loads((path / str(number) / folder.RESULT).read_text())
        assert re.split(r"  +", line) == [name, str(path / str(number)), f"return {result['return']['mean']:.4g}"]
        config = folder.load(str(path / str(number)))[1]
        assert (config.run_dir, config.wandb.group) == (str(path / str(number)), f"{path.name}/{number}")


@pytest.mark.thorough
def test_jobs_one_after_another(tmp_path: Path):
    path = tmp_path / "jobs, one by one"
    done = multirun(Path(f"'{path}'"), "algo=matched_vdn", "n_agents=2", "seed=0,1")
    assert_runs(done, path, ["seed=0", "seed=1"])


@pytest.mark.thorough
def test_jobs_that_fail_are_told_at_the_end_and_functions_are_verified(tmp_path: Path):
    function = tmp_path / "bad.py"
    function.write_text("def credit(state):\n    return state['agent_pos'][:, 0], 0.0\n")
    done = multirun(tmp_path / "jobs", "n_agents=2", f"algo.mixer.function={function}", "seed=-1,0")
    assert done.returncode == 1
    seed, refused = done.stdout.splitlines()[-2:]
    assert seed == "seed=-1  failed: seed must be greater than or equal to 0, got -1"
    assert refused.startswith(f"seed=0   failed: {function}:2: a weight is -")
    with pytest.raises(UserError, match="holds another multirun"):
        train(["--multirun", *SMALL, "seed=1,2", f"hydra.sweep.dir={tmp_path / 'jobs'}"])


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("resume=runs/x", "resume= belongs to one run, and --multirun starts many"),
        ("++resume=runs/x", "resume= belongs to one run, and --multirun starts many"),
        ("n_agentz=1,2", "unknown key 'n_agentz': did you mean 'n_agents'?"),
        ("env=duty,no/game.py:make", "env 'no/game.py:make' is a part from outside, which --multirun takes alone"),
        ("--wandb", "options have no dashes: wandb"),
        ("seed=range(3,3)", "--multirun started no run: a key has no values"),
        ("env=5", "Config group override must be a string or a list. Got int"),
        ("=3", "Config group override must be a string or a list. Got int"),
    ],
)
def test_a_mistake_starts_no_job(override: str, sentence: str, tmp_path: Path):
    with pytest.raises(UserError) as error:
        train(["--multirun", *SMALL, override, f"hydra.sweep.dir={tmp_path / 'jobs'}"])
    assert str(error.value).startswith(sentence)
    assert not (tmp_path / "jobs" / "jobs").exists()


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["algo=qllm,vdn", "algo.mixer.function=mine.py"], "algo.mixer.function: the mixer 'vdn' reads no credit"),
        (["algo=glob(matched_v*)", "algo.mixr=3"], "unknown key 'algo.mixr': did you mean 'mixer'?"),
        (["env=duty,relay", "env.delay=2"], "unknown key 'env.delay': choose from "),
        (["env=examples/buttons.py:make", "algo=vdn,qmix", "algo.lrr=3"], "unknown key 'algo.lrr': did you mean 'lr'?"),
    ],
)
def test_a_key_that_not_all_choices_of_a_group_have_is_named(overrides: list[str], sentence: str, tmp_path: Path):
    with pytest.raises(UserError) as error:
        train(["--multirun", *overrides, f"hydra.sweep.dir={tmp_path / 'jobs'}"])
    assert str(error.value).startswith(sentence)


@pytest.mark.slow
@pytest.mark.skipif(not importlib.util.find_spec("submitit"), reason="needs the extra slurm")
def test_jobs_of_submitit_are_the_same(tmp_path: Path):
    path = tmp_path / "jobs"
    done = multirun(path, "hydra/launcher=submitit_local", "algo=matched_qmix,matched_vdn", "n_agents=1,2")
    assert_runs(done, path, [f"algo={algo} n_agents={n}" for algo in ("matched_qmix", "matched_vdn") for n in (1, 2)])


def test_a_key_that_is_given_twice_is_refused_as_hydra_would_lose_the_sweep():
    with pytest.raises(UserError, match=r"algo.lr is given twice, algo.lr=1e-3,1e-4 and algo.lr=1e-2: give it once"):
        command.multirun(["algo.lr=1e-3,1e-4", "algo.lr=1e-2"])


@pytest.fixture
def fake_train(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Jobs that write a result and no more; their folders."""
    made: list[Path] = []

    def train_nothing(overrides: list[str]) -> int:
        path = Path(load(overrides).run_dir or "")
        path.mkdir(parents=True, exist_ok=True)
        (path / folder.RESULT).write_text(json.dumps({"return": {"mean": 1.5}}))
        made.append(path)
        return 0

    monkeypatch.setattr(command.train, "train", train_nothing)
    return made


@pytest.mark.parametrize(
    ("overrides", "folders"),
    [
        (["hydra.sweep.dir=of all"], ["of all/0", "of all/1"]),
        (["hydra.sweep.dir='of/${env.name}'"], ["of/mpe_spread/0", "of/mpe_spread/1"]),
        (["hydra.sweep.dir=of", "hydra.sweep.subdir='a/${hydra.job.num}'"], ["of/a/0", "of/a/1"]),
        (["hydra.sweep.dir=of", "run_dir='mine/${seed}'"], ["mine/3", "mine/4"]),
        (["hydra.sweep.dir=of", "run_dir=a,b", "seed=3"], ["a", "b"]),
    ],
)
def test_each_job_is_told_with_its_folder(
    overrides: list[str],
    folders: list[str],
    fake_train: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    assert command.multirun([*overrides, *([] if "seed=3" in overrides else ["seed=3,4"])]) == 0
    assert [path.resolve() for path in fake_train] == [tmp_path / name for name in folders]
    told = capsys.readouterr().out.splitlines()[-2:]
    assert [re.split(r"  +", line)[1:] for line in told] == [[str(path), "return 1.5"] for path in fake_train]


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["run_dir=mine"], "run_dir=mine is the folder of one run, and seed gives several: hydra.sweep.dir=FOLDER"),
        (["hydra.sweep.dir="], "hydra.sweep.dir must not be empty: leave it out, or give a folder"),
        (["hydra.sweep.dir=taken"], "the folder '{}/taken' cannot be made: File exists"),
        (["hydra.sweep.dir='${nothing}'"], "hydra.sweep.dir='${nothing}' is not a folder: Interpolation key 'nothing'"),
    ],
)
def test_a_folder_that_cannot_be_starts_no_job(
    overrides: list[str], sentence: str, fake_train: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").write_text("")
    with pytest.raises(UserError) as error:
        command.multirun([*overrides, "seed=0,1"])
    assert str(error.value).startswith(sentence.replace("{}", str(tmp_path)))
    assert fake_train == []


def test_the_return_of_a_sweep_is_that_of_its_best_configuration(tmp_path: Path):
    def told(*means: float | None) -> tuple[float, str]:
        blocks = [{"configuration": f"lr={i}", "return": {"mean": mean}} for i, mean in enumerate(means)]
        (tmp_path / folder.RESULT).write_text(json.dumps({"configurations": blocks}))
        return command.final_return(tmp_path)

    assert told(-2.0, -1.0, None) == (-1.0, " (the best of 3 configurations: lr=1)")
    failed, of = told(None, None)
    assert (math.isnan(failed), of) == (True, "")


def test_a_job_that_is_interrupted_ends_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(command.train, "train", lambda _: 130)
    with pytest.raises(KeyboardInterrupt):
        command.multirun(["seed=0,1", f"hydra.sweep.dir={tmp_path}"])
    record = json.loads((tmp_path / command.JOBS / "0000.json").read_text())
    assert (record["overrides"], record["error"]) == (["seed=0"], "KeyboardInterrupt")
    assert not (tmp_path / command.JOBS / "0001.json").exists()
