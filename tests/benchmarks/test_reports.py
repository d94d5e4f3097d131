"""The benchmarks that print and draw reports, with tiny sizes. No timing is asserted."""

import json

import pytest

TINY = "--agents 2 --seeds 2 --envs 4 --batch 8 --hidden 4 --buffer 16"


def here(module):
    """Do the work of a fresh process in this one."""
    return lambda script, job: json.loads(json.dumps(module.work(json.loads(json.dumps(job)))))


def test_scaling_changes_one_axis_of_the_point(load, capsys, tmp_path):
    point = "--at-agents 2 --at-seeds 2 --at-envs 4 --at-batch 8 --at-hidden 4 --at-buffer 16 --algo matched_vdn"
    axes = "--agents --envs --batch --seeds 1 1 --updates 1 --repeats 2"
    load("scaling", *point.split(), *axes.split(), "--out", str(tmp_path / "s.json")).main()
    (row,) = json.loads((tmp_path / "s.json").read_text())["rows"]
    assert (row["axis"], row["value"]) == ("seeds", 1)
    assert (row["agents"], row["seeds"], row["envs"], row["batch"]) == (2, 1, 4, 8)
    assert row["env_steps_per_s"][0] * row["update_ms"][0] == pytest.approx(1e3 * 4 * 25)
    assert len(row["update_ms"]) == 2
    assert row["temporary_bytes"] > 0
    assert "| seeds | 2 | 4 | 8 | 1 | " in capsys.readouterr().out


def test_memory_names_stages_and_items(load, capsys, monkeypatch, tmp_path):
    memory = load("memory", "--agents", "2", "--buffer", "60", "--updates", "1", "--out", str(tmp_path / "m.json"))
    monkeypatch.setattr(memory.systems, "in_process", here(memory))
    memory.main()
    rows = json.loads((tmp_path / "m.json").read_text())["rows"]
    stages = [row["peak_bytes"] for row in rows if "stage" in row]
    assert stages == sorted(stages)  # a peak does not fall
    sizes = {row["item"]: row["bytes"] for row in rows if "item" in row}
    # An episode holds 26 states of 2 agents and landmarks (position, velocity), and 25 steps; 60 of 5 runs.
    assert sizes["replay"] > 5 * 60 * 26 * 2 * 6 * 4
    assert sizes["target and best parameters"] == 2 * sizes["parameters"]
    assert "GiB at the peak" in capsys.readouterr().out


def test_gpu_runs_anywhere_with_small_sizes(load, capsys, monkeypatch, tmp_path):
    options = f"{TINY} --algos matched_vdn --steps 4000 --updates 1 --repeats 1 --matmul 32 --top 3 --peak-tflops 1"
    gpu = load("gpu", *options.split(), "--out", str(tmp_path / "g.json"))
    monkeypatch.setattr(gpu.systems, "in_process", here(gpu))
    gpu.main()
    stored = json.loads((tmp_path / "g.json").read_text())
    speed, *kernels = stored["rows"]
    whole = speed["update_ms"][0] + speed["evaluation_ms"][0] / speed["evaluation_every_updates"]
    assert speed["job_s"][0] == pytest.approx(speed["compile_s"][0] + 1e-3 * 2 * 40 * whole)  # 40 updates, 2 seeds
    assert (speed["evaluation_episodes"], speed["evaluation_every_updates"]) == (32, 500)  # of 100 env steps each
    assert speed["env_steps_per_s"][0] == pytest.approx(1e3 * 100 / whole)
    assert len(speed["samples_ms"][0]) == 3  # loops; `measure` raises unless each has learned
    assert min(speed["state_bytes"], speed["floor_ms"][0], speed["share_of_given peak"][0]) > 0
    assert len(kernels) == 3
    assert kernels[0]["iteration_ms"] >= kernels[1]["iteration_ms"] > 0
    assert "tf32" in stored["head"]["rates"]
    assert "| share of bfloat16 |" in capsys.readouterr().out


def test_gpu_runs_the_whole_job(load, monkeypatch):
    gpu = load("gpu", *TINY.split(), "--algos", "matched_vdn", "--steps", "4000")
    started = []
    monkeypatch.setattr(
        gpu.subprocess, "run", lambda command, **_: started.append(command) or gpu.argparse.Namespace(returncode=0)
    )
    assert gpu.whole_s(gpu.arguments()) >= 0.0
    assert {"algo=matched_vdn", "n_agents=2", "seeds=2", "algo.hidden_dim=4", "total_steps=4000"} < set(started[0])


