"""The public Python interface: the lines of its page run, values go the way of the command line, imports stay cheap."""

import importlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import qllm_envs
import qllm_jax as qj
from qllm_jax import api, config
from qllm_jax.core.rollout import rollout
from qllm_jax.run import folder, load, policies

ROOT = Path(__file__).resolve().parent.parent


def test_the_import_alone_loads_nothing():
    heavy = "[name for name in ('jax', 'numpy', 'hydra', 'pydantic') if name in sys.modules]"
    found = subprocess.check_output([sys.executable, "-c", f"import sys, qllm_jax; print({heavy})"], text=True)
    assert found.strip() == "[]"


def test_functions_stay_functions_where_commands_have_their_names():
    for name in ("train", "verify", "report"):
        importlib.import_module(f"qllm_jax.{name}")  # binds the module to the package's attribute of this name
        assert getattr(qj, name) is getattr(api, name)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        qj.nothing  # noqa: B018
    assert set(qj.__all__) <= {*api.__all__}


def test_the_lines_of_the_page_run(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    script = (ROOT / "examples" / "from_python.py").read_text()
    lines = script.partition('"""\n\n')[2]
    assert f"```python\n{lines}```" in (ROOT / "docs" / "python.md").read_text()
    pytest.importorskip("pandas")
    trained = []

    def train_in_folder(overrides: list[str]) -> tuple[int, Path]:  # a training of these lines takes minutes
        config.load(overrides)
        trained.append(overrides)
        return 0, Path(shutil.copytree(tiny_run, "runs/python"))

    monkeypatch.setattr(api.command, "train_in_folder", train_in_folder)
    monkeypatch.chdir(tmp_path)
    exec(compile(script, "from_python.py", "exec"), {})
    assert trained == [["env=mpe_spread", "n_agents=3", "seeds=2", "total_steps=200000", "run_dir=runs/python"]]
    said = capsys.readouterr().out
    assert "True" in said
    assert "env 'mpe_spred' does not exist: did you mean 'mpe_spread'?" in said


def test_a_run_gives_what_its_files_hold(tiny_run: Path):
    run = qj.load(tiny_run)
    assert run.scores.returns.shape[0] == run.returns.shape[0] == run.config.seeds
    np.testing.assert_allclose(run.returns, [r["return"] for r in run.metrics if r["event"] == "final"], rtol=1e-6)
    np.testing.assert_array_equal(run.evaluate(len(run.scores.returns[0])).returns, run.scores.returns)
    with pytest.raises(qj.UserError, match="seed=7 is not in this run: it has seeds 0 to 1"):
        run.policy(seed=7)
    with pytest.raises(qj.UserError, match="is not the folder of a run"):
        qj.load(tiny_run.parent / "nothing")
    with pytest.raises(qj.UserError, match=r"seed must be an integer of at least 0, got 1\.5"):
        run.evaluate(seed=1.5)  # pyright: ignore[reportArgumentType]
    with pytest.raises(qj.UserError, match="epsilon must be between 0 and 1"):
        run.evaluate(epsilon=2.0)


def test_returns_of_a_run_that_was_continued_and_not_finished_are_not_the_old_ones(tiny_run: Path, tmp_path: Path):
    path = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    with (path / folder.METRICS).open("a") as file:
        file.write(json.dumps(qj.load(path).metrics[-1] | {"event": "train", "env_steps": 500}) + "\n")
    with pytest.raises(qj.UserError, match="is not finished: continue it with"):
        qj.load(path).returns  # noqa: B018


def test_runs_are_reported_and_drawn(tiny_run: Path, tmp_path: Path):
    run = qj.load(tiny_run)
    said = qj.report(run, tiny_run, out=tmp_path / "curves.png")
    assert said.count("| matched_qllm | 2 |") == 1  # the same folder twice is one run
    assert (tmp_path / "curves.png").is_file()
    assert run.render(tmp_path / "episode.gif", seed=1, key=3).read_bytes().startswith(b"GIF")
    with pytest.raises(qj.UserError, match="exists already"):
        run.render(tmp_path / "episode.gif")
    with pytest.raises(qj.UserError, match="report needs the runs to compare"):
        qj.report()


def test_a_policy_acts_as_its_run_does(tiny_run: Path):
    """One greedy episode of `rollout`, and its actions again from the policy, for one team and for three at once."""
    run = load.load_run(str(tiny_run))
    policy, exp = policies.policy_of(run, 1), run.exp
    params = jax.tree.map(lambda x: x[1], run.params)
    episode = rollout(
        exp.env, exp.agent, exp.learner.act_in_evaluation, params["agent"], jax.random.key(0), jnp.zeros(()), True
    )
    states = jax.tree.map(lambda x: x[:-1], episode.env_state)
    views = jax.vmap(exp.env.view)(states)

    def scanned(*leading: int) -> jax.Array:
        wide = lambda x: jnp.broadcast_to(x, (*leading, *x.shape))

        def step(hidden: qj.Hidden, view: qllm_envs.View) -> tuple[qj.Hidden, jax.Array]:
            action, hidden = policy(wide(view.obs), hidden, wide(view.avail))
            return hidden, action

        return jax.lax.scan(step, policy.initial_hidden(*leading), views)[1]

    np.testing.assert_array_equal(scanned(), episode.action_t)
    np.testing.assert_array_equal(scanned(3)[:, 2], episode.action_t)


def test_a_policy_refuses_teams_of_another_size_and_prints_in_a_line(tiny_run: Path):
    policy = policies.policy_of(load.load_run(str(tiny_run)), 0)
    spec = policy.spec
    assert "\n" not in repr(policy)
    obs, avail = jnp.zeros((spec.n_agents, spec.obs_dim)), jnp.ones((spec.n_agents, spec.n_actions), bool)
    with pytest.raises(qj.UserError, match="obs has the shape"):
        policy(jnp.zeros((spec.n_agents + 1, spec.obs_dim)), policy.initial_hidden(), avail)
    with pytest.raises(qj.UserError, match="avail has the shape"):
        policy(obs, policy.initial_hidden(), avail[:, 1:])


def test_a_policy_with_a_key_draws_as_its_method_does_in_evaluations(tiny_run: Path):
    run = load.load_run(str(tiny_run))
    policy = policies.policy_of(run, 0)._replace(epsilon=1.0)
    spec = policy.spec
    obs, avail = jnp.zeros((64, spec.n_agents, spec.obs_dim)), jnp.ones((64, spec.n_agents, spec.n_actions), bool)
    avail = avail.at[..., 0].set(False)
    action, hidden = policy(obs, policy.initial_hidden(64), avail, jax.random.key(0))
    assert set(np.unique(action)) == set(range(1, spec.n_actions))
    np.testing.assert_array_equal(hidden.last_action, action)


def test_values_are_written_as_the_command_line_reads_them():
    given = {"env": "relay", "seeds": np.int64(3), "algo": None, "n_agents": 4}
    settings = {"algo.lr": 1e-3, "sweep.gamma": [0.9, np.float32(0.5)], "memory_gib": None, "env.sees": True}
    found = api.overrides(given, settings)
    assert found[:3] == ["env=relay", "seeds=3", "n_agents=4"]
    config = api.configs.load(found)
    assert (config.algo.lr, config.sweep.gamma, config.memory_gib) == (1e-3, [0.9, 0.5], None)
    assert config.env["sees"] is True
    assert api.as_text("env", qllm_envs.make) == "qllm_envs.registry:make"
    assert [api.as_text("key", value) for value in (np.array(1e-3), np.True_, np.int32(2))] == ["0.001", "true", "2"]
    for value, message in ((object(), "got a object"), (lambda: None, "in no module that a later process can import")):
        with pytest.raises(qj.UserError, match=message):
            api.overrides({"env": value})


def test_a_setting_is_given_once_and_in_a_mapping():
    with pytest.raises(qj.UserError, match="seeds is given twice: by name as 5, and in the mapping as 3"):
        qj.train({"seeds": 3}, seeds=5)
    for settings, given in (("env=mpe_spread", "a str"), (["seeds=2"], "a list")):
        with pytest.raises(qj.UserError, match=f"settings must be a mapping of keys to values, .* got {given}"):
            qj.train(settings)  # pyright: ignore[reportArgumentType]


def test_environments_are_made_as_by_the_command_line():
    assert qj.make_env("lbf_8x8_2p_2f_coop").spec.options["coop"] is True
    assert qj.make_env("duty", n_agents=4, active=2).spec.n_agents == 4
    with pytest.raises(qj.UserError, match=r"unknown key 'env\.actve': did you mean 'active'"):
        qj.make_env("duty", actve=2)
    with pytest.raises(qj.UserError, match=r"env must be a name, .* or a function, got None"):
        qj.make_env(None)  # pyright: ignore[reportArgumentType]


def test_a_refused_function_is_a_verdict(tmp_path: Path):
    verdict = qj.verify("import os\n\ndef credit(state):\n    return 1.0, 0.0\n", env="mpe_spread", n_agents=3)
    assert (verdict.ok, verdict.code, verdict.line) == (False, "STATIC", 1)
    file = tmp_path / "mine.py"
    file.write_text("import os\n")
    assert qj.verify(file, env="mpe_spread").code == "STATIC"
    file.write_bytes(b"# \xe9")
    assert "UTF-8" in qj.verify(file, env="mpe_spread").problem
    for source in ("mpe_spread", "import os\n"):
        with pytest.raises(qj.UserError, match="kind 'rewad' does not exist: did you mean 'reward'"):
            qj.verify(source, env="mpe_spread", kind="rewad")  # pyright: ignore[reportArgumentType]
    with pytest.raises(qj.UserError, match="credit function 'nothing' does not exist"):
        qj.verify("nothing", env="mpe_spread")
