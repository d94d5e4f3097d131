"""The benchmarks start, count their work right and refuse what they cannot do. No timing is asserted."""

import argparse
import importlib
import math
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from probes import probe

from qllm_jax import agents
from qllm_jax.rollout import epsilon_greedy

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"
SCRIPTS = ("env_step", "throughput", "recurrent_core", "profile_update", "early_termination")

HLO = """HloModule jit_chunk

FileNames
1 "/x/qllm_jax/agents.py"
2 "/x/qllm_jax/recurrent.py"
3 "/x/qllm_jax/runs.py"

FunctionNames
1 "AgentNetwork.__call__"
2 "_forward"
3 "make.<locals>.collect"

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


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import a script by name, with a command line."""

    def load(name: str, *arguments: str) -> ModuleType:
        monkeypatch.syspath_prepend(FOLDER)
        monkeypatch.setattr("sys.argv", [f"{name}.py", *arguments])
        return importlib.import_module(name)

    return load


@pytest.mark.parametrize("name", SCRIPTS)
def test_help(name, load, capsys):
    with pytest.raises(SystemExit) as stop:
        load(name, "--help").main()
    assert stop.value.code == 0
    assert f"benchmarks/{name}.py" in capsys.readouterr().out


def clone(path: Path) -> Path:
    """A folder that passes for a clone of JaxMARL."""
    (path / "baselines" / "QLearning").mkdir(parents=True)
    (path / "baselines" / "QLearning" / "qmix_rnn.py").touch()
    return path


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--jaxmarl", "{empty}"], "is no clone of github.com/FLAIROx/JaxMARL"),
        (["--jaxmarl", "{clone}", "--out", "{clone}/old.json"], "exists already"),
        (["--jaxmarl", "{clone}", "--algos", "matched_qmax"], "'matched_qmax' does not exist"),
        (["--jaxmarl", "{clone}", "--buffer", "100"], "--buffer must be at least 320"),
        (["--jaxmarl", "{clone}", "--seeds", "0"], "must be an integer of at least 1"),
    ],
)
def test_throughput_refuses(arguments, sentence, load, tmp_path, capsys, monkeypatch):
    (clone(tmp_path / "clone") / "old.json").write_text("kept")
    places = {"clone": str(tmp_path / "clone"), "empty": str(tmp_path)}
    throughput = load("throughput", *(argument.format(**places) for argument in arguments))
    monkeypatch.setattr(throughput, "NEEDS", ())
    with pytest.raises(SystemExit) as stop:
        throughput.main()
    assert stop.value.code == 2
    assert sentence in capsys.readouterr().err
    assert (tmp_path / "clone" / "old.json").read_text() == "kept"


def test_throughput_names_missing_packages(load, tmp_path, capsys, monkeypatch):
    throughput = load("throughput", "--jaxmarl", str(clone(tmp_path)))
    monkeypatch.setattr(throughput, "NEEDS", ("jax", "no_such_package"))
    with pytest.raises(SystemExit) as stop:
        throughput.main()
    assert stop.value.code == 2
    assert '(no_such_package): pip install "jaxmarl[algs]"' in capsys.readouterr().err


