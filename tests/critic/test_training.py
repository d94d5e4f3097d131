"""Whole trainings with a critic, killed and resumed, and trainings from the dataset of one alone."""

import json
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qllm_jax import config
from qllm_jax.commands import dataset
from qllm_jax.core import dataset as format_of
from qllm_jax.critic import opening, rule
from qllm_jax.errors import UserError
from qllm_jax.llm import transcript as transcripts
from qllm_jax.program import experiment
from qllm_jax.program.experiment import Experiment
from qllm_jax.run import checkpoint, folder, load, loop
from qllm_jax.run.checkpoint import HostState, TrainState
from qllm_jax.studies import results
from qllm_jax.studies.trainings import Trained

pytestmark = pytest.mark.thorough

SIZES = [
    "env=duty", "n_agents=2", "env.horizon=3", "algo=matched_mca", "algo.hidden_dim=4", "algo.n_envs=2", "seeds=2",
    "algo.batch_episodes=4", "algo.buffer_episodes=8", "devices=1", "algo.learner.function=duty_by_rule",
    "eval_episodes=2", "final_episodes=2", "total_steps=60", "eval_interval=30", "log_interval=12",
]  # fmt: skip
CRITIC = [*SIZES, "algo.learner.critic=rule", "algo.learner.asking.episodes=2", "algo.learner.asking.interval=20"]


class KillError(BaseException):
    """The end of a process by kill -9."""


@pytest.fixture(scope="module")
def exp() -> Experiment:
    return experiment.build(config.load(CRITIC))


