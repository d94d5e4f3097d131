"""The benchmarks start, count their work right and refuse what they cannot do. No timing is asserted."""

import argparse
import importlib
import importlib.util
import json
from string import Template
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from probes import probe

from qllm_jax.core.agents import Agent
from qllm_jax.core.rollout import epsilon_greedy
from qllm_jax.run import folder

pytestmark = pytest.mark.thorough

has = lambda package: importlib.util.find_spec(package) is not None
SCRIPTS = ("env_step", "throughput", "recurrent_core", "profile_update", "early_termination", "algorithms", "draw")
SCRIPTS += ("gpu", "gpu_program", "memory", "scaling", "sweep", "jaxmarl_envs", "critic_cost")

HLO = """HloModule jit_chunk

FileNames
1 "$network_file"
2 "$gru_file"
3 "$collect_file"

FunctionNames
1 "$network"
2 "_forward"
3 "$collect"

FileLocations
1 {file_name_id=1 function_name_id=1 line=48 end_line=48 column=1 end_column=2}
2 {file_name_id=2 function_name_id=2 line=34 end_line=34 column=1 end_column=2}
3 {file_name_id=3 function_name_id=3 line=77 end_line=77 column=1 end_column=2}

StackFrames
1 {file_location_id=1 parent_frame_id=1}
2 {file_location_id=2 parent_frame_id=2}
3 {file_location_id=3 parent_frame_id=1}
4 {file_location_id=1 parent_frame_id=4}

%fused_computation.2 (p.0: f32[5,96,64], p.1: f32[5,64,192]) -> f32[5,96,192] {
  %p.0 = f32[5,96,64]{2,1,0} parameter(0)
  %p.1 = f32[5,64,192]{2,1,0} parameter(1)
  ROOT %dot.1 = f32[5,96,192]{2,1,0} dot(%p.0, %p.1), lhs_batch_dims={0}, lhs_contracting_dims={2}
}

ENTRY %main (a: f32[5,96,64]) -> f32[5,64,9] {
  %ynn_fusion.2 = f32[5,96,192]{2,1,0} fusion(%a), calls=%fused_computation.2, metadata={op_name="j" stack_frame_id=2}
  %tanh.1 = f32[5,96,64]{2,1,0} tanh(%a), metadata={op_name="vmap(transpose(jvp()))/tanh" stack_frame_id=2}
  %act.1 = f32[5,96,64]{2,1,0} tanh(%a), metadata={op_name="jit/tanh" stack_frame_id=4}
  ROOT %dot.2 = f32[5,64,9] dot(%a, %c), lhs_contracting_dims={1}, metadata={op_name="transpose(x" stack_frame_id=2}
}
"""


WAYS = ("forward", "weight gradients")


@pytest.mark.parametrize("name", SCRIPTS)
def test_help(name, load, capsys):
    with pytest.raises(SystemExit) as stop:
        load(name, "--help").main()
    assert stop.value.code == 0
    assert f"benchmarks/{name}.py" in capsys.readouterr().out


def test_floor_is_the_products_that_qmix_needs(load):
    """Counted by hand: forward of the rollout, forward of online and target network, backward.

    What needs no gradient has none: the inputs of the first layer and the state. No product is done in vain.
    """
    workload = load("workload")
    sizes = workload.Sizes(agents=3, seeds=2)
    exp, hidden, embed, hyper = workload.build("matched_qmix", sizes), sizes.hidden, workload.EMBED, workload.HYPER
    spec = exp.env.spec
    first, rest = spec.obs_dim * hidden, 6 * hidden**2 + hidden * spec.n_actions
    slots = (spec.horizon + 1) * sizes.batch
    inner = spec.state_dim * (2 * hyper + 2 * embed)  # the layers that read the state: of w1, w2, b2, and b1
    outer = hyper * (3 * embed + embed) + embed  # the layers after them: w1, w2, b2
    outer += 3 * embed + embed  # the mixing itself
    products = spec.horizon * sizes.envs * 3 * (first + rest) + slots * 3 * (2 * (first + rest) + first + 2 * rest)
    products += slots * (2 * (inner + outer) + inner + 2 * outer)
    assert workload.iteration_flops(exp) == 2 * products