def test_worker_of_ours(load, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=0")  # compiles in a third of the time
    job = {"system": "matched_vdn", "agents": 2, "seeds": 2, "updates": 1, "buffer": 320}
    throughput = load("throughput")
    result = throughput.in_process(job)  # raises unless every timed update learned
    assert len(result["samples_ms"]) == throughput.SAMPLES
    assert result["env_steps_per_s"] * result["ms_per_update_and_seed"] == pytest.approx(1e3 * 8 * 25)
    row = {"agents": 2, "seeds": 2, "system": "matched_vdn", **result, "ratios": [2.0, 3.0, 1.0], "runs": [result]}
    assert "| 2.00 (1.00 to 3.00) |" in throughput.table([{**row, "ratios": [1.0, 2.0, 3.0]}])


def products(jaxpr: Any) -> int:
    """FLOPs of all matrix multiplications of a traced program; a loop without a known length counts once."""
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            (inner, _), _ = equation.params["dimension_numbers"]
            left = equation.invars[0].aval.shape
            total += 2 * math.prod(equation.outvars[0].aval.shape) * math.prod(left[axis] for axis in inner)
        inside = [getattr(value, "jaxpr", value) for value in equation.params.values()]
        total += equation.params.get("length", 1) * sum(products(each) for each in inside if hasattr(each, "eqns"))
    return total


def test_floor_counts_the_products_of_the_program(load):
    common = load("common")
    parts = common.workload("matched_qmix", agents=3, seeds=1, buffer=320)
    state, spec = jax.eval_shape(parts.program.init, parts.root, parts.seeds), parts.env.spec
    traced = jax.make_jaxpr(parts.program.chunk)(*state, parts.hp, jnp.asarray(1))
    counted = common.matmul_flops(3, spec.horizon, spec.obs_dim, spec.n_actions, spec.state_dim, qmix=True)
    assert products(traced.jaxpr) == counted


def test_forms_of_the_recurrent_core_agree(load):
    recurrent_core = load("recurrent_core")
    weights, x = recurrent_core.inputs(argparse.Namespace(agents=2, batch=2, hidden=4, runs=2, slots=3))
    assert recurrent_core.check(recurrent_core.forms(3), weights, x) < recurrent_core.TOLERANCE
    right, wrong = (lambda weights, x, by=by: by * x * weights.gain[None, None] for by in (1.0, 1.01))
    with pytest.raises(SystemExit, match="wrong differs from the first form"):
        recurrent_core.check({"right": (right, jax.vmap), "wrong": (wrong, jax.vmap)}, weights, x)


def test_parts_of_a_profile(load):
    profile = load("profile_update")
    ops = profile.read_ops(HLO)
    parts = {name: profile.part_of(op) for name, op in ops.items() if not name.startswith("p.")}
    assert parts == {
        "dot.1": "matmuls without a named source",
        "ynn_fusion.2": "recurrent matmuls, forward",
        "tanh.1": "gates and activations (elementwise), backward",
        "act.1": "rollout: network",
        "dot.2": "recurrent matmuls, weight gradients",
    }


def test_env_step_without_a_peer(load, capsys):
    load("env_step", "env=matrix_climbing", "--envs", "1", "4", "--repeats", "2", "--ms", "1").main()
    out = capsys.readouterr().out
    assert "matrix has no peer" in out
    assert "| environments | system | env-steps/s | compile, s |" in out
    assert [line.split(" | ")[0] for line in out.splitlines() if " | qllm_envs | " in line] == ["| 1", "| 4"]


@pytest.mark.usefixtures("quick_compile")
@pytest.mark.parametrize(
    ("overrides", "peers", "steps"),
    [
        ("env=mpe_spread n_agents=2 env.horizon=3", ["jaxmarl", "mpe2"], {6, 3}),
        ("env=lbf_8x8_2p_2f_coop env.horizon=4", ["lbforaging"], {8, 4}),
        ("env=smac_3s_vs_5z env.horizon=2", ["jaxmarl"], {4}),
    ],
)
def test_env_step_plays_whole_episodes_of_ours_and_of_peers(overrides, peers, steps, load):
    env_step = load("env_step", *overrides.split(), "--envs", "2")
    args = env_step.arguments()
    with jax.numpy_rank_promotion("allow"):  # theirs
        found = list(env_step.systems(*args.built, args.envs, args.seed))
    assert {system.name for system in found} == {"qllm_envs", *peers}
    assert {system.play() for system in found} == steps  # of two environments, and of a package's one
    rows = env_step.take_turns(found, repeats=2, seconds=0.0)
    assert all(f"times {peer}" in env_step.table(rows) for peer in peers)


def test_env_step_says_what_it_runs_beyond_the_end_of_episodes(load):
    env_step = load("env_step")
    systems = [env_step.System("qllm_envs", 8, None, 1.0, counted=0.1), env_step.System("mpe2", 1, None, None)]
    rows = [env_step.Row(system, [40.0, 50.0, 60.0]) for system in systems]
    line = "qllm_envs x 8 runs 500 steps a second, of which 10.0% come before the end of an episode"
    assert env_step.not_counted(rows) == [line]


def test_env_step_names_a_package_that_is_missing(load, monkeypatch):
    load("env_step")
    peers = importlib.import_module("env_peers")
    monkeypatch.setattr(peers, "installed", lambda package: False)
    sentence = "lbforaging is left out: it is not installed (pip install lbforaging)"
    assert peers.missing("lbf") == [sentence]
    assert len(peers.missing("mpe_tag")) == 2


def test_env_step_compares_round_by_round(load):
    env_step = load("env_step")
    row = lambda name, n_envs, compile_s, *rates: env_step.Row(
        env_step.System(name, n_envs, None, compile_s), list(rates)
    )
    rows = [row("qllm_envs", 1, 2.5, 2.0, 6.0), row("jaxmarl", 1, 3.5, 1.0, 2.0), row("qllm_envs", 8, 1.0, 8.0, 9.0)]
    rows += [row("jaxmarl", 8, 1.5, 4.0, 3.0), row("mpe2", 1, None, 1.0, 1.0)]
    cells = [env_step.cells(row, ["jaxmarl", "mpe2"], rows) for row in rows]
    assert cells[0][2:] == ["4 (2 to 6)", "2.50 (2.00 to 3.00)", "4.00 (2.00 to 6.00)", "2.50"]
    assert cells[3] == ["8", "jaxmarl", "4 (3 to 4)", "-", "3.50 (3.00 to 4.00)", "1.50"]
    assert cells[2][3] == "2.50 (2.00 to 3.00)"
    assert cells[4] == ["1", "mpe2", "1 (1 to 1)", "0.75 (0.50 to 1.00)", "-", "-"]


def test_env_step_counts_no_step_behind_an_end(load):
    ended = np.array([[0, 0, 1, 0], [0, 0, 0, 0], [1, 0, 0, 1]], bool)
    assert load("env_step").happened(ended) == 3 + 4 + 1


@pytest.mark.parametrize(
    ("script", "arguments", "sentence"),
    [
        ("env_step", ["env=lbff"], "env 'lbff' does not exist"),
        ("env_step", ["env=mpe_spread", "n_agents=0"], "n_agents must be"),
        ("early_termination", ["lbff"], "env 'lbff' does not exist"),
        ("early_termination", ["matrix", "--settings", "algo.n_envs=32"], "must be above n_envs=32"),
    ],
)
def test_a_mistake_is_a_sentence(script, arguments, sentence, load, capsys):
    with pytest.raises(SystemExit) as stop:
        load(script, *arguments).main()
    assert stop.value.code == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.usefixtures("quick_compile")
def test_lengths_end_where_the_task_ends(load):
    env = probe(5, 2, lambda state, actions: 1.0)
    agent, config = agents.make(env.spec, 4), SimpleNamespace(seeds=2, env={"time_limit_is_terminal": True})
    params = jax.vmap(agent.init)(jax.random.split(jax.random.key(0), 2))
    module = load("early_termination")
    learner = SimpleNamespace(act=epsilon_greedy)
    team = module.Team("random", SimpleNamespace(env=env, agent=agent, config=config, learner=learner), params, 1.0)
    assert module.lengths(team, 3).tolist() == [2, 2, 2, 2]  # as many of each seed


@pytest.mark.usefixtures("quick_compile")
def test_early_termination_prints_shares_and_times(load, capsys, monkeypatch):
    tiny = "algo=matched_vdn seeds=2 env.horizon=4 algo.n_envs=2 algo.batch_episodes=4 algo.buffer_episodes=8"
    arguments = ["matrix", "--repeats", "2", "--settings", *tiny.split(), "algo.hidden_dim=4"]
    module = load("early_termination", *arguments)
    monkeypatch.setattr(module, "lengths", lambda team, episodes: np.array([1, 4, 4, 4]))
    module.main()
    row = capsys.readouterr().out.splitlines()[-1]
    assert row.startswith("| matrix_climbing | random | 2 | 4 | 4 | 25.0% | 3.2 | 18.8% (95% ± 31.8%) | 2, 4 | ")


def test_early_termination_opens_a_run(load, tiny_run):
    exp = load("early_termination")
    with pytest.raises(exp.UserError, match="must be above n_envs=4"):
        exp.open_task(str(tiny_run), [])


@pytest.mark.usefixtures("quick_compile")
def test_algorithms_prints_a_row_for_each(load, capsys):
    arguments = ["--algos", "matched_vdn", "matched_iql", "--agents", "2", "--updates", "1", "--repeats", "1"]
    load("algorithms", *arguments).main()
    rows = capsys.readouterr().out.splitlines()[-2:]
    assert [row.split(" | ")[:2] for row in rows] == [["| 2", "matched_vdn"], ["| 2", "matched_iql"]]
    assert rows[0].split(" | ")[4] == "1.00 (1.00 to 1.00)"


def test_algorithms_names_a_preset_that_does_not_exist(load, capsys):
    with pytest.raises(SystemExit):
        load("algorithms", "--algos", "matched_qmixx").main()
    assert "did you mean 'matched_qmix'?" in capsys.readouterr().err
