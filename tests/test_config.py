"""Every mistake in a configuration is one sentence that names the key and what is allowed."""

import functools
import re
from dataclasses import replace
from pathlib import Path

import jax
import pytest
from omegaconf import OmegaConf

from qllm_jax import cli, config, files, tfcaf
from qllm_jax.errors import UserError
from qllm_jax.program import experiment, learnable
from qllm_jax.tfcaf import gates

SENTENCES = [
    ("n_agent=3", "unknown key 'n_agent': did you mean 'n_agents'?"),
    ("lr=3", "unknown key 'lr': did you mean 'algo.lr'?"),
    ("env.n_agent=3", "unknown key 'env.n_agent': did you mean 'n_agents'?"),
    ("algo=VDM", "algo 'VDM' does not exist: did you mean 'matched_vdn'?"),
    ("algo.lrr=3", "unknown key 'algo.lrr': did you mean 'lr'?"),
    ("+colour=3", "unknown key 'colour': choose from algo, devices, env,"),
    ("+algo.colour=3", "unknown key 'algo.colour': choose from agent, agent_id, batch_episodes,"),
    ("env=mpe_spred", "env 'mpe_spred' does not exist: did you mean 'mpe_spread'?"),
    ("algo=qmx", "algo 'qmx' does not exist: did you mean 'matched_qmix'?"),
    ("experiment=nothing", "experiment 'nothing' does not exist: choose from"),
    ("n_agents=0", "n_agents must be greater than or equal to 1, got 0"),
    ("n_agents=three", "n_agents must be a valid integer, got 'three'"),
    ("seeds=1.5", "seeds must be a valid integer, got 1.5"),
    ("seed=-1", "seed must be greater than or equal to 0, got -1"),
    ("algo.lr=0", "algo.lr must be greater than 0, got 0"),
    ("algo.gamma=1.1", "algo.gamma must be less than or equal to 1, got 1.1"),
    ("algo.standardize_rewards=1", "algo.standardize_rewards must be a valid boolean, got 1"),
    ("algo.buffer_episodes=16", "algo.buffer_episodes=16 must hold one batch (32 episodes)"),
    (
        "algo.reward_scale=0.1",
        "algo.reward_scale=0.1 changes nothing with algo.standardize_rewards=true: ",
    ),
    ("algo.reward_scale=0", "algo.reward_scale must be greater than 0, got 0"),
    ("algo.gradient_steps=0", "algo.gradient_steps must be greater than or equal to 1, got 0"),
    ("algo.agent=lstm", "algo.agent must be 'gru' or 'mlp', got 'lstm'"),
    ("algo.depth=0", "algo.depth must be greater than or equal to 1, got 0"),
    ("wandb.mode=on", "wandb.mode must be 'disabled', 'offline' or 'online', got 'on'"),
    ("wandb=offline", "wandb has keys of its own, as wandb.KEY=VALUE, and is set to 'offline'"),
    ("total_steps", "'total_steps' is not of the form key=value"),
    ("--total_steps=1000", "options have no dashes: total_steps=1000"),
    ("total_steps=1e4.5", "total_steps must be a valid integer, got '1e4.5'"),
    ("total_steps=inf", "total_steps must be a valid integer, got inf"),
    ("algo.mixr={}", "unknown key 'algo.mixr': did you mean 'mixer'?"),
    (
        "algo.mixer={name:tfcaf,width:3}",
        "unknown key 'algo.mixer.width': choose from function, name, scale, or add it if algo.mixer.name=tfcaf",
    ),
    ("algo.lr={", "algo.lr must be a valid number, got '{'"),
    ("env=5", "Config group override must be a string or a list. Got int (in: env=5)"),
    ("sweep.lr=[]", "sweep.lr must hold at least one value, got []"),
    ("sweep.lr=[0.1,1e-1]", "sweep.lr must not hold 0.1 twice, got [0.1, 0.1]"),
    ("sweep.lr=0.1", "sweep.lr must be a valid list, got 0.1"),
    (
        "sweep.lr=0.1,0.2",
        "Ambiguous value for argument 'sweep.lr=0.1,0.2': for one training each add --multirun; a list is",
    ),
    ("sweep.gama=[1]", "unknown key 'sweep.gama': did you mean 'gamma'?"),
    ("sweep=rl", "sweep 'rl' does not exist: choose from lr, none"),
    ("group=0", "group must be auto or an integer of at least 1, got 0"),
    ("memory_gib=0", "memory_gib must be greater than 0, got 0"),
    ("+part=[4,2]", "part must be two numbers, start < stop <= 5 runs, got [4, 2]"),
]
PART_SENTENCES = [
    ("env.horizon=0", "mpe_spread: horizon must be an integer of at least 1, got 0"),
    ("+env.wind=3", "environment 'mpe_spread' has no option 'wind': choose from drop_last_reward,"),
    ("env.time_limit_is_terminal=1", "env.time_limit_is_terminal must be true or false, got 1"),
    ("algo.mixer.name=qmx", "mixer 'qmx' does not exist: did you mean 'qmix'?"),
    ("+algo.mixer.embed_dim=3", "mixer 'tfcaf' has no option 'embed_dim': choose from function, scale"),
    ("algo.mixer.function=none", "credit function 'none' does not exist: choose from couriers, duty,"),
    ("algo.mixer.function=no/mine.py", "credit function 'no/mine.py' does not exist: there is no file '/"),
    ("algo.mixer.function=/dev/null", "credit function '/dev/null' is a file whose name does not end in .py: "),
    ("algo.mixer.function=/dev", "credit function '/dev' is a folder: give one of its .py files (none)"),
    ("algo.mixer.scale=-1", "scale must be 'n_agents' or a positive number, got -1"),
    ("algo.learner.name=iql", "algo.learner 'iql' mixes nothing: set algo.mixer to {} as algo=matched_iql does"),
    ("algo.optimizer=sgd", "algo.optimizer 'sgd' does not exist: choose from adam, rmsprop"),
]


