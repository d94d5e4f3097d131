"""An environment, a mixer and a function outside of the package: trained, resumed, evaluated, drawn, verified."""

import importlib
import json
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import pytest
from omegaconf import OmegaConf

import qllm_jax as qj
from qllm_jax import compile_cache, config, user_cache
from qllm_jax.commands import generate
from qllm_jax.commands.check_env import check_env
from qllm_jax.commands.evaluate import evaluate
from qllm_jax.commands.render import render
from qllm_jax.commands.report import report
from qllm_jax.commands.verify import verify
from qllm_jax.config import trust
from qllm_jax.config.outside import rewritten
from qllm_jax.errors import UserError
from qllm_jax.generation import prompts
from qllm_jax.program import experiment
from qllm_jax.run import folder, load
from qllm_jax.tfcaf import gates, passes
from qllm_jax.train import train

MEETING = Path(__file__).parents[2] / "examples" / "meeting"
TINY = [
    "total_steps=24", "log_interval=12", "eval_interval=12", "eval_episodes=2", "final_episodes=2", "seeds=1",
    "algo.hidden_dim=4", "algo.batch_episodes=2", "algo.buffer_episodes=4", "algo.n_envs=2", "env.horizon=6",
]  # fmt: skip


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the example, which is the folder of the shell, with a mixer that is a file of its own."""
    shutil.copytree(MEETING, tmp_path / "meeting")
    folder = tmp_path / "meeting"
    shutil.copy(folder / "meeting" / "mixer.py", folder / "my_mixer.py")
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == "meeting"]:
        del sys.modules[name]


@pytest.mark.thorough
@pytest.mark.usefixtures("kept_programs")
def test_a_package_is_trained_resumed_evaluated_and_drawn(
    package: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    run = package / "run"
    mixer = {"algo.mixer.name": "my_mixer.py:make", "algo.mixer.initial": 2.0, "env.cells": 4}
    tiny = dict(setting.split("=") for setting in TINY)
    monkeypatch.setattr(compile_cache, "enable", lambda: None)
    make = importlib.import_module("meeting.game").make
    assert qj.train(mixer | tiny, env=make, algo="qmix", run_dir=run).path == run
    meta = json.loads((run / folder.META).read_text())["parts"]
    assert set(meta["env"]["sha256"]) == {"meeting", "meeting.game"}
    recorded = OmegaConf.load(run / folder.CONFIG)
    assert recorded.algo.mixer == {"name": f"{package}/my_mixer.py:make", "initial": 2.0}
    assert recorded.algo.name == "my_mixer"
    assert (run / "parts" / "mixer.py").read_text() == (package / "my_mixer.py").read_text()
    assert train([f"resume={run}", "total_steps=36"]) == 0
    mixer = load.load_run(str(run), "last").params["mixer"]
    assert jnp.abs(mixer["log_weights"] - jnp.log(2.0)).max() < 0.1

    # The file is gone: its copy is used. The module has changed: that is said, and the run is not continued.
    (package / "my_mixer.py").unlink()
    game = package / "meeting" / "game.py"
    game.write_text(game.read_text() + "# changed\n")
    capsys.readouterr()
    assert evaluate([str(run), "episodes=2"]) == 0
    said = capsys.readouterr().err
    assert f"my_mixer.py:make is not as the run was begun with: its copy {run}/parts/mixer.py is used" in said
    assert "with the environment 'meeting.game:make', and meeting.game has changed since" in said
    assert render([str(run)]) == 0
    assert (run / "episode.gif").is_file()
    with pytest.raises(UserError, match=r"meeting\.game has changed since: restore it, or train in another run_dir"):
        train([f"resume={run}", "total_steps=48"])
    shutil.rmtree(package / "meeting")
    for name in [name for name in sys.modules if name.partition(".")[0] == "meeting"]:
        del sys.modules[name]
    with pytest.raises(UserError, match=rf"^{run} was begun with the environment .*there is no module 'meeting"):
        load.load_run(str(run))


def test_code_that_a_folder_names_is_not_run_unless_the_user_has_named_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run, ran = tmp_path / "run", tmp_path / "ran"
    folder.create(run, replace(config.load(["algo=vdn"]), n_agents=None), ())
    given = OmegaConf.load(run / folder.CONFIG)
    (run / "parts").mkdir()
    (run / "parts" / "env.py").write_text(f"open({str(ran)!r}, 'w')\n")
    for name in ("/gone/my_game.py:make", "subprocess:getoutput"):
        given.env = {"name": name, "time_limit_is_terminal": True, "cmd": f"touch {ran}"}
        OmegaConf.save(given, run / folder.CONFIG)
        (run / folder.META).write_text("{}")
        resume = lambda path: train([f"resume={path}"])
        for reads in (folder.load, load.load_run, qj.load, lambda path: report([path]), resume):
            with pytest.raises(UserError, match=r"names code from outside, .* set QLLM_JAX_TRUST=1 for this command"):
                reads(str(run))
    start = {"kind": "start", "settings": generate.settings.to_dict(generate.settings.load([])), "prompts": {}}
    start["settings"]["env"]["name"], start["elapsed_s"] = "subprocess:getoutput", 0.0
    (tmp_path / "transcript.jsonl").write_text(json.dumps(start) + "\n")
    with pytest.raises(UserError, match="names code from outside, 'subprocess:getoutput'"):
        generate.generate([f"resume={tmp_path}"])
    assert not ran.exists()
    monkeypatch.setenv(trust.VARIABLE, "1")
    with pytest.raises(UserError, match=r"must return a qllm_envs\.Env, got a str"):
        load.load_run(str(run))


def test_what_a_user_has_named_is_remembered(package: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(trust, "_named", set())
    monkeypatch.setenv(user_cache.VARIABLE, str(package.parent / "cache"))
    file = f"{package}/meeting/game.py:make"
    for name in ("meeting.game:make", file):
        with pytest.raises(UserError, match="names code from outside"):
            trust.require([name], package)
        experiment.make_env({"name": name, "time_limit_is_terminal": True}, None)
        trust._named.clear()  # another process
        trust.require([name, "mpe_spread", None], package)
    with pytest.raises(UserError, match="names code from outside"):
        trust.require([f"{package}/meeting/game.py:other"], package)
    for note in user_cache.folder(trust.FOLDER).iterdir():
        note.chmod(0o666)  # which anybody may have written
    with pytest.raises(UserError, match="names code from outside"):
        trust.require([file], package)
    for note in user_cache.folder(trust.FOLDER).iterdir():
        note.chmod(0o600)
    trust.require([file], package)
    (package / "meeting" / "game.py").write_text("other = 1\n")
    with pytest.raises(UserError, match="names code from outside"):
        trust.require([file], package)


def test_a_credit_function_is_verified_on_states_of_the_environment(package: Path, capsys: pytest.CaptureFixture):
    assert verify([str(package / "meeting" / "credit.py"), "env=meeting.game:make", "env.cells=4"]) == 0
    assert re.search(r"rollout_states|rollout states\s+48", capsys.readouterr().out)
    found = config.load(["env=meeting.game:make", "env.cells=4", "algo.mixer.function=meeting/credit.py"])
    spec = experiment.make_env(found.env, found.n_agents).spec
    source = (package / "meeting" / "credit.py").read_text()
    assert passes.find(source, spec) is not None
    assert gates.require(source, "credit.py", spec).ok
    # A pass is for the code of the environment, too.
    game = package / "meeting" / "game.py"
    game.write_text(game.read_text() + "# changed\n")
    assert passes.find(source, spec) is None


@pytest.mark.usefixtures("package")
def test_a_candidate_s_process_imports_no_code_of_the_environment():
    """Its states come as arrays, so that nothing outside of the package is imported there."""
    of = gates.rollouts.from_config({"name": "meeting.game:make"})
    request, _, arrays = gates._request("", of, gates.DEFAULT_LIMITS).partition(b"\n")
    asked = json.loads(request)
    assert "meeting.game" not in json.dumps(asked)
    assert set(asked) == {"path", "text", "file", "task", "parent", "cpu_s", "memory_bytes"}
    assert arrays


@pytest.mark.usefixtures("package")
def test_language_models_are_told_the_game_s_own_text():
    settings = generate.settings.load(["env=meeting.game:make", "n_agents=3"])
    env = experiment.make_env(settings.env, settings.n_agents)
    texts = prompts.build(env, settings.env["name"], "credit")
    assert "Meeting: agents stand in a corridor" in texts.coder
    assert 'state["target_pos"]' in texts.coder
    without = env._replace(spec=env.spec._replace(text=""))
    with pytest.raises(UserError, match="is not described for a language model: give its Spec a text"):
        prompts.build(without, settings.env["name"], "credit")


@pytest.mark.usefixtures("package")
def test_keys_of_the_command_line():
    options = lambda *overrides: config.load([*overrides]).env
    expected = {"name": "meeting.game:make", "time_limit_is_terminal": True}
    assert options("env=meeting.game:make") == options("env.name=meeting.game:make") == expected
    assert options("env=meeting.game:make", "env.cells=4", "env.time_limit_is_terminal=false") == {
        "name": "meeting.game:make",
        "time_limit_is_terminal": False,
        "cells": 4,
    }
    assert config.load(["env=meeting.game:make"]).n_agents is None
    given = ["env=meeting.game:make", "env.cells=4", "algo.mixer.name=meeting.mixer:make", "algo.mixer.initial=2.0"]
    once = rewritten(given)  # jobs of --multirun get them so
    assert config.load(once) == config.load(rewritten(once)) == config.load(given)
    assert config.load(["env=relay"]).n_agents == 10
    learner = config.load(["algo=matched_qmix", "algo.learner.name=meeting.mixer:make", "algo.name=mine"]).algo
    assert (learner.name, learner.learner, learner.mixer["name"]) == ("mine", {"name": "meeting.mixer:make"}, "qmix")
    both = config.load(["algo.mixer.name=meeting.mixer:make", "algo.learner.name=meeting.game:make"]).algo
    assert (both.name, both.mixer) == ("meeting.mixer_meeting.game", {"name": "meeting.mixer:make"})


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ("env=meeting.gam:make", "there is no module 'meeting.gam'"),
        ("env=meeting.game:make env.size=3", "has no option 'size': "),
        ("env=meeting.game:make env.cells=1", "meeting: cells must be an integer of at least 2, got 1"),
        ("env=meeting.game:make", "has no credit function in the library: give algo.mixer.function=FILE.py"),
        ("env=mpe_spred", "or give module:function or path/file.py:function"),
        ("algo=matched_mine", "algo.mixer.name=module:function"),
        ("algo.mixer.name=meeting.mixer:make algo.mixer.width=3", "has no option 'width': "),
        ("algo.mixer.name=meeting.game:make", "mixer 'meeting.game:make' must take the spec before its options"),
        ("algo.mixer.name=broken.py:make", "apply must give one team value, float32(), got float32(3,)"),
        ("algo.mixer.name=broken.py:raises", "cannot be traced on mpe_spread_n3: KeyError: 'nothing'"),
        (
            "algo=matched_vdn algo.learner.name=broken.py:none",
            "must return a qllm_jax.learners.Learner, got a NoneType",
        ),
    ],
)
def test_mistakes_are_named(overrides: str, message: str):
    Path("broken.py").write_text(
        "from qllm_jax.mixers import Mixer\n"
        "def make(spec):\n    return Mixer(lambda key, inputs: {}, lambda params, inputs: inputs.chosen_q)\n"
        "def raises(spec):\n    return Mixer(lambda key, inputs: {}, lambda params, inputs: inputs.fields['nothing'])\n"
        "def none(core):\n    return None\n"
    )
    with pytest.raises(UserError, match=re.escape(message)):
        experiment.build(config.load(overrides.split()))


def test_a_learner_from_outside_is_built(package: Path):
    (package / "mine.py").write_text(
        "from qllm_jax.learners import value\n\ndef make(core, *, double: bool = True):\n    return value.make(core)\n"
    )
    exp = experiment.build(
        config.load(["algo=matched_vdn", "algo.learner.name=mine.py:make", "algo.learner.double=false"])
    )
    assert exp.learner.credit is not None
    assert exp.config.algo.name == "mine"


def test_the_smallest_game_keeps_the_contract(capsys: pytest.CaptureFixture):
    assert check_env([f"{MEETING.parent / 'buttons.py'}:make", "n_agents=2", "steps=2"]) == 0
    assert "buttons_n2: 2 agents, 2 actions, horizon 10" in capsys.readouterr().out


def test_check_env_names_what_is_broken(package: Path, capsys: pytest.CaptureFixture):
    assert check_env(["meeting.game:make", "n_agents=3", "cells=4", "steps=2"]) == 0
    said = capsys.readouterr().out
    assert "the contract is kept: env=meeting.game:make n_agents=3 cells=4\n" in said
    assert "end of the episode (only of the first 2 of " in said
    game = package / "mine.py"
    game.write_text((package / "meeting" / "game.py").read_text().replace("there.mean() + 10.0", "10"))
    assert check_env(["mine.py:make"]) == 1
    said = capsys.readouterr().out
    assert "BROKEN  shapes and dtypes\n        meeting: step.reward: expected float32(), got int32()" in said
    assert "what to do: return arrays of the types" in said
    with pytest.raises(UserError, match="has no option 'size'"):
        check_env(["meeting.game:make", "size=3"])
    with pytest.raises(UserError, match="give one environment"):
        check_env([])
    with pytest.raises(UserError, match=r"seed must be at least 0 and less than 2\^32"):
        check_env(["duty", "seed=99999999999999999999"])
    with pytest.raises(UserError, match="steps must be at least 0, got -1"):
        check_env(["duty", "steps=-1"])
    with pytest.raises(UserError, match="options have no dashes: n_agents=3"):
        check_env(["duty", "--n_agents=3"])
