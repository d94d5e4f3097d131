"""Kernels of a program for a GPU: counted right in a text, and few in the programs that XLA compiles."""

import argparse
import importlib.util
from pathlib import Path

import pytest

CLONES = Path(__file__).with_name("clones")
PLUGINS = ("jax_cuda12_plugin", "jax_cuda13_plugin")
HLO = """HloModule jit_chunk, is_scheduled=true

FileNames
1 "/somewhere/qllm_jax/core/rollout.py"
2 "/somewhere/qllm_jax/core/lockstep.py"

FunctionNames
1 "rollout"
2 "scan_while_any"

FileLocations
1 {file_name_id=1 function_name_id=1 line=48 end_line=48 column=1 end_column=2}
2 {file_name_id=2 function_name_id=2 line=34 end_line=34 column=1 end_column=2}

StackFrames
1 {file_location_id=1 parent_frame_id=1}
2 {file_location_id=2 parent_frame_id=1}

%inside (p.0: f32[2]) -> f32[2] {
  %p.0 = f32[2]{0} parameter(0)
  ROOT %tanh.1 = f32[2]{0} tanh(%p.0)
}

%step (s.0: (s32[], f32[2])) -> (s32[], f32[2]) {
  %s.0 = (s32[], f32[2]{0}) parameter(0)
  %get.1 = f32[2]{0} get-tuple-element(%s.0), index=1
  %fusion.1 = (f32[2]{0}, f32[2]{0}) fusion(%get.1), kind=kLoop, calls=%inside, metadata={op_name="step/tanh"}
  %gemm.1 = f32[2]{0} custom-call(%get.1), custom_call_target="__cublas$gemm"
  ROOT %tuple.1 = (s32[], f32[2]{0}) tuple(%get.1, %gemm.1)
}

%done (s.1: (s32[], f32[2])) -> pred[] {
  %s.1 = (s32[], f32[2]{0}) parameter(0)
  ROOT %lt.1 = pred[] compare(%s.1, %s.1), direction=LT
}

%many (q.0: f32[2]) -> f32[2] {
  %q.0 = f32[2]{0} parameter(0)
  %while.2 = (s32[], f32[2]{0}) while(%q.0), condition=%done, body=%step, metadata={stack_frame_id=2}
  ROOT %copy.2 = f32[2]{0} copy(%q.0)
}

%few (q.1: f32[2]) -> f32[2] {
  %q.1 = f32[2]{0} parameter(0)
  ROOT %copy.3 = f32[2]{0} copy(%q.1)
}

%iteration (s.2: (s32[], f32[2])) -> (s32[], f32[2]) {
  %s.2 = (s32[], f32[2]{0}) parameter(0)
  %copy-start.1 = (f32[2]{0}, f32[2]{0}, u32[]) copy-start(%s.2)
  %copy-done.1 = f32[2]{0} copy-done(%copy-start.1)
  %call-start.1 = ((f32[2]{0}), f32[2]{0}) async-start(%copy-done.1), calls=%few
  %call-done.1 = f32[2]{0} async-done(%call-start.1)
  %while.1 = (s32[], f32[2]{0}) while(%s.2), condition=%done, body=%step, metadata={stack_frame_id=1}, \
backend_config={"known_trip_count":{"n":"25"}}
  ROOT %cond.1 = (s32[], f32[2]{0}) conditional(%p, %q, %r), branch_computations={%few, %many}
}

ENTRY %main (a: f32[2]) -> f32[2] {
  %a = f32[2]{0} parameter(0)
  %while.3 = (s32[], f32[2]{0}) while(%a), condition=%done, body=%iteration
  ROOT %divide.1 = f32[2]{0} divide(%a, %a)
}
"""


def test_loops_of_a_program_and_their_kernels(load):
    kernels = load("gpu_kernels")
    program = kernels.read(HLO)
    assert (program.own, program.trips) == (1, 1)
    iteration = kernels.iteration(program)
    # A copy, the copy of the asynchronous call, and of the two branches the larger one, with its own copy.
    assert iteration.own == 3
    known, unknown = iteration.loops
    assert (known.source, known.trips, known.own) == ("rollout.py: rollout", 25, 2)
    assert (unknown.source, unknown.trips, unknown.own) == ("lockstep.py: scan_while_any", None, 2)
    assert iteration.per_trip(1) == 3 + 25 * 2 + 2
    assert iteration.per_trip(50) == 3 + 25 * 2 + 50 * 2  # an episode may go on to the horizon
    assert kernels.lines(iteration) == [
        {"loop": "rollout.py: rollout", "depth": 0, "trips": 25, "kernels": 2},
        {"loop": "lockstep.py: scan_while_any", "depth": 0, "trips": None, "kernels": 2},
    ]