def test_whole_numbers_may_be_written_as_1e6():
    found = config.load(["total_steps=2e6", "seeds=1e1", "algo.n_envs=4.0"])
    assert (found.total_steps, found.seeds, found.algo.n_envs) == (2_000_000, 10, 4)
    assert type(found.total_steps) is int
    assert "total_steps: 2000000\n" in config.to_yaml(found)
    assert cli.convert("episodes", "1e2", 8) == 100


def test_a_tilde_is_the_home_folder_in_every_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.py").write_text("x = 1\n")
    assert cli.parse(["~/run"], "runs", {})[0] == [str(tmp_path / "run")]
    assert files.new_file("~/a.png", (".png",)) == tmp_path / "a.png"
    assert tfcaf.find("~/mine.py").file == str(tmp_path / "mine.py")


def test_a_path_may_have_a_sign_of_equality_in_it(tmp_path: Path):
    (tmp_path / "lr=0.1").mkdir()
    assert cli.parse([str(tmp_path / "lr=0.1"), "out=x"], "runs", {"out": None}) == (
        [str(tmp_path / "lr=0.1")],
        {"out": "x"},
    )


def test_a_key_given_again_is_noted_and_the_last_value_counts(capsys: pytest.CaptureFixture[str]):
    cli.note_repeated(["run", "algo=vdn", "seeds=2", "algo=qmix", "run", "+algo=qllm", "seeds=2"])
    assert capsys.readouterr().err.splitlines() == [
        "note: algo=qmix counts, not algo=vdn: the last value of a key does",
        "note: +algo=qllm counts, not algo=qmix: the last value of a key does",
    ]
    cli.note_repeated(["--multirun", "algo=vdn", "algo=qmix"])  # which is refused
    assert not capsys.readouterr().err


@pytest.mark.parametrize("path", ["a b", "it's [x", "x, y\\", "é#1", "~x/{a}"])
def test_folders_are_texts_whatever_they_look_like(path: str):
    assert config.load([f"run_dir={path}"]).run_dir == path


def test_a_credit_function_for_a_mixer_that_reads_none_is_refused():
    sentence = "algo.mixer.function: the mixer 'vdn' reads no credit function: choose a method that does"
    with pytest.raises(UserError, match=sentence):
        config.load(["algo=vdn", "algo.mixer.function=my_function.py"])


@pytest.mark.parametrize(
    ("given", "swept"),
    [
        ("algo.lr=1e-3", "sweep.lr=[1e-3,1e-2]"),
        ("algo.gamma=0.9", "sweep.gamma=[0.9]"),
        ("algo.mixer.function=duty", "sweep.tfcaf=[relay]"),
    ],
)
def test_a_value_beside_a_list_that_replaces_it_is_refused(given: str, swept: str):
    given_key, swept_key = (each.partition("=")[0] for each in (given, swept))
    sentence = f"{given_key} has no effect beside {swept_key}, whose values replace it: leave it out"
    with pytest.raises(UserError, match=re.escape(sentence)):
        config.load([given, swept])
    assert config.load([given]).sweep.lists == {}