@pytest.mark.parametrize(("algo", "sizes"), [("matched_vdn", (8, 32, 1000)), ("matched_coma", (8, 8, 8))])
def test_methods_on_policy_keep_one_rollout_as_batch_and_replay(algo, sizes, load):
    workload = load("workload")
    found = workload.build(algo, workload.Sizes(agents=3)).config.algo
    assert (found.n_envs, found.batch_episodes, found.buffer_episodes) == sizes


def test_flops_of_loops_and_branches(load):
    def function(x):
        x = jax.lax.scan(lambda c, _: (c @ c, None), x, None, length=3)[0]
        x = jax.lax.fori_loop(0, jnp.int32(x[0, 0]), lambda _, c: c @ c, x)
        return jax.lax.cond(x[0, 0] > 0, lambda c: c @ c, lambda c: c, x)

    assert load("workload").matmul_flops(function, jnp.ones((2, 2))) == (3 + 1 + 1) * 16


def test_report_is_stored_as_it_grows(load, tmp_path, capsys):
    common, out = load("common", "--x"), tmp_path / "report.json"
    report = common.begin("/somewhere/speed.py", out, "a task", {"commit": "abc"})
    assert capsys.readouterr().out == "commit    abc\ntask      a task\n"
    common.add(report, {"system": "a", "update_ms": [2.0, 1.0]})
    common.add(report, {"system": "b", "update_ms": [4.0]})
    stored = json.loads(out.read_text())
    assert stored == {"benchmark": "speed", "head": {"commit": "abc"}, "task": "a task", "rows": report.rows}
    columns = {"name": lambda row: row["system"], "ms": lambda row: common.spread(row["update_ms"])}
    assert common.table(columns, stored["rows"]).splitlines()[2] == "| a | 1.50 (1.00 to 2.00) |"
    assert set(common.describe("jax")) == {"command", "started", "hardware", "versions", "commit"}


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("old.json", "exists already"), ("no/new.json", "is in no folder"), ("new.txt", "must end in .json")],
)
def test_report_needs_a_new_file(name, sentence, load, tmp_path, capsys):
    (tmp_path / "old.json").touch()
    with pytest.raises(SystemExit):
        load("common").parser("").parse_args(["--out", str(tmp_path / name)])
    assert sentence in capsys.readouterr().err


def test_forms_of_the_recurrent_core_agree(load):
    recurrent_core = load("recurrent_core")
    weights, x = recurrent_core.inputs(argparse.Namespace(agents=2, batch=2, hidden=4, runs=2, slots=3))
    assert recurrent_core.check(recurrent_core.forms(3), weights, x) < recurrent_core.TOLERANCE
    right, wrong = (lambda weights, x, by=by: by * x * weights.gain[None, None] for by in (1.0, 1.01))
    with pytest.raises(SystemExit, match="wrong differs from the first form"):
        recurrent_core.check({"right": (right, jax.vmap), "wrong": (wrong, jax.vmap)}, weights, x)


def test_parts_of_a_profile(load):
    profile = load("profile_update")
    names = {"gru_file": profile.GRU.rstrip(":")}
    for key, start in (("network", profile.NETWORK), ("collect", profile.COLLECT)):
        names[f"{key}_file"], names[key], _ = start.split(":")
    ops = profile.read_ops(Template(HLO).substitute(names))
    parts = {name: profile.part_of(op) for name, op in ops.items() if not name.startswith("p.")}
    assert parts == {
        "dot.1": "matmuls without a named source",
        "ynn_fusion.2": "recurrent matmuls, forward",
        "tanh.1": "gates and activations (elementwise), backward",
        "act.1": "rollout: network",
        "dot.2": "recurrent matmuls, weight gradients",
    }


