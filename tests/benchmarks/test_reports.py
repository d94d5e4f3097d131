"""The benchmarks that print and draw reports, with tiny sizes. No timing is asserted."""

import importlib
import json
from types import SimpleNamespace

import jax.numpy as jnp
import pytest

from qllm_jax.core.types import Episode
from qllm_jax.errors import UserError

pytestmark = pytest.mark.thorough


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


def test_costs_of_a_critic_are_of_one_run(load):
    critic_cost, labels = load("critic_cost"), importlib.import_module("qllm_jax.core.labels")
    zeros = lambda *shape: jnp.zeros((2, 4, *shape))  # of 2 runs with a replay of 4 episodes each
    storage = Episode((), zeros(3, 2), zeros(3), zeros(3), zeros(3), zeros(3, 2))
    state = SimpleNamespace(runs=SimpleNamespace(storage=storage, labels=labels.Labels(*[zeros()] * 3, jnp.zeros(0))))
    algo, env = SimpleNamespace(buffer_episodes=4), SimpleNamespace(spec=SimpleNamespace(task="task"))
    exp = SimpleNamespace(config=SimpleNamespace(algo=algo), env=env, n_runs=2)
    reply = {"kind": "reply", "user": "who scored?", "reply": {"text": "agent 12"}}
    question = {"kind": critic_cost.questions.KIND, "credit": [1.0]}
    found = critic_cost.figures(exp, [{"kind": "first", "texts": {"system": "x"}}, reply, question] * 4, state, 0.1)
    assert found["seconds_per_1000"] == 25.0
    assert found["mib_per_1000"] == round(1000 * 4 * (3 * 2 + 3) / 2**20, 2)  # credit of 3 steps, and 3 labels
    assert (found["pieces_question"], found["pieces_answer"], found["labelled"]) == (3, 2, "4 of 4")


def test_memory_names_stages_and_items(load, capsys, monkeypatch, tmp_path):
    memory = load("memory", "--agents", "2", "--buffer", "60", "--updates", "1", "--out", str(tmp_path / "m.json"))
    monkeypatch.setattr(memory.systems, "head", memory.common.describe)
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


GPU = "--agents 2 --hidden 4 --runs 1 --seeds 2 --envs 4 --batch 8 --buffer 16 --samples 2 --algos matched_vdn"


def test_gpu_times_programs_anywhere(load, capsys):
    module, items = load("gpu", *GPU.split()), load("gpu_items")
    sizes = module.Sizes(2, 2, 4, 8, 4, 16)._asdict()
    programs = [{"sizes": sizes, "form": form, "graphs": False} for form in ("scan",)]
    items.work({"item": "sizes", "algo": "matched_vdn", "samples": 2, "limit_s": 600, "programs": programs})
    row = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (row["agents"], row["seeds"], row["hidden"], row["form"], row["kernels"]) == (2, 2, 4, "scan", 0)
    assert row["env_steps_per_s"][0] * row["iteration_ms"][0] == pytest.approx(1e3 * 2 * 100)
    assert len(row["iteration_ms"]) == 2
    assert "| scan |" in module.line(row)


def test_gpu_goes_on_after_a_program_that_fails(load, capsys, monkeypatch):
    items = load("gpu_items")
    monkeypatch.setattr(items, "lower", lambda job, program: (None, program))
    monkeypatch.setattr(items, "compile_timed", lambda program, lowered: 1 / program["good"])
    monkeypatch.setattr(items, "time_loop", lambda job, program, compiled: items.put(program))
    job = {"item": "sizes", "limit_s": 600, "programs": [{"good": good} for good in (1, 0, 1)]}
    items.work(job)
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row.get("good", row.get("failed")) for row in rows] == [1, "ZeroDivisionError: division by zero", 1]


def test_gpu_stores_each_item_and_stops_in_time(load, monkeypatch, tmp_path, capsys):
    out, started = tmp_path / "g.json", []
    options = ["--study", "credit", "--minutes", "2", "--folder", str(tmp_path / "f"), "--out", str(out)]
    module = load("gpu", *GPU.split(), *options)
    monkeypatch.setattr(module.systems, "in_process", lambda script, job: {"head": {"commit": "abc"}, "rates": "fast"})
    failed = [{"item": "main task", "failed": "no memory", "program": "{}"}]
    monkeypatch.setattr(module, "rows_of", lambda job, limit_s: iter(failed if job["item"] == "main task" else []))
    monkeypatch.setattr(module, "command", lambda arguments, limit_s: started.append((arguments, limit_s)))
    module.main()
    (train, train_s), (study, study_s) = started
    assert {"algo=matched_vdn", "n_agents=2", "seeds=2", "algo.hidden_dim=4", "total_steps=2000000"} < set(train)
    assert study[:3] == ["-m", "qllm_jax.study", "credit"]
    assert 50 < train_s < 60 < study_s < 120
    rows = json.loads(out.read_text())["rows"]
    assert [row["item"] for row in rows] == ["main task", "whole", "study"]
    assert rows[1]["ended"].startswith("stopped after")
    assert "failed no memory" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--study", "credits"], "did you mean 'credit'?"),
        (["--items", "study", "jaxmarl_qmix"], "nothing is left to measure: study needs --study, jaxmarl_qmix --jaxm"),
        (["--items", "main", "--study", "credit"], "--study is not read, as --items leaves study out"),
        (["--minutes", "0"], "must be a number above 0, got '0'"),
    ],
)
def test_gpu_refuses_what_it_would_not_measure(arguments, sentence, mistake_of):
    assert sentence in mistake_of("gpu", *GPU.split(), *arguments)