def test_the_bare_name_of_a_method_is_its_matched_preset():
    matched = [name for name in config.group_names("algo") if name.startswith("matched_")]
    for name in matched:
        assert config.full_name(f"algo={name.removeprefix('matched_')}") == f"algo={name}"
    assert config.load(["algo=qmix"]) == config.load(["algo=matched_qmix"])
    assert config.full_name("algo=vdn,repo_qmix,nothing") == "algo=matched_vdn,repo_qmix,nothing"
    assert config.full_name("env=qmix") == "env=qmix"


def test_numbers_that_yaml_would_read_as_texts_come_back_from_a_run_folder(tmp_path):
    found = config.load(["algo.lr=1e-5", "sweep.gamma=[1e-7,0.5]"])
    (tmp_path / "config.yaml").write_text(config.to_yaml(found))
    assert config.read(tmp_path / "config.yaml") == found


def test_an_empty_group_replaces_one():
    emptied = ["algo.mixer={}", "algo.learner.name=iql"]
    assert config.load(emptied).algo.mixer == {}
    assert config.load(["algo.mixer={}", "+algo.mixer.name=vdn"]).algo.mixer == {"name": "vdn"}


@pytest.mark.parametrize("name", ["12", "1e5", "true", "2023-09-16", "a,b", "me@x.org", "a|b", "a#b", "[x]", "李明"])
def test_names_of_wandb_are_texts_whatever_they_look_like(name: str):
    assert config.load([f"wandb.project={name}", f"wandb.group={name}"]).wandb.group == name


@pytest.mark.parametrize("file", ["a,b.py", "2024", "[x].npz"])
def test_paths_given_to_a_learner_are_texts_whatever_they_look_like(file: str):
    keys = ("function", "task", "data")
    loaded = config.load(["algo=matched_mca", "+algo.learner.task=x", *(f"algo.learner.{key}={file}" for key in keys)])
    assert [loaded.algo.learner[key] for key in keys] == [file] * 3
    composed = config.compose("generate", ["llm=replay", f"llm.transcript={file}"])
    assert composed.llm.transcript == file


@pytest.mark.parametrize(("override", "sentence"), SENTENCES)
def test_composing_refuses(override: str, sentence: str):
    with pytest.raises(UserError) as error:
        config.load([override])
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_an_unknown_key_is_told_the_keys_of_the_chosen_environment():
    with pytest.raises(UserError, match=r"unknown key 'env.wind': choose from game, horizon, name, time_limit"):
        config.load(["env=matrix_climbing", "env.wind=3"])


@pytest.mark.parametrize(("override", "sentence"), PART_SENTENCES)
def test_building_refuses(override: str, sentence: str):
    with pytest.raises(UserError) as error:
        experiment.build(config.load([override]))
    assert sentence in str(error.value)


# Every environment with the method that reads its fields (there is no function for JaxMARL), every method in two
# environments of different sizes.
COMBINED = sorted(
    {(env, "matched_vdn" if env == "jaxmarl" else "matched_qllm") for env in config.group_names("env")}
    | {(env, algo) for env in ("mpe_spread", "lbf_8x8_2p_2f_coop") for algo in config.group_names("algo")}
)