def test_the_names_of_a_profile_are_those_of_the_compiled_program(load):
    profile, workload = load("profile_update"), importlib.import_module("workload")
    exp = workload.build("matched_vdn", workload.Sizes(agents=2, seeds=2, envs=2, batch=4, hidden=8, buffer=8))
    state = jax.eval_shape(exp.program.init, exp.root, exp.seeds, exp.choice)
    chunk, _ = importlib.import_module("common").compiled(exp.program.chunk, *state, exp.hp, jnp.asarray(1))
    parts = {profile.part_of(op) for op in profile.read_ops(chunk.as_text()).values()}
    layers = {f"{layer}, {way}" for layer in ("recurrent matmuls", "head", "first layer") for way in WAYS}
    rollout = {"rollout: network", "rollout: environment and actions"}
    update = {"buffer", "optimizer", "credit / mixer", "observations"}
    assert layers | rollout | update | {"stacking of scans (values kept for the backward pass)"} <= parts


@pytest.fixture
def env_programs(load):
    load("env_step")
    return importlib.import_module("env_programs")


def test_env_step_without_a_peer(load, capsys, monkeypatch, tmp_path):
    options = f"--envs 1 4 --repeats 2 --ms 1 --peaks --out {tmp_path}/e.json"
    env_step = load("env_step", "env=matrix_climbing", *options.split())
    monkeypatch.setattr(env_step.systems, "in_process", lambda script, job: env_step.work(job))
    env_step.main()
    out = capsys.readouterr().out
    assert "matrix has no peer" in out
    columns = (
        "system | env-steps/s | times the floor | compile, s | cores busy | memory planned, MB | peak of a process"
    )
    assert f"| environments | {columns}" in out
    assert [line.split(" | ")[0] for line in out.splitlines() if " | qllm_envs | " in line] == ["| 1", "| 4"]
    few, many = json.loads((tmp_path / "e.json").read_text())["rows"]
    # Of 3 environments more: actions (2 agents, 4 B), and results: 2 observations of a number, a reward and an end.
    assert many["planned_bytes"] - few["planned_bytes"] > 3 * 25 * (2 * 4 + 2 * 4 + 4 + 1)
    assert few["peak_bytes"] >= few["idle_bytes"] > 1e7


def test_planned_memory_is_arguments_results_and_temporary_arrays(load):
    common, workload = load("common"), importlib.import_module("workload")
    x = jnp.ones(1000)
    program, _ = common.compiled(lambda x: jnp.sort(jnp.sin(x))[:500] + x[500:], x)
    assert workload.planned_bytes(program) == 4000 + 2000 + workload.temporary_bytes(program)
    donated, _ = common.compiled(jax.jit(lambda x: x + 1, donate_argnums=0), x)
    assert workload.planned_bytes(donated) == 4000


@pytest.mark.parametrize(
    ("overrides", "peers", "steps"),
    [
        ("env=mpe_spread n_agents=2 env.horizon=3", ["jaxmarl", "mpe2"], {6, 3}),
        ("env=lbf_8x8_2p_2f_coop env.horizon=4", ["lbforaging"], {8, 4}),
        pytest.param(
            *("env=rware_tiny_2ag env.horizon=4", [name for name in ("jumanji", "rware") if has(name)], {8, 4}),
            marks=pytest.mark.skipif(not has("rware"), reason="rware is not installed"),
        ),
        pytest.param(
            "env=smac_3s_vs_5z env.horizon=2", ["jaxmarl"], {4}, marks=pytest.mark.slow
        ),  # two battles compile
    ],
)
def test_env_step_plays_whole_episodes_of_ours_and_of_peers(overrides, peers, steps, load, env_programs):
    env_step = load("env_step", *overrides.split(), "--envs", "2")
    args = env_step.arguments()
    with jax.numpy_rank_promotion("allow"):  # theirs
        listed = env_programs.listed(args.built[1], args.envs, args.peer_envs)
        found = [env_programs.build(*which, *args.built, args.seed) for which in listed]
    assert {system.name for system in found} == {"qllm_envs", *peers}
    assert {system.play() for system in found} == steps  # of two environments, and of a package's one
    rows = env_programs.take_turns(found, repeats=2, seconds=0.0)
    assert {f"times {peer}" for peer in peers} <= set(env_step.columns(rows))
    assert all((row["planned_bytes"] or 0) > 0 for row in rows if row["compile_s"])


