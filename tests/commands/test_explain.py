"""`explain`: the picture and the numbers of a trained team, moments by rule, and mistakes as one sentence."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from qllm_envs import football_lite, mpe_spread
from qllm_jax import config
from qllm_jax.commands import explain as command
from qllm_jax.commands import render
from qllm_jax.commands.explain import explain
from qllm_jax.errors import UserError
from qllm_jax.mixers.influence import FIELDS, Effect, Influence
from qllm_jax.program import experiment
from qllm_jax.reporting import explanation, explanation_charts
from qllm_jax.reporting.explanation import N_MOMENTS, Explanation, moments
from qllm_jax.reporting.frames import Film
from qllm_jax.reporting.style import Scale
from qllm_jax.run import load
from qllm_jax.run.load import LoadedRun, load_run

T = 10  # of tiny_run


def test_picture_numbers_and_table_of_a_run(tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "explained.png"
    assert explain([str(tiny_run), f"out={out}", "episodes=3", "key=7", "seed=1"]) == 0
    printed = capsys.readouterr().out
    with Image.open(out) as picture:
        assert (picture.format, picture.mode) == ("PNG", "P")
    found = json.loads(out.with_suffix(".json").read_text())
    assert found["states"] == 3 * T
    assert (found["seed"], found["key"], found["episodes"]) == (1, 7, 3)
    film = render.film_of(load_run(str(tiny_run)), index=1, key=7)  # the same episode
    np.testing.assert_allclose(found["rewards"], film.reward_t, rtol=1e-4)
    assert film.weights is not None
    np.testing.assert_allclose(found["credit_weights"], film.weights, rtol=1e-3)
    assert found["moments"] == moments(film.weights)
    effects = {effect["name"]: effect for effect in found["arguments"]}
    assert set(effects) == {"agent_pos", "agent_vel", "landmark_pos"}
    assert effects["agent_vel"] == {**effects["agent_vel"], "shares": 0, "weights": 0, "sensitivity": 0}  # not read
    assert min(effects["agent_pos"][measure] for measure in ("shares", "weights", "sensitivity")) > 0
    rows = {row.split()[0]: row.split()[1:] for row in printed.splitlines() if row}
    assert rows["agent_vel"] == ["0", "0", "0"]
    assert rows["agent_pos"][0] == f"{effects['agent_pos']['shares']:.4f}"
    with pytest.raises(UserError, match="exists already"):
        explain([str(tiny_run), f"out={out}"])
    out.unlink()
    with pytest.raises(UserError, match=r"explained\.json exists already"):
        explain([str(tiny_run), f"out={out}"])


def test_a_method_without_a_mixer_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    sizes = ["n_agents=2", "env.horizon=4", "seeds=1", "algo.n_envs=2", "algo.batch_episodes=2", "algo.hidden_dim=4"]
    exp = experiment.build(config.load(["algo=matched_coma", *sizes]))
    monkeypatch.setattr(load, "load_run", lambda *_: LoadedRun(tmp_path, exp, "best", {}, [0], 0, 1))
    with pytest.raises(UserError, match="matched_coma has no mixer, so it has no credit weights to explain"):
        explain([str(tmp_path)])


@pytest.mark.parametrize(
    ("argument", "sentence"),
    [
        ("episodes=1", "episodes must be at least 2, got 1"),
        ("key=-1", "key must be at least 0"),
        ("seed=2", "it has seeds 0 to 1"),
        ("configuration=x", "configuration=x is not in this run"),
        ("which=bets", "did you mean 'best'"),
        ("out=explain.gif", "must end in .png or .pdf or .svg"),
        ("fps=3", "unknown key 'fps'"),
    ],
)
def test_bad_argument_is_one_sentence(argument: str, sentence: str, tiny_run: Path):
    with pytest.raises(UserError) as caught:
        explain([str(tiny_run), argument])
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_moments_are_the_ends_and_the_largest_changes_between_them():
    weights = np.ones((26, 2))
    for t in (3, 11, 12, 20):  # the weights change from the slot before
        weights[t:, 0] += t
    assert moments(weights) == [0, 3, 12, 16, 20, 25] or moments(weights) == [0, 3, 12, 15, 20, 25]
    assert moments(weights[:3]) == [0, 1, 2]
    assert moments(weights[:2]) == [0, 1]
    equal = moments(np.ones((26, 2)))
    assert len(equal) == N_MOMENTS
    assert np.ptp(np.diff(equal)) <= 4  # spread over the episode


@pytest.mark.parametrize(("n_agents", "suffix"), [(2, "svg"), (25, "png")])
def test_few_agents_are_lines_and_many_a_heat_map(n_agents: int, suffix: str, tmp_path: Path):
    env = mpe_spread.make(n_agents=n_agents)
    scene = env.scene(env.reset(jax.random.key(0)))
    weights = np.linspace(-1.0, 2.0, 5 * n_agents).reshape(5, n_agents)
    film = Film("a title", (scene,) * 5, weights, np.array([1.0, 0.0, -1.0, 2.0]))
    names = [f"[field_{i}[j] for j in range(9)]" for i in range(explanation_charts.MAX_ROWS + 2)]
    effects = tuple(Effect(name, FIELDS, 0.5, 0.1, None) for name in names)
    out = tmp_path / f"picture.{suffix}"
    explanation.draw(Explanation(film, weights, Influence(effects, effects[0], 100), 4), out)
    if suffix == "svg":
        assert out.read_text().count("<image") == 5  # a scene for each slot, and no heat map
    else:
        with Image.open(out) as picture:
            assert picture.width == explanation.WIDTH * explanation.DPI


def test_what_shapes_stand_for_is_below_the_scenes_and_fits():
    axes = Figure((explanation.WIDTH, 1.0)).add_subplot()
    scene = football_lite.make().scene(football_lite.make().reset(jax.random.key(0)))
    explanation.draw_key(axes, scene.key, Scale((0, 0, 1, 1), 0.0, 1.0, ()))
    legend = axes.get_legend()
    assert legend is not None
    texts = [each.get_text() for each in legend.get_texts()]
    assert texts == ["agent, darker with a larger weight", *(each.text for each in scene.key)]
    assert legend.get_window_extent().width <= explanation.WIDTH * axes.figure.dpi


def test_names_in_the_picture_are_formulas_without_their_loop():
    assert explanation_charts.short("[symbol[i] == k for k in range(8)]") == "symbol[i] == k"
    assert explanation_charts.short("agent_pos") == "agent_pos"
    assert len(explanation_charts.short("x" * 99)) == explanation_charts.MAX_NAME


def test_states_after_the_end_of_an_episode_are_not_visited(monkeypatch: pytest.MonkeyPatch):
    from types import SimpleNamespace

    played = SimpleNamespace(mask_t=np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]]))
    inputs = np.arange(8).reshape(2, 4)
    assert command.visited(played, inputs).tolist() == [0, 1, 4, 5, 6]  # pyright: ignore[reportArgumentType, reportAttributeAccessIssue]
    monkeypatch.setattr(command, "MAX_STATES", 2)
    assert len(command.visited(played, inputs)) == 2  # pyright: ignore[reportArgumentType]
