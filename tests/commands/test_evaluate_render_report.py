"""A finished run can be evaluated, drawn and compared, and every mistake at that is one sentence."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from qllm_envs import mpe_spread
from qllm_envs.core import undrawn
from qllm_jax import cli, config, mixers, stats, tfcaf
from qllm_jax.commands import evaluate as evaluation
from qllm_jax.commands import render
from qllm_jax.commands.evaluate import evaluate
from qllm_jax.commands.render import film_of
from qllm_jax.commands.report import notes, report, wall_time
from qllm_jax.core.rollout import epsilon_greedy, rollout
from qllm_jax.core.types import Episode, Params
from qllm_jax.errors import UserError
from qllm_jax.learners import Core, base, value
from qllm_jax.learners.base import zero_inputs
from qllm_jax.program import experiment
from qllm_jax.reporting import comparison, curves, frames, plotting
from qllm_jax.reporting.gif import LAST_FRAME_MS
from qllm_jax.reporting.style import Scale, weight_color
from qllm_jax.run import load
from qllm_jax.run.load import LoadedRun, load_run

COMMANDS = {"evaluate": evaluate, "render": render.render, "report": report}
T = 10  # of tiny_run


@pytest.fixture(scope="module")
def run(tiny_run: Path) -> LoadedRun:
    return load_run(str(tiny_run))


@pytest.fixture(scope="module")
def episode(run: LoadedRun) -> Episode:
    env, agent = run.exp.env, run.exp.agent
    play = jax.jit(lambda params, key: rollout(env, agent, epsilon_greedy, params, key, jnp.zeros(()), True))
    return play(first_seed(run.params["agent"]), jax.random.key(0))


def first_seed(params: Params) -> Params:
    return jax.tree.map(lambda x: x[0], params)


def weights_of(run: LoadedRun, episode: Episode, mixer: mixers.Mixer, params: Params) -> np.ndarray:
    core = Core(run.exp.env, run.exp.agent, mixer, "adam", standardize=False, reward_scale=1.0)
    both = {"agent": first_seed(run.params["agent"]), "mixer": params}
    return np.asarray(jax.jit(partial(base.credit_weights, value.credit(core)))(both, episode))


@pytest.mark.thorough
def test_default_episodes_give_the_returns_of_result_json(run: LoadedRun):
    result = json.loads((run.path / "result.json").read_text())
    assert (
        evaluation.play(run, result["episodes"], run.exp.config.algo.eval_epsilon).returns.tolist() == result["returns"]
    )
    other = evaluation.play(run, result["episodes"], run.exp.config.algo.eval_epsilon, seed=1)
    assert not np.isin(other.returns, result["returns"]).any()
    assert run.params_steps == result["best_checkpoint_env_steps"]


def test_last_parameters_are_those_of_the_checkpoint(run: LoadedRun):
    last = load_run(str(run.path), "last")
    assert last.params_steps == [400, 400] == [run.env_steps] * 2
    leaf = lambda opened: np.asarray(jax.tree.leaves(opened.params)[0])
    same = [np.array_equal(*rows) for rows in zip(leaf(run), leaf(last), strict=True)]
    assert same == [step == 400 for step in run.params_steps]


def test_evaluate_prints_the_same_numbers_twice(tiny_run: Path, capsys: pytest.CaptureFixture[str]):
    printed = []
    for _ in range(2):
        assert evaluate([str(tiny_run), "episodes=4", "seed=5"]) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]
    assert "return of 4 episodes with epsilon 0:" in printed[0]


def test_epsilon_of_one_is_the_random_policy_and_out_is_written_once(tiny_run: Path, tmp_path: Path):
    out = tmp_path / "numbers.json"
    assert evaluate([str(tiny_run), "episodes=3", "epsilon=1", f"out={out}"]) == 0
    found = json.loads(out.read_text())
    assert found["return_per_seed"] == found["random_policy_per_seed"]
    assert np.shape(found["returns"]) == (2, 3)
    with pytest.raises(UserError, match="exists already: choose another name, or give overwrite=true"):
        evaluate([str(tiny_run), f"out={out}"])
    assert evaluate([str(tiny_run), "episodes=2", f"out={out}", "overwrite=true"]) == 0
    assert json.loads(out.read_text())["episodes"] == 2
    with pytest.raises(UserError, match=r"result\.json is a file of the run"):
        evaluate([str(tiny_run), f"out={tiny_run / 'result.json'}", "overwrite=true"])


def test_weights_of_a_credit_function_are_scaled_by_n(run: LoadedRun, episode: Episode):
    credit = tfcaf.load("mpe_spread", run.exp.env.spec)
    view = jax.vmap(run.exp.env.view)(episode.env_state)
    expected = 3.0 * jax.vmap(credit.credit)(view.fields, view.state)[0]  # (T+1, N)
    mixer = mixers.make("tfcaf", run.exp.env.spec)
    np.testing.assert_allclose(weights_of(run, episode, mixer, {}), expected, rtol=1e-5)


def test_weights_of_vdn_are_one(run: LoadedRun, episode: Episode):
    vdn = mixers.make("vdn", run.exp.env.spec)
    np.testing.assert_array_equal(weights_of(run, episode, vdn, {}), np.ones((T + 1, 3)))


def test_weights_of_qmix_are_its_slopes(run: LoadedRun, episode: Episode):
    qmix = mixers.make("qmix", run.exp.env.spec, embed_dim=4, hypernet_dim=4)
    params = qmix.init(jax.random.key(2), zero_inputs(run.exp.env, jax.random.key(1)))
    weights = weights_of(run, episode, qmix, params)
    assert weights.shape == (T + 1, 3)
    assert (weights >= 0).all()
    assert np.ptp(weights) > 0


def test_drawn_episode_is_the_first_that_evaluate_plays(run: LoadedRun):
    film = film_of(run, index=1, key=7)
    assert film.reward_t.sum() == pytest.approx(evaluation.play(run, 16, 0.0, seed=7).returns[1, 0], rel=1e-4)


def test_gif_has_a_frame_a_slot_and_replaces_only_the_default(tiny_run: Path, tmp_path: Path):
    out = tmp_path / "episode.gif"
    assert render.render([str(tiny_run), f"out={out}", "fps=10"]) == 0
    with Image.open(out) as gif:
        assert (gif.format, gif.n_frames, gif.info["loop"]) == ("GIF", T + 1, 0)  # pyright: ignore[reportAttributeAccessIssue]
        assert gif.info["duration"] == 100
        gif.seek(T)
        assert gif.info["duration"] == LAST_FRAME_MS
    with pytest.raises(UserError, match="exists already"):
        render.render([str(tiny_run), f"out={out}"])
    (tiny_run / render.DEFAULT_OUT).write_text("old")
    assert render.render([str(tiny_run)]) == 0
    assert (tiny_run / render.DEFAULT_OUT).read_bytes().startswith(b"GIF89a")


@pytest.mark.parametrize("n_agents", [1, 25, 200])
def test_any_number_of_agents_and_negative_weights_can_be_drawn(n_agents: int):
    env = mpe_spread.make(n_agents=n_agents)
    scene = env.scene(env.reset(jax.random.key(0)))
    weights = np.linspace(-0.5, 2.0, 2 * n_agents).reshape(2, n_agents)
    film = frames.Film(
        "a title " * 20, (scene, scene._replace(bounds=(-3.0, -1.0, 1.0, 1.0))), weights, np.array([-1.0])
    )
    scale = frames.scale_of(film)
    assert scale == Scale((-3.0, min(-1.0, scene.bounds[1]), *scene.bounds[2:]), -0.5, 2.0, (0.0, 1.0, 2.0))
    first, last = frames.frames(film)
    assert first.size == last.size == (960, 620)
    assert np.ptp(np.asarray(first)[..., 0]) > 200


def test_a_method_without_weights_is_drawn_without_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    sizes = ["n_agents=2", "env.horizon=4", "seeds=1", "algo.n_envs=2", "algo.batch_episodes=2", "algo.hidden_dim=4"]
    exp = experiment.build(config.load(["algo=matched_coma", *sizes]))
    params = exp.program.init(exp.root, exp.seeds, exp.choice)[1].best_params
    monkeypatch.setattr(load, "load_run", lambda *_: LoadedRun(tmp_path, exp, "best", params, [0], 0, 1))
    assert render.render([str(tmp_path)]) == 0
    assert "no weights: matched_coma has no mixer" in capsys.readouterr().out
    with Image.open(tmp_path / render.DEFAULT_OUT) as gif:
        assert gif.n_frames == 4 + 1  # pyright: ignore[reportAttributeAccessIssue]
    bare = exp._replace(env=exp.env._replace(scene=undrawn))
    monkeypatch.setattr(load, "load_run", lambda *_: LoadedRun(tmp_path, bare, "best", params, [0], 0, 1))
    with pytest.raises(UserError, match="mpe_spread has no scene, so it cannot be drawn"):
        render.render([str(tmp_path)])


def test_deeper_color_means_more_credit():
    scale = Scale((0.0, 0.0, 1.0, 1.0), -1.0, 2.0, ())
    red = [weight_color(weight, scale)[0] for weight in (0.0, 0.5, 1.0, 1.5, 2.0)]
    assert red == sorted(red, reverse=True)
    assert weight_color(-0.1, scale)[2] < weight_color(0.1, scale)[2]


def test_report_has_a_picture_and_a_row_a_run(tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    running = tmp_path / "second"
    shutil.copytree(tiny_run, running, ignore=shutil.ignore_patterns("result.json", "checkpoints"))
    out = tmp_path / "curves.png"
    assert report([str(tiny_run), str(running), f"out={out}"]) == 0
    table = [[cell.strip() for cell in line.split("|")[1:-1]] for line in capsys.readouterr().out.splitlines()]
    result = json.loads((tiny_run / "result.json").read_text())
    assert [row[2] for row in table[2:4]] == ["matched_qllm (tiny)", "matched_qllm (second) (running)"]
    assert table[2][:2] + table[2][3:6] == ["mpe_spread_n3", "3", "2", "400", f"{result['return']['mean']:.1f}"]
    assert table[3][4:9] == ["400 of 400", "-", "-", "-", "-"]
    with Image.open(out) as picture:
        assert picture.format == "PNG"
    with pytest.raises(UserError, match="exists already"):
        report([str(tiny_run), f"out={out}"])
    assert report([str(tiny_run), f"out={out}", "overwrite=true"]) == 0


def test_report_gives_differences_from_the_first_run_and_leaves_out_other_folders(
    tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    better, other = tmp_path / "better", tmp_path / "zoo"
    other.mkdir()
    shutil.copytree(tiny_run, better, ignore=shutil.ignore_patterns("checkpoints"))
    result = json.loads((tiny_run / "result.json").read_text())
    scores = np.array(result["return_per_seed"])
    (better / "result.json").write_text(json.dumps(result | {"return_per_seed": (scores + 5.0).tolist()}))
    out = f"out={tmp_path / 'curves.png'}"
    assert report([str(tiny_run), str(better), f"{tiny_run}/", str(other), out]) == 0
    printed = capsys.readouterr().out
    assert printed.count("| matched_qllm (tiny) |") == 2  # a run given twice is one; the other line is the difference's
    low, high = (stats.format_number(x, scores.mean()) for x in stats.welch(scores + 5.0, scores)[1:3])
    assert f"| matched_qllm (better) | matched_qllm (tiny) | 5.0 | {low} to {high} |" in printed
    assert f"Left out, as no folders of runs: {other}." in printed
    with pytest.raises(UserError, match="is not the folder of a run"):
        report([str(other), str(tmp_path), "out=second.png"])


def test_report_keeps_returns_that_mean_different_things_apart(
    tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    other = tmp_path / "other"
    shutil.copytree(tiny_run, other, ignore=shutil.ignore_patterns("checkpoints", "*.jsonl"))
    recorded = (other / "config.yaml").read_text()
    (other / "config.yaml").write_text(recorded.replace("drop_last_reward: false", "drop_last_reward: true"))
    (other / "meta.json").write_text("{}")  # an older version, which does not know that it was changed
    assert report([str(tiny_run), str(other), f"out={tmp_path / 'curves.svg'}"]) == 0
    printed = capsys.readouterr().out
    assert "| mpe_spread_n3 (drop_last_reward=false) | 3 | matched_qllm |" in printed
    assert "| mpe_spread_n3 (drop_last_reward=true) | 3 | matched_qllm (running) | 2 | 0 of 400 |" in printed
    assert "mpe_spread_n3 (drop_last_reward=true): no run is finished" in printed


def test_a_task_with_winners_has_a_curve_of_battles_won(tiny_run: Path, tmp_path: Path):
    record = lambda seed, step, won: {"event": "eval", "seed": seed, "env_steps": step, "return": 1.0 + seed, **won}
    known = [record(seed, step, {"win_rate": step / 40}) for step in (10, 20) for seed in (0, 1)]
    steps, found = comparison.evaluations([*known, record(0, 30, {"win_rate": 1.0})], [0, 1])  # 30: cut short
    assert steps.tolist() == [10, 20]
    assert found["return"].tolist() == [[1.0, 1.0], [2.0, 2.0]]
    assert found["win_rate"].tolist() == [[0.25, 0.5], [0.25, 0.5]]
    unknown = comparison.evaluations([record(seed, 10, {}) for seed in (0, 1)], [0, 1])[1]
    assert list(unknown) == ["return"]
    assert comparison.evaluations([], [0, 1])[1]["return"].shape == (2, 0)

    (entry,) = comparison.read(str(tiny_run))
    (panel,) = comparison.make_panels([entry])
    assert [plot.ylabel[:6] for plot in curves.plots_of(panel)] == ["return"]
    assert entry.result
    result = entry.result | {"random_policy_win_rate": {"mean": 0.25}}
    (panel,) = comparison.make_panels([entry._replace(win_rates=entry.returns, result=result)])
    returns, wins = curves.plots_of(panel)
    assert (returns.random(result), wins.random(result)) == (result["random_policy"]["mean"], 0.25)
    curves.draw([panel], tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.width > 1.9 * picture.height * 5.6 / 4.2  # both side by side
    older = entry._replace(configuration="older")  # a run from before the task had winners
    (panel,) = comparison.make_panels([entry._replace(win_rates=entry.returns, result=result), older])
    curves.draw([panel], tmp_path / "both.png")


def test_runs_of_one_method_are_named_by_what_differs(tiny_run: Path):
    (entry,) = comparison.read(str(tiny_run))
    algo = entry.config.algo
    mixer = {**algo.mixer, "function": "my/mine.py"}
    others = [replace(algo, mixer=mixer), replace(algo, lr=0.01, gamma=0.9)]
    entries = [
        entry,
        *(entry._replace(path=Path(f"{i}"), config=replace(entry.config, algo=each)) for i, each in enumerate(others)),
    ]
    assert comparison.labels(entries) == [
        "matched_qllm mpe_spread (tiny)",
        "matched_qllm mine",
        "matched_qllm mpe_spread (1)",
    ]
    alike = [entry._replace(path=Path(path)) for path in ("a/run", "b/run", "a/other")]
    assert comparison.labels(alike) == [f"matched_qllm ({shown})" for shown in ("a/run", "b/run", "other")]
    found = comparison.differing(entries)
    function = "algo.mixer.function (mpe_spread, my/mine.py, mpe_spread)"
    assert found == {
        algo.name: [function, f"algo.lr ({algo.lr}, {algo.lr}, 0.01)", f"algo.gamma ({algo.gamma}, {algo.gamma}, 0.9)"]
    }


def test_curves_of_a_sweep_are_named_by_what_differs_and_can_begin_after_the_untrained_team(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (entry,) = comparison.read(str(tiny_run))
    swept = [entry._replace(configuration=f"lr={lr}") for lr in (0.1, 0.2)]
    (panel,) = comparison.make_panels(swept)
    assert [curves.short_label(panel, label) for label in panel.labels] == ["lr=0.1", "lr=0.2"]
    assert curves.common_method(panel) == "matched_qllm"
    (alone,) = comparison.make_panels([entry])
    assert curves.short_label(alone, alone.labels[0]) == "matched_qllm"
    drawn: list[tuple[list[int], tuple[int, ...]]] = []
    keep = lambda axes, steps, found, *more: drawn.append((steps.tolist(), found.shape))
    monkeypatch.setattr(curves, "draw_curve", keep)
    curves.draw([alone], tmp_path / "a.png")
    curves.draw([alone], tmp_path / "b.png", with_untrained=False)
    assert drawn == [
        (entry.steps.tolist(), entry.returns.shape),
        (entry.steps[1:].tolist(), entry.returns[:, 1:].shape),
    ]


def test_notes_name_what_a_reader_must_know_before_comparing():
    (entry,) = comparison.read("zoo:matrix_climbing/vdn")
    algo = replace(entry.config.algo, eval_epsilon=0.5)
    other = entry._replace(env_steps=7, config=replace(entry.config, algo=algo, final_episodes=3))
    two_seeds = entry._replace(returns=np.repeat(entry.returns, 2, axis=0))
    for entries, expected in (
        ([entry, entry], []),
        ([entry, two_seeds], ["the runs differ in seeds (1, 2)."]),
        (
            [entry, other],
            [
                "the runs differ in env steps (100,000, 7), evaluation epsilon (0.0, 0.5), "
                f"final episodes ({entry.config.final_episodes}, 3)."
            ],
        ),
        (
            [entry._replace(configuration="lr=1")],
            ["the wall time of a sweep is that of all its configurations together."],
        ),
        (
            [entry, entry._replace(failed=1)],
            ["runs with failed seeds have no mean; what failed is in their metrics.jsonl."],
        ),
        ([entry, entry._replace(result=None)], []),
        ([entry._replace(result=None)], ["no run is finished, so the random policy is not drawn."]),
    ):
        wall_times, *told = notes([comparison.Panel("climbing", entries, [])])
        assert wall_times.startswith("Wall time: ")
        assert told == [f"climbing: {sentence}" for sentence in expected]


def test_wall_time_is_in_hours_or_minutes():
    assert [wall_time(seconds) for seconds in (59.9, 125.0, 3725.0)] == [
        "0 min 59 s",
        "2 min 05 s",
        "1 h 02 min",
    ]


def test_the_legend_is_below_the_curves():
    figure, grid = plotting.panels(1, 1, (5.6, 4.2))
    for i in range(12):
        grid[0].plot([0, 1], [i, i + 1], label=f"lr=0.000{i} gamma=0.99")
    plotting.legend_below(figure, grid)
    figure.canvas.draw()
    (legend,) = figure.legends
    assert legend.get_window_extent().y1 <= grid[0].get_window_extent().y0
    assert legend.get_window_extent().x0 >= 0
    assert legend.get_window_extent().x1 <= figure.bbox.width


@pytest.mark.parametrize("name", COMMANDS)
def test_wrong_folder_and_unknown_key_end_with_code_2(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    sentences = {str(tmp_path / "nowhere"): "is not the folder of a run", "oot=x": "unknown key 'oot'"}
    for argument, sentence in sentences.items():
        monkeypatch.setattr(sys, "argv", [name, argument])
        with pytest.raises(SystemExit) as caught:
            cli.main(COMMANDS[name], None)
        assert caught.value.code == 2
        assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "argument", "sentence"),
    [
        ("evaluate", "episodes=0", "episodes must be an integer of at least 1, got 0"),
        ("evaluate", "episodes=few", "episodes must be of type int, got 'few'"),
        ("evaluate", "epsilon=1.5", "epsilon must be between 0 and 1, got 1.5"),
        ("evaluate", "epsilon=nan", "epsilon must be between 0 and 1, got nan"),
        ("evaluate", "seed=-1", "seed must be an integer of at least 0"),
        ("evaluate", "which=bets", "did you mean 'best'"),
        ("evaluate", "out=x.txt", "must end in .json"),
        ("evaluate", "out=nowhere/x.json", "there is no folder 'nowhere'"),
        ("render", "seed=2", "it has seeds 0 to 1"),
        ("render", "fps=0", "fps must be between 0.1 and 50, got 0"),
        ("render", "key=-1", "key must be at least 0"),
        ("report", "overwrite=yes", "overwrite must be true or false, got 'yes'"),
        ("report", "out=curves.gif", "must end in .png or .pdf or .svg"),
    ],
)
def test_bad_argument_is_one_sentence(name: str, argument: str, sentence: str, tiny_run: Path):
    with pytest.raises(UserError) as caught:
        COMMANDS[name]([str(tiny_run), argument])
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_run_without_a_checkpoint_says_when_there_will_be_one(tiny_run: Path, tmp_path: Path):
    young = tmp_path / "young"
    shutil.copytree(tiny_run, young, ignore=shutil.ignore_patterns("checkpoints"))
    with pytest.raises(UserError, match="has no checkpoint yet: the first one is written at step 200"):
        load_run(str(young))


def test_command_line_has_no_traceback(tmp_path: Path):
    command = [sys.executable, "-m", "qllm_jax.report", str(tmp_path / "nowhere")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=os.environ, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr


def test_small_returns_have_three_decimals_and_all_figures_of_a_sentence_as_many():
    assert (stats.format_number(0.8), stats.format_number(-173.52), stats.format_number(9.9, scale=12.0)) == (
        "0.800",
        "-173.5",
        "9.9",
    )
    assert stats.mean_with_interval(np.array([9.0, 11.0])) == "10.0 (95% CI -2.7 to 22.7, 2 seeds)"