def test_env_step_leaves_a_peer_out_at_sizes(load, env_programs):
    env_step = load("env_step", *["env=mpe_spread", "n_agents=2", "--envs", "2", "8", "2", "--peer-envs", "2"])
    args = env_step.arguments()
    game = args.built[1]
    systems = [("qllm_envs", 2), ("jaxmarl", 2), ("qllm_envs", 8), ("mpe2", 1)]
    assert env_programs.listed(game, args.envs, args.peer_envs) == systems
    sentence = "jaxmarl is left out with 8 environments, as --peer-envs says"
    assert env_step.left_out(game, args.envs, args.peer_envs) == [sentence]
    assert env_step.left_out(game, args.envs, args.envs) == []


def test_env_step_says_what_it_runs_beyond_the_end_of_episodes(load):
    row = {"system": "qllm_envs", "envs": 8, "env_steps_per_s": [40.0, 50.0, 60.0], "counted": 0.1}
    line = "qllm_envs x 8 runs 500 steps a second, of which 10.0% come before the end of an episode"
    assert load("env_step").not_counted([row, row | {"counted": 1.0}]) == [line]


def test_env_step_names_a_package_that_is_missing(load, monkeypatch):
    load("env_step")
    peers = importlib.import_module("env_peers")
    monkeypatch.setattr(peers, "installed", lambda package: False)
    sentence = "lbforaging is left out: it is not installed (pip install lbforaging)"
    assert peers.missing("lbf") == [sentence]
    assert len(peers.missing("mpe_tag")) == 2


def test_env_step_compares_round_by_round(load, env_programs, monkeypatch):
    env_step = load("env_step")
    speeds = {("qllm_envs", 1, 2.5): [2.0, 6.0], ("jaxmarl", 1, 3.5): [1.0, 2.0], ("qllm_envs", 8, 1.0): [8.0, 9.0]}
    speeds |= {("jaxmarl", 8, 1.5): [4.0, 3.0], ("mpe2", 1, None): [1.0, 1.0]}
    turns = {key: iter(rates) for key, rates in speeds.items()}
    monkeypatch.setattr(env_programs.workload, "write_rate", lambda: 60.0)
    floors = {("qllm_envs", 1, 2.5): 10.0}  # bytes a step: 6 steps a second at the floor
    system = lambda key: env_programs.System(
        *key[:2], key, key[2], floors.get(key), None if key[2] is None else 2_500_000
    )
    monkeypatch.setattr(env_programs, "rate", lambda play, seconds: env_programs.Rate(next(turns[play]), 1.5))
    rows = env_programs.take_turns([system(key) for key in speeds], repeats=2, seconds=0.0)
    cells = [[cell(row) for cell in env_step.columns(rows).values()] for row in rows]
    assert cells[0][2:6] == ["4 (2 to 6)", "2.50 (2.00 to 3.00)", "4.00 (2.00 to 6.00)", "2.00 (1.00 to 3.00)"]
    assert cells[3] == ["8", "jaxmarl", "4 (3 to 4)", "-", "3.50 (3.00 to 4.00)", "-", "1.50", "1.5", "2.5"]
    assert cells[2][3] == "2.50 (2.00 to 3.00)"
    assert cells[4][2:] == ["1 (1 to 1)", "0.75 (0.50 to 1.00)", "-", "-", "-", "1.5", "-"]


def test_env_step_counts_no_step_after_an_end(env_programs):
    ended = np.array([[0, 0, 1, 0], [0, 0, 0, 0], [1, 0, 0, 1]], bool)
    assert env_programs.happened(ended) == 3 + 4 + 1


@pytest.mark.parametrize(
    ("script", "arguments", "sentence"),
    [
        ("football_speed", ["--games", "1"], "needs Google Research Football"),
        ("football_record", ["ball"], "needs Google Research Football"),
        ("jaxmarl_envs", [], "jaxmarl is not installed: pip install jaxmarl"),
    ],
)
def test_a_package_that_is_needed_and_missing_is_named(script, arguments, sentence, load, mistake_of, monkeypatch):
    module = load(script)
    of_script = module.env_peers if script == "jaxmarl_envs" else module.game
    monkeypatch.setattr(of_script, "installed", lambda *package: False)
    assert sentence in mistake_of(script, *arguments)