def test_kernels_of_a_device_are_those_of_its_streams(load):
    trace = load("profiler_trace")
    meta = lambda kind, pid, name, **more: {"ph": "M", "name": kind, "pid": pid, "args": {"name": name}, **more}
    entries = [meta("process_name", 1, "/device:GPU:0"), meta("thread_name", 1, "Stream #7", tid=1)]
    entries += [meta("thread_name", 1, "XLA Ops", tid=2), meta("process_name", 2, "/host:CPU")]
    run = lambda name, pid, tid, dur, **args: {
        "ph": "X",
        "name": name,
        "pid": pid,
        "tid": tid,
        "dur": dur,
        "args": args,
    }
    entries += [run("gemm", 1, 1, 3.0, hlo_op="dot.1"), run("gemm", 1, 1, 4.0, hlo_op="dot.2"), run("add", 1, 1, 9.0)]
    entries += [run("dot.1", 1, 2, 3.0, hlo_op="dot.1"), run("launch", 2, 1, 90.0)]
    events = trace.read({"traceEvents": entries})
    assert trace.kernels(events) == {"add": (1, 9.0), "gemm": (2, 7.0)}
    host = trace.read([run("while.1", 2, 1, 9.0, hlo_op="while.1"), run("dot.1", 2, 1, 2.0, hlo_op="dot.1")])
    assert trace.kernels(host) == {"dot.1": (1, 2.0)}  # a loop's time is that of what it holds


ROWS = {
    "throughput": [
        {
            "agents": 25,
            "seeds": 5,
            "system": "ours",
            "whole_ms": [2.0, 3.0],
            "floor_ms": [1.0],
            "speed_to_jaxmarl": [2.0],
        },
        {"agents": 25, "seeds": 1, "system": "epymarl_qmix", "whole_ms": [900.0], "speed_to_jaxmarl": [0.1]},
    ],
    "algorithms": [{"agents": 6, "seeds": 1, "system": "matched_qmix", "update_ms": [2.0], "floor_ms": 1.0}],
    "sweep": [{"agents": 3, "runs": 20, "update_ms": [2.0], "floor_ms": 1.0}],
    "env_step": [{"system": "jaxmarl", "envs": 64, "env_steps_per_s": [1e6, 2e6]}],
    "recurrent_core": [{"form": "(a)", "iteration_ms": [2.0], "floor_ms": 1.0}],
    "profile_update": [{"part": "head", "iteration_ms": 2.0, "share": 1.0}],
    "early_termination": [{"task": "lbf", "policy": "random", "masked_share": 0.4, "speed_to_full": [1.5, 2.0]}],
    "memory": [
        {"agents": 25, "seeds": 5, "stage": "compiled", "peak_bytes": 2**30},
        {"agents": 25, "seeds": 5, "item": "replay", "bytes": 10},
    ],
    "gpu": [
        {"agents": 25, "seeds": 5, "system": "ours", "update_ms": [2.0], "floor_ms": [1.0]},
        {"system": "ours", "kernel": "gemm" * 30, "iteration_ms": 1.0},
    ],
    "scaling": [
        {"axis": axis, "value": value, "update_ms": [1.0 * value, 2.0 * value], "floor_ms": 0.5}
        for axis in ("agents", "seeds")
        for value in (1, 2)
    ],
}


def store(path, benchmark, rows):
    head = {"hardware": "a machine", "commit": "0123456789abc"}
    path.write_text(json.dumps({"benchmark": benchmark, "head": head, "task": "a task", "rows": rows}))
    return str(path)


@pytest.mark.parametrize("benchmark", ROWS)
def test_every_report_can_be_drawn(benchmark, load, tmp_path):
    draw = load("draw", store(tmp_path / "a.json", benchmark, ROWS[benchmark]), "--out", str(tmp_path / "a.png"))
    assert set(ROWS) == {*draw.LOOKS, "scaling"}
    draw.main()
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["a.json", "b.json"], "files must be of one of"),
        (["none.json"], "not a stored report"),
        (["text.json"], "not a stored report"),
        (["empty.json"], "empty.json has no rows"),
    ],
)
def test_draw_refuses(names, sentence, load, tmp_path, capsys):
    for name, benchmark in (("a", "scaling"), ("b", "gpu")):
        store(tmp_path / f"{name}.json", benchmark, ROWS[benchmark])
    store(tmp_path / "empty.json", "gpu", [])
    (tmp_path / "text.json").write_text("no JSON")
    with pytest.raises(SystemExit):
        load("draw", *(str(tmp_path / name) for name in names), "--out", str(tmp_path / "a.png")).main()
    assert sentence in capsys.readouterr().err