def test_launches_are_listed_with_what_they_come_from(load):
    listed = load("gpu_kernels").launches(HLO)
    assert f"{' ' * 8}{'fusion.1':<40}step/tanh" in listed
    assert [line.strip() for line in listed].count("gemm.1") == 2
    assert not any("copy-done" in line or "parameter" in line for line in listed)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["n_agents=3"], "XLA's compiler for GPUs is not installed: pip install"),
        (["env=mpe_spred"], "did you mean 'mpe_spread'?"),
        (
            ["env=duty", "--jaxmarl", str(CLONES / "jaxmarl")],
            "JaxMARL is compared on env=mpe_spread alone, not on duty",
        ),
        (["env.horizon=30", "--jaxmarl", str(CLONES / "jaxmarl")], "JaxMARL is compared with env.horizon=25, not 30"),
        (
            ["algo.buffer_episodes=32", "--jaxmarl", str(CLONES / "jaxmarl")],
            "the replay must hold at least 256 episodes: JaxMARL waits",
        ),
        (["--device", "h1000"], "invalid choice: 'h1000'"),
    ],
)
def test_gpu_program_refuses(arguments, sentence, load, mistake_of, monkeypatch):
    module = load("gpu_program")
    monkeypatch.setattr(module.gpu_targets, "PLUGINS", ("no_such_package",))
    monkeypatch.setattr(module.jaxmarl_qmix, "NEEDS", ())
    assert sentence in mistake_of("gpu_program", *arguments)


def test_gpu_program_compares_with_the_first(load, monkeypatch, capsys, tmp_path):
    out = tmp_path / "p.json"
    module = load(
        "gpu_program", "seeds=2", "--agents", "3", "--algos", "matched_vdn", "matched_qmix", "--out", str(out)
    )
    counted, jobs = iter([100, 130]), []
    loops = [{"loop": "rollout.py: rollout", "depth": 0, "trips": 25, "kernels": 2}]
    found = {
        "agents": 3,
        "seeds": 2,
        "loops": loops,
        "temporary_bytes": 10**6,
        "state_bytes": 10**6,
        "compile_s": 1.0,
        "launches": [],
    }
    monkeypatch.setattr(
        module.systems, "in_process", lambda script, job: jobs.append(job) or found | {"kernels": next(counted)}
    )
    monkeypatch.setattr(module.gpu_targets, "prepare", lambda: None)
    monkeypatch.setattr(module.gpu_targets, "check", lambda: None)
    module.main()
    text = capsys.readouterr().out
    assert "matched_qmix, 3 agents, 2 seeds: 130 kernels an iteration\n  25 x 2    rollout.py: rollout" in text
    assert "| 3 | 2 | matched_qmix | 130 | +30 | 25 x 2 | 1 | 1 |" in text
    assert jobs[1]["overrides"] == ["seeds=2", "n_agents=3", "algo=matched_qmix"]
    assert jobs[1]["sizes"]["agents"] == 3


def test_a_peer_has_the_sizes_of_the_first_system(load, monkeypatch):
    module = load("gpu_program", "--algos", "matched_coma", "matched_vdn")
    jobs, figures = [], {"agents": 3, "seeds": 1, "kernels": 1, "loops": [], "launches": []}
    monkeypatch.setattr(module.systems, "in_process", lambda script, job: jobs.append(job) or {**figures})
    monkeypatch.setattr(module.gpu_targets, "check", lambda: None)
    module.compare(module.arguments(), ["n_agents=6"])
    assert [job["sizes"] for job in jobs] == [module.Sizes(6, 5, 8, 8, 64, 8)._asdict()] * 2


def test_gpu_program_gives_no_replay_to_methods_on_policy(load):
    module = load("gpu_program", "seeds=5", "algo.buffer_episodes=1000")
    args = argparse.Namespace(overrides=["seeds=5", "algo.buffer_episodes=1000"])
    assert module.overrides(args, "matched_coma") == ["seeds=5", "algo=matched_coma"]
    assert module.overrides(args, "matched_vdn") == [*args.overrides, "algo=matched_vdn"]


@pytest.mark.slow
@pytest.mark.skipif(not any(map(importlib.util.find_spec, PLUGINS)), reason="needs the extra cuda12")
@pytest.mark.usefixtures("full_compile")
@pytest.mark.parametrize("device", ["h100", "a100"])
def test_an_iteration_has_few_kernels(device, load, monkeypatch):
    """Bounds a tenth above what was counted, so that kernels do not creep in: docs/speed.md has the counts."""
    module = load("gpu_program", "seeds=5", "algo.buffer_episodes=1000", "--device", device)
    for name in ("JAX_PLATFORMS", "JAX_SKIP_CUDA_CONSTRAINTS_CHECK"):
        monkeypatch.setenv(name, "")
    monkeypatch.setattr(module.jax.config, "update", lambda *_: None)  # this process has its platform
    module.gpu_targets.prepare()
    args = module.arguments()
    large = {row["system"]: row for row in module.compare(args, ["n_agents=25"])}
    small = {row["system"]: row for row in module.compare(args, ["n_agents=3"])}
    assert large["matched_qllm"]["kernels_more"] <= 10
    for rows, bounds in ((large, BOUNDS["N=25"]), (small, BOUNDS["N=3"])):
        assert {name: row["kernels"] for name, row in rows.items() if row["kernels"] > bounds[name]} == {}
    assert large["matched_qllm"]["temporary_bytes"] < 0.3e9


BOUNDS = {
    "N=25": {"matched_vdn": 380, "matched_qllm": 385, "matched_qmix": 450, "matched_qplex": 510, "matched_coma": 470},
    "N=3": {"matched_vdn": 310, "matched_qllm": 310, "matched_qmix": 380, "matched_qplex": 415, "matched_coma": 380},
}