@pytest.fixture(scope="module")
def run(exp: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was trained without a break."""
    path = tmp_path_factory.mktemp("runs") / "whole"
    train(exp, path)
    return path


def train(exp: Experiment, path: Path) -> None:
    if not path.exists():
        folder.create(path, replace(exp.config, run_dir=str(path)), exp.sources)
    assert loop.train(exp, path, open_between=opening.opened).finished


def asked(path: Path) -> list[tuple]:
    records = transcripts.read(path / opening.FOLDER / transcripts.NAME)[0]
    return [tuple(record["place"]) for record in records if record["kind"] == "reply"]


def test_the_program_is_traced_once_however_often_the_critic_is_asked(exp: Experiment, run: Path):
    assert len(asked(run)) == len(set(asked(run))) == 2 * 2 * 3  # runs, questions, rounds: at steps 6, 24 and 42
    for program in (exp.program.chunk, exp.program.relabel, exp.program.stored_episodes):
        assert program._cache_size() == 1  # pyright: ignore[reportFunctionMemberAccess]
    records = [json.loads(line) for line in (run / folder.METRICS).read_text().splitlines()]
    shares = [record["labelled_share"] for record in records if record["event"] == "train"]
    assert 0 < max(shares) <= 1


@pytest.mark.parametrize("n_answers", [5, pytest.param(9, marks=pytest.mark.slow)])  # before and after a checkpoint
def test_a_run_that_is_killed_between_answers_asks_nothing_twice(
    n_answers: int, exp: Experiment, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The metrics are those of the run without a break, byte for byte."""
    real, given = rule.make, []

    def dying(answers: rule.Answers):
        llm = real(answers)

        def ask(request, folder, seconds):
            if len(given) == n_answers:
                raise KillError
            given.append(request.id)
            return llm.ask(request, folder, seconds)

        return llm._replace(ask=ask)

    path = tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr(rule, "make", dying)
        with pytest.raises(KillError):
            train(exp, path)
    train(exp, path)
    assert (path / folder.METRICS).read_bytes() == (run / folder.METRICS).read_bytes()
    assert asked(path) == asked(run)


@pytest.fixture(scope="module")
def file(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "duty.npz"
    assert dataset.dataset([str(run), f"out={path}"]) == 0
    return path


def test_a_dataset_has_the_credit_that_was_learned_from_and_explanations(exp: Experiment, file: Path):
    with np.load(file) as stored:
        found = dict(stored)
    described = json.loads(format_of.sidecar(file).read_text())
    assert len(found["credit"]) == described["episodes"] == 2 * 8
    paid = np.where(found["field/on_duty"][:, :-1] > 0.5, found["reward"][..., None], 0.0)
    labelled = found["labelled"]
    np.testing.assert_allclose(found["credit"][labelled], paid[labelled], rtol=1e-5)
    np.testing.assert_allclose(found["credit"][~labelled], found["reward"][~labelled][..., None].repeat(2, -1) / 2)
    told = {(each["run"], each["number"]) for each in described["explanations"]}
    assert told == set(zip(found["run"][labelled].tolist(), found["number"][labelled].tolist(), strict=True))
    assert found["obs"].shape == (16, 4, 2, exp.env.spec.obs_dim)


def test_training_from_a_dataset_plays_nothing(file: Path):
    exp = experiment.build(config.load([*without_function(SIZES), f"algo.learner.data={file}"]))
    state = exp.program.warmup(*experiment.init(exp), exp.hp)
    before = jax.tree.map(np.array, state[1].storage)
    clock, runs, metrics = exp.program.chunk(*state, exp.hp, jnp.asarray(3))
    same = jax.tree.map(lambda x, y: bool(np.all(np.asarray(x) == y)), runs.storage, before)
    assert all(jax.tree.leaves(same))
    assert np.isfinite(metrics["loss"]).all()
    assert int(clock.updates) == 3
    assert before.action_t.shape == (16, 3, 2)  # once for all runs


@pytest.mark.parametrize("copies", [False, True])
def test_a_dataset_is_not_in_checkpoints_and_older_ones_with_a_copy_for_each_run_are_read(
    copies: bool, file: Path, tmp_path: Path
):
    exp = experiment.build(config.load([*without_function(SIZES), f"algo.learner.data={file}"]))
    clock, runs = experiment.init(exp)
    each = jax.tree.map(lambda x: jnp.broadcast_to(x, (len(exp.seeds), *x.shape)), runs.storage) if copies else None
    checkpoint.save(tmp_path, TrainState(clock, runs._replace(storage=each)), HostState(0, 0, 0.0))
    (stored,) = checkpoint.newest_first(tmp_path)
    restored = load.read_checkpoint(exp, stored)[0].runs
    numbers = lambda runs: jax.tree.leaves((runs.learner.params, runs.storage))
    for found, expected in zip(numbers(restored), numbers(runs), strict=True):
        np.testing.assert_array_equal(found, expected)


def without_function(settings: list[str]) -> list[str]:
    """A dataset has its credit."""
    return [each for each in settings if not each.startswith("algo.learner.function=")]


def test_a_run_finds_its_dataset_again_and_says_that_it_has_changed(
    file: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    (tmp_path / "here").mkdir()
    for each in (file, format_of.sidecar(file)):
        (tmp_path / "here" / each.name).write_bytes(each.read_bytes())
    monkeypatch.chdir(tmp_path / "here")
    settings = config.load([*without_function(SIZES), "algo.learner.data=duty.npz", f"run_dir={tmp_path / 'offline'}"])
    folder.create(tmp_path / "offline", settings, [])
    monkeypatch.chdir(tmp_path)
    opened = folder.load(str(tmp_path / "offline"))[1]
    assert opened.algo.learner["data"] == str(tmp_path / "here/duty.npz")
    folder.check_parts(tmp_path / "offline", opened, resumes=True)
    dataset.dataset([str(run), f"out={tmp_path / 'here/duty.npz'}", "views=false", "overwrite=true"])
    folder.check_parts(tmp_path / "offline", opened)
    assert "was begun with the dataset" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"duty\.npz, which has changed since: restore it"):
        folder.check_parts(tmp_path / "offline", opened, resumes=True)
    with pytest.raises(UserError, match=r"meta\.json is a file of the run"):
        dataset.dataset([str(run), f"out={run / 'meta.npz'}", "overwrite=true"])


WRONG = {
    "another task": (["env=relay"], "task='duty"),
    "other sizes": (["env=duty", "env.horizon=4"], "horizon=3"),
    "too few": (["algo.batch_episodes=17"], "at most the 16 episodes"),
    "another meaning of the time limit": (["env.time_limit_is_terminal=false"], "env.time_limit_is_terminal=true: set"),
    "with a critic": (["algo.learner.critic=llm"], "has credit already"),
    "with a function": (["algo.learner.function=duty:shuffled"], "function is not read, as algo.learner.data gives"),
    "with several": (["sweep.tfcaf=[duty,duty_by_rule]"], "functions that are read, and algo.learner.data gives"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_is_named(name: str, file: Path):
    changes, sentence = WRONG[name]
    replaced = "env" if changes[0].startswith("env=relay") else "none"
    base = [each for each in without_function(SIZES) if not each.startswith(replaced)]
    with pytest.raises(UserError, match=sentence):
        experiment.build(config.load([*base, "algo.buffer_episodes=20", f"algo.learner.data={file}", *changes]))


def test_damaged_and_foreign_files_are_named(exp: Experiment, file: Path, tmp_path: Path):
    with pytest.raises(UserError, match="there is no dataset"):
        format_of.read(tmp_path / "none.npz", exp.env)
    described = json.loads(format_of.sidecar(file).read_text())
    for changes, sentence in [({"version": 2}, "version 2; this package reads"), ({"format": "zarr"}, "'zarr'")]:
        other = tmp_path / "other.npz"
        other.write_bytes(file.read_bytes())
        format_of.sidecar(other).write_text(json.dumps(described | changes))
        with pytest.raises(UserError, match=sentence):
            format_of.read(other, exp.env)
    (tmp_path / "cut.npz").write_bytes(file.read_bytes()[:1000])
    format_of.sidecar(tmp_path / "cut.npz").write_text(json.dumps(described))
    with pytest.raises(UserError, match="is damaged"):
        format_of.read(tmp_path / "cut.npz", exp.env)
    with np.load(file) as stored:
        content = dict(stored)
    content["credit"][0] = np.nan
    format_of.write(tmp_path / "nan.npz", content, described)
    with pytest.raises(UserError, match="must be finite"):
        format_of.read(tmp_path / "nan.npz", exp.env)
    content["credit"][0] = 0.0
    action, n_actions = content["action"], exp.env.spec.n_actions
    for changes, sentence in [
        ({"action": np.where(action == action[0, 0, 0], n_actions, action)}, f"must be from 0 to {n_actions - 1}"),
        ({"action": action - n_actions}, "actions must be from 0"),
        ({"reward": content["reward"][:, 1:]}, "reward has the shape"),
        ({"number": content["number"][1:]}, "number has the shape"),
    ]:
        format_of.write(tmp_path / "other.npz", content | changes, described)
        with pytest.raises(UserError, match=sentence):
            format_of.read(tmp_path / "other.npz", exp.env)


def test_a_study_counts_the_questions_of_a_training(exp: Experiment, run: Path):
    counts = results.critic(Trained(run, exp.config, {}))["critic"]
    assert (counts["questions"], counts["answered"], counts["faults"]) == (12, 12, {})
    assert "seconds" not in counts  # it would differ between machines
    assert results.critic(Trained(run / "critic", exp.config, {})) == {}