@pytest.mark.parametrize(
    ("script", "arguments", "sentence"),
    [
        ("env_step", ["env=lbff"], "env 'lbff' does not exist"),
        ("env_step", ["env=mpe_spread", "n_agents=0"], "n_agents must be"),
        ("env_step", ["env=mpe_spread", "--seed", "-1"], "must be an integer of at least 0, got '-1'"),
        ("football_speed", ["--seconds", "0"], "must be a number above 0, got '0'"),
        ("football_record", ["ball", "--folder", "nowhere"], "--folder nowhere is no folder"),
        ("sweep", ["--runs", "1", "--tfcaf", "mpe_spread", "mpe_spred"], "did you mean 'mpe_spread'?"),
        ("env_step", ["env=mpe_spread", "--peer-envs", "8"], "--peer-envs 8: choose from --envs, which is 1 64 1024"),
        ("env_step", ["env=lbf_10x10_3p_3f", "--peer-envs", "1"], "--peer-envs is for environments with a peer in JAX"),
        ("algorithms", ["--algos", "matched_qmixx"], "did you mean 'matched_qmix'?"),
        ("scaling", ["--algo", "repo_coma"], "algo.learner 'coma' learns from the newest rollout alone"),
        ("early_termination", ["lbff"], "env 'lbff' does not exist"),
        ("early_termination", ["matrix", "--settings", "algo=matched_vdn"], "no episode of matrix_climbing ends early"),
        (
            "early_termination",
            ["lbf_8x8_2p_2f_coop", "--settings", "algo=matched_vdn", "algo.n_envs=32"],
            "must be above n_envs=32",
        ),
    ],
)
def test_a_mistake_is_a_sentence(script, arguments, sentence, mistake_of):
    assert sentence in mistake_of(script, *arguments)


def test_lengths_end_where_the_task_ends(load):
    env = probe(5, 2, lambda state, actions: 1.0)
    agent, algo = Agent(env.spec, 4), SimpleNamespace(n_envs=2, batch_episodes=3)
    config = SimpleNamespace(algo=algo, env={"time_limit_is_terminal": True})
    exp = SimpleNamespace(env=env, agent=agent, config=config, learner=SimpleNamespace(act=epsilon_greedy), n_runs=2)
    params = {"agent": jax.vmap(agent.init)(jax.random.split(jax.random.key(0), 2))}
    module = load("early_termination")
    found = module.lengths(module.Team("random", exp, params, 1.0), 3)
    assert found.tolist() == [[[2, 2], [2, 2]]] * 2  # 3 episodes of each run for a batch, in rollouts of 2


@pytest.mark.parametrize(("reads_padding", "read"), [(False, (32 + 64) / 2), (True, 64)])
def test_a_rollout_plays_to_its_last_end_and_an_update_reads_a_bucket(load, reads_padding, read):
    config = SimpleNamespace(algo=SimpleNamespace(batch_episodes=4))
    env = SimpleNamespace(spec=SimpleNamespace(horizon=64))
    exp = SimpleNamespace(env=env, config=config, learner=SimpleNamespace(reads_padding=reads_padding))
    # Rollouts of 2 runs and 2 environments. Two are a batch of each run; the fifth completes none.
    steps = [[[9, 1], [2, 32]], [[3, 5], [4, 4]], [[7, 7], [7, 33]], [[1, 1], [1, 1]], [[64, 1], [1, 1]]]
    assert load("early_termination").handled(exp, np.array(steps)) == ((32 + 5 + 33 + 1 + 64) / 5, read)


TIMES = ("rollout_ms", "update_ms", "full_rollout_ms", "full_update_ms")
TINY_LBF = "algo=matched_vdn seeds=2 env.horizon=4 algo.n_envs=2 algo.batch_episodes=4 algo.buffer_episodes=8"