@pytest.mark.parametrize(("env", "algo"), COMBINED)
def test_every_preset_builds_and_survives_its_yaml(env: str, algo: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(gates, "require", lambda *_: None)  # tests/tfcaf/test_published.py verifies what is shipped
    settings = config.load([f"env={env}", f"algo={algo}"])
    assert settings.algo.name == algo
    experiment.build(settings)
    assert config.from_dict(OmegaConf.create(config.to_yaml(settings))) == settings  # pyright: ignore


@functools.cache
def matched() -> list[config.AlgoConfig]:
    return [config.load([f"algo={name}"]).algo for name in config.group_names("algo") if name.startswith("matched_")]


def test_matched_presets_of_one_learner_differ_in_the_mixer_alone():
    presets = [preset for preset in matched() if preset.learner == {"name": "value"}]
    assert len(presets) >= 3
    shared = [{k: v for k, v in vars(p).items() if k not in ("name", "mixer")} for p in presets]
    assert all(other == shared[0] for other in shared)


def test_matched_presets_of_all_learners_share_network_optimizer_and_experience():
    keys = ("hidden_dim", "agent_id", "last_action", "optimizer", "lr", "grad_clip", "gamma", "eval_epsilon")
    assert len({tuple(getattr(preset, key) for key in keys) for preset in matched()}) == 1
    keys = ("n_envs", "standardize_rewards", "layer_norm")
    families = {"ppo", "pqn"}  # which have conventions of their own
    shared = [preset for preset in matched() if preset.learner["name"] not in families]
    assert len({tuple(getattr(preset, key) for key in keys) for preset in shared}) == 1


def test_repo_presets_are_as_found():
    qllm, qmix = (config.load([f"algo=repo_{name}"]).algo for name in ("qllm", "qmix"))
    assert (qllm.n_envs, qllm.batch_episodes, qllm.lr) == (8, 64, 1e-3)
    assert (qmix.n_envs, qmix.batch_episodes, qmix.lr) == (6, 32, 3e-4)
    for preset in (qllm, qmix):
        assert (preset.hidden_dim, preset.target_tau, preset.gamma, preset.eval_epsilon) == (128, 0.01, 0.99, 0.05)
        assert (preset.epsilon_start, preset.epsilon_end, preset.epsilon_steps) == (1.0, 0.05, 200_000)


def test_repo_presets_of_smac_are_as_found():
    qllm, qmix = (config.load([f"algo=repo_smac_{name}"]).algo for name in ("qllm", "qmix"))
    for preset in (qllm, qmix):
        assert (preset.n_envs, preset.batch_episodes, preset.buffer_episodes, preset.lr) == (1, 32, 5000, 5e-4)
        assert (preset.hidden_dim, preset.last_action, preset.standardize_rewards) == (64, True, False)
        assert (preset.target_tau, preset.target_interval, preset.td_lambda) == (1.0, 200, 0.0)
        assert (preset.epsilon_start, preset.epsilon_end, preset.epsilon_steps) == (1.0, 0.05, 50_000)
        assert (preset.gamma, preset.eval_epsilon) == (0.99, 0.0)
    assert (qllm.optimizer, qmix.optimizer, qmix.mixer["hypernet_dim"]) == ("adam", "rmsprop", 64)


def test_sizes_of_smac_by_hand():
    # By the formulas of a fully connected layer and torch's GRUCell, with last actions seen.
    sizes = {"smac_3s_vs_5z": (3, 48, 68, 11), "smac_2c_vs_64zg": (2, 332, 342, 70)}
    dense = lambda i, o: (i + 1) * o
    for env, (n, obs, state, actions) in sizes.items():
        agent = dense(obs + n + actions, 64) + 6 * 64**2 + 6 * 64 + dense(64, actions)
        mixer = 2 * dense(state, 64) + dense(64, 32 * n) + dense(64, 32) + 2 * dense(state, 32) + dense(32, 1)
        for name, expected in (("qllm", agent), ("qmix", agent + mixer)):
            learner = experiment.build(config.load([f"env={env}", f"algo=repo_smac_{name}"])).learner
            shapes = jax.eval_shape(learner.init, jax.random.key(0)).params
            assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == expected


EXPERIMENTS = [
    ("spread_paper_scale", "mpe_spread"),
    ("smac", "smac_3s_vs_5z"),
    ("smac", "smac_2c_vs_64zg"),
    ("smac_many_envs", "smac_3s_vs_5z"),
]


@pytest.mark.parametrize(("name", "env"), EXPERIMENTS)
def test_every_experiment_builds(name: str, env: str):
    assert set(config.group_names("experiment")) == {known for known, _ in EXPERIMENTS}
    settings = config.load([f"experiment={name}", f"env={env}", "algo=matched_qmix"])
    exp = experiment.build(settings)
    assert settings.total_steps > exp.steps_per_iteration * settings.algo.batch_episodes / settings.algo.n_envs
    if name.startswith("smac"):
        assert (settings.algo.last_action, settings.algo.standardize_rewards) == (True, False)


def test_repo_presets_of_actor_critics_are_as_found():
    coma, riit, maddpg = (config.load([f"algo=repo_{name}"]).algo for name in ("coma", "riit", "maddpg"))
    assert (coma.n_envs, coma.batch_episodes, coma.buffer_episodes, coma.lr) == (10, 10, 10, 3e-4)
    assert (riit.n_envs, riit.batch_episodes, riit.buffer_episodes, riit.lr) == (8, 64, 5000, 1e-3)
    assert (maddpg.n_envs, maddpg.batch_episodes, maddpg.buffer_episodes, maddpg.lr) == (1, 32, 10_000, 3e-3)
    assert (riit.last_action, riit.standardize_rewards, riit.td_lambda, riit.mixer["hypernet_layers"]) == (
        True,
        False,
        0.6,
        1,
    )
    for preset, updates in ((coma, 200), (riit, 25), (maddpg, 200)):
        assert (preset.hidden_dim, preset.gamma, preset.target_tau, preset.target_interval) == (128, 0.99, 1.0, updates)
        assert preset.learner["critic_lr"] == preset.lr


def test_a_buffer_must_hold_the_newest_episodes_that_a_learner_asks_for():
    asked = config.load(["algo=matched_riit", "algo.buffer_episodes=32", "algo.learner.recent_episodes=40"])
    with pytest.raises(UserError, match=r"algo.buffer_episodes=32 must hold the 40 newest episodes, from which"):
        experiment.build(asked)


@pytest.mark.parametrize("name", ["mappo", "coma", "vmix", "pqn_vdn"])
def test_methods_that_learn_on_policy_refuse_episodes_of_older_policies(name: str):
    build = lambda *more: experiment.build(config.load([f"algo=matched_{name}", "n_agents=2", *more]))
    n_envs = build("algo.n_envs=16").config.algo
    assert n_envs.batch_episodes == n_envs.buffer_episodes == 16
    with pytest.raises(UserError, match=r"learns from the newest rollout alone: .* must be equal, got 16, 16 and 32"):
        build("algo.n_envs=16", "algo.buffer_episodes=32")


@pytest.mark.parametrize("keys", [("algo.epsilon_end=0.1",), ("sweep.epsilon_start=[0.0,0.1]",)])
def test_methods_that_play_what_they_learn_refuse_epsilon(keys: tuple[str, ...]):
    with pytest.raises(UserError, match=r"algo.epsilon_start and algo.epsilon_end must be 0, got 0\.1"):
        experiment.build(config.load(["algo=matched_ippo", "n_agents=2", *keys]))


def test_steps_that_the_counter_of_a_run_cannot_hold_are_refused():
    most = 2**31 - 1 - 8 * 25  # the last rollout may go over the end
    asked = config.load(["algo=matched_vdn", "n_agents=2", f"total_steps={most}"])
    exp = experiment.build(asked)
    with pytest.raises(UserError, match="must be at most 2,147,483,447: its counter has 32 bits"):
        learnable.check(replace(asked, total_steps=most + 1), exp.env, exp.learner)


def test_an_environment_whose_observations_are_too_large_is_refused():
    with pytest.raises(UserError, match="is too large: a state, or what all agents see, has 48,000,301,494 numbers"):
        experiment.make_env(config.load(["env=mpe_spread"]).env, 89_443)


@pytest.mark.parametrize("name", ["ippo", "pqn_vdn", "vmix"])
def test_a_sweep_over_what_a_method_does_not_read_is_refused(name: str):
    sentence = r"sweep.target_tau would train equal runs: algo.learner '\w+' does not read target_tau"
    with pytest.raises(UserError, match=sentence):
        experiment.build(config.load([f"algo=matched_{name}", "n_agents=2", "sweep.target_tau=[0.1,0.2]"]))


def test_a_sweep_over_what_the_options_of_a_method_leave_unread_is_refused():
    build = lambda *keys: experiment.build(config.load([*keys, "n_agents=2"]))
    with pytest.raises(UserError, match=r"sweep.td_lambda would train equal runs: algo.learner 'coma' does not read"):
        build("algo=matched_coma", "sweep.td_lambda=[0.1,0.9]")
    build("algo=matched_coma", "algo.learner.n_step=0", "sweep.td_lambda=[0.1,0.9]")
    sentence = "sweep.epsilon_steps would train equal runs: algo.epsilon_start and algo.epsilon_end are equal"
    with pytest.raises(UserError, match=sentence):
        build("algo=matched_ippo", "sweep.epsilon_steps=[10,20]")
    build("algo=matched_vdn", "sweep.epsilon_steps=[10,20]")


@pytest.mark.parametrize("given", ["algo.epsilon_end=0.5", "sweep.epsilon_start=[0,0.5]"])
def test_ppo_plays_the_policy_that_it_learns(given: str):
    with pytest.raises(UserError, match=r"algo.epsilon_start and algo.epsilon_end must be 0, got 0.5"):
        experiment.build(config.load(["algo=matched_mappo", "n_agents=2", given]))