def test_gpu_continues_no_other_measurement(mistake_of, tmp_path):
    (tmp_path / "main").mkdir()
    assert "must be new or empty" in mistake_of("gpu", *GPU.split(), "--folder", str(tmp_path))


def test_a_process_of_gpu_is_stopped_at_its_limit(load, monkeypatch, capsys, tmp_path):
    module, script = load("gpu", *GPU.split()), tmp_path / "endless.py"
    script.write_text("import time\nprint('{\"a\": 1}', flush=True)\nprint('noise', flush=True)\ntime.sleep(60)\n")
    monkeypatch.setattr(module, "__file__", str(script))
    assert list(module.rows_of({"item": "sizes"}, 2.0)) == [{"a": 1}]
    assert "sizes ended with code -9" in capsys.readouterr().out


def test_gpu_goes_through_all_sizes_in_every_form(load):
    module = load("gpu", "--agents", "3", "6", "25", "--runs", "1", "5", "20", "100")
    main_task, *_, (sizes, _) = module.jobs(module.arguments())
    assert len(main_task[0]["programs"]) == 8
    programs = [json.dumps(program) for program in sizes["programs"]]
    assert len(set(programs)) == len(programs) == 8 * (3 * 2 * 4 - 1)  # the main task has been timed
    assert {program["form"] for program in sizes["programs"][:23]} == {"pallas"}


def test_gpu_measures_all_sizes_of_all_algorithms_where_only_sizes_are_asked_for(load):
    given = "--agents 3 25 --hidden 64 --runs 5 --items sizes --forms pallas --no-graphs"
    module = load("gpu", *given.split())
    found = [(job["item"], job["algo"], len(job["programs"]), share) for job, share in module.jobs(module.arguments())]
    assert found == [("sizes", "matched_qllm", 2, 0.5), ("sizes", "matched_qmix", 2, 1.0)]


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
        {
            "agents": 25,
            "seeds": 5,
            "hidden": 64,
            "system": "ours",
            "form": "pallas",
            "graphs": True,
            "iteration_ms": [2.0],
        },
        {"item": "whole", "agents": 25, "seeds": 5, "system": "ours", "whole_s": 60.0},
        {"system": "ours", "kernel": "gemm" * 30, "kernel_ms": 1.0},
    ],
    "gpu_program": [{"agents": 25, "seeds": 5, "system": "matched_qllm", "kernels": 348}],
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


def test_a_peer_has_no_note_of_its_own_speed(load):
    draw, peers = load("draw"), load("env_peers")
    row = {"speed_to_jumanji": [2.0], "speed_to_rware": [3.0, 5.0]}
    assert draw.speed({"system": "qllm_envs", **row}) == ", 2.00 x jumanji, 4.00 x rware"
    assert not any(draw.speed({"system": name, **row}) for name in peers.NAMES)


def test_a_mistake_of_a_benchmarks_user_is_a_sentence(load, capsys):
    common = load("common")

    def mistaken() -> None:
        raise UserError("there is no such run")

    with pytest.raises(SystemExit) as exited:
        common.run(mistaken)
    assert (exited.value.code, capsys.readouterr().err) == (2, "error: there is no such run\n")


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["a.json", "b.json"], "files must be of one of"),
        (["none.json"], "not a stored report"),
        (["text.json"], "not a stored report"),
        (["empty.json"], "empty.json has no rows to draw"),
        (["failed.json"], "failed.json has no rows to draw"),
    ],
)
def test_draw_refuses(names, sentence, mistake_of, tmp_path):
    for name, benchmark in (("a", "scaling"), ("b", "gpu")):
        store(tmp_path / f"{name}.json", benchmark, ROWS[benchmark])
    store(tmp_path / "empty.json", "gpu", [])
    store(tmp_path / "failed.json", "gpu", [{"item": "main task", "failed": "no memory", "program": "{}"}])
    (tmp_path / "text.json").write_text("no JSON")
    files = [str(tmp_path / name) for name in names]
    assert sentence in mistake_of("draw", *files, "--out", str(tmp_path / "a.png"))