def test_the_timed_team_stays_as_it_is(load, monkeypatch):
    module, results = load("early_termination"), []
    team = module.open_task("lbf_8x8_2p_2f_coop", [*TINY_LBF.split(), "algo.hidden_dim=4"])
    team = team._replace(params=jax.tree.map(lambda x: x + 1.0, team.params), epsilon=0.3)
    seconds = module.common.seconds
    monkeypatch.setattr(module.common, "seconds", lambda *call: results.append(seconds(*call)) or results[-1])
    found = module.times(team, repeats=1)
    assert {name: len(rounds) for name, rounds in found.items()} == dict.fromkeys(TIMES, 1)
    _, state, _ = results[-1][0]
    jax.tree.map(np.testing.assert_array_equal, state.learner.params, team.params)
    for result in [result for result, _ in results if len(result) == 3]:
        np.testing.assert_allclose(result[2]["epsilon"], 0.3, rtol=1e-6)
        assert np.all(result[2]["grad_norm"] > 0)


def test_early_termination_prints_shares_and_times(load, capsys, monkeypatch):
    settings = [*TINY_LBF.split(), "algo.hidden_dim=4"]
    module = load("early_termination", "lbf_8x8_2p_2f_coop", "--repeats", "2", "--settings", *settings)
    steps = np.array([[[1, 4], [3, 4]], [[3, 1], [2, 2]]])
    monkeypatch.setattr(module, "lengths", lambda team, episodes: steps)
    rounds = {name: [2.0, 4.0] if name.startswith("full") else [1.0, 2.0] for name in TIMES}
    monkeypatch.setattr(module, "times", lambda team, repeats: rounds)
    module.main()
    row = capsys.readouterr().out.splitlines()[-1]
    assert " | random | 2 | 4 | 2, 2, 4 | 8 | 75.0% | 2.5 | 37.5% (95% ± 19.4%) | 25.0% | 37.5% | " in row
    assert row.endswith(" | 1.50 (1.00 to 2.00), 2.00 x | 1.50 (1.00 to 2.00), 2.00 x | 2.00 (2.00 to 2.00) |")


def test_early_termination_opens_a_run(load, tmp_path, monkeypatch):
    module = load("early_termination")
    (tmp_path / folder.CONFIG).touch()
    exp = module.open_task("lbf_8x8_2p_2f_coop", [*TINY_LBF.split(), "algo.hidden_dim=4"]).exp
    opened = {str(tmp_path): SimpleNamespace(exp=exp, path=tmp_path, params={"agent": 1})}
    monkeypatch.setattr(module.load, "load_run", opened.get)
    team = module.open_task(str(tmp_path), [])
    assert (team.policy, team.params) == (f"best of {tmp_path.name}", {"agent": 1})
    endless = exp._replace(env=exp.env._replace(spec=exp.env.spec._replace(ends_early=False)))
    opened[str(tmp_path)].exp = endless
    with pytest.raises(module.UserError, match=r"no episode of lbf_.* ends early"):
        module.open_task(str(tmp_path), [])


@pytest.mark.usefixtures("fake_loops")
def test_algorithms_prints_a_row_for_each(load, capsys):
    arguments = ["--algos", "matched_vdn", "matched_iql", "--agents", "2", "--updates", "1", "--repeats", "1"]
    load("algorithms", *arguments).main()
    rows = capsys.readouterr().out.splitlines()[-2:]
    assert [row.split(" | ")[:2] for row in rows] == [["| 2", "matched_vdn"], ["| 2", "matched_iql"]]
    assert rows[0].split(" | ")[3] == "1.00 (1.00 to 1.00)"


@pytest.mark.usefixtures("fake_loops")
def test_sweep_prints_a_row_for_each_number_of_runs(load, capsys):
    arguments = ["--runs", "3", "--agents", "2", "--tfcaf", "mpe_spread", "mpe_spread_paper"]
    load("sweep", *arguments, "--buffer", "32", "--updates", "1", "--repeats", "1").main()
    rows = [row.split(" | ") for row in capsys.readouterr().out.splitlines()[-2:]]
    assert [row[:2] for row in rows] == [["| 2", "1"], ["| 2", "3"]]
    assert rows[0][3] == "1.00 (1.00 to 1.00)"
