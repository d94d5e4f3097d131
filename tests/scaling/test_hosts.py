"""Two processes of one job share out the groups of a run, wait for each other, and fail together."""

import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import TINY_RUN

from qllm_jax import config
from qllm_jax.commands import train
from qllm_jax.errors import UserError
from qllm_jax.run import folder
from qllm_jax.scaling import hosts
from qllm_jax.scaling.hosts import Job

SMALL = [*TINY_RUN.split(), "algo=matched_vdn", "seeds=3"]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def two_processes(*arguments: str) -> list[subprocess.CompletedProcess[str]]:
    """The command in both processes of a job, on this host."""
    port = free_port()
    job = [f"hosts.coordinator=127.0.0.1:{port}", "hosts.processes=2"]
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "qllm_jax.train", *arguments, *job, f"hosts.process={i}"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for i in range(2)
    ]  # fmt: skip
    said = [process.communicate(timeout=300) for process in started]
    return [subprocess.CompletedProcess([], p.returncode, *s) for p, s in zip(started, said, strict=True)]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[subprocess.CompletedProcess[str]]]:
    """Three runs that two processes trained."""
    path = tmp_path_factory.mktemp("runs") / "shared"
    return path, two_processes(*SMALL, f"run_dir={path}")


@pytest.mark.thorough
def test_two_processes_train_the_groups_of_one_run(shared):
    path, (first, second) = shared
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert folder.group_ranges(path) == [(0, 1), (1, 2), (2, 3)]
    lines = [[line.split(":")[0] for line in process.stdout.splitlines()] for process in (first, second)]
    assert [[line for line in of_one if line.startswith("group")] for of_one in lines] == [
        ["group 0 (of 0 to 2)", "group 2 (of 0 to 2)"],
        ["group 1 (of 0 to 2)"],
    ]
    assert "results: " in first.stdout
    assert "results: " not in second.stdout
    returns = [json.loads((group / folder.RESULT).read_text())["returns"] for group in folder.log_folders(path)]
    np.testing.assert_array_equal(json.loads((path / folder.RESULT).read_text())["returns"], np.concatenate(returns))
    assert folder.load(str(path))[1].hosts == config.HostsConfig()


@pytest.mark.thorough
def test_what_fails_in_one_process_fails_in_all(shared):
    path, _ = shared
    first, second = two_processes(*SMALL, f"run_dir={path}")
    assert (first.returncode, second.returncode) == (2, 2)
    assert "exists already: continue it with resume=" in first.stderr
    assert "error: another process of the job failed; process 0: run_dir" in second.stderr
    assert "Traceback" not in first.stderr + second.stderr


WAITS = """
import ctypes, sys, threading
from qllm_jax import process
from qllm_jax.scaling import hosts

def wait(*_):  # as the service's client does: no Python code runs in it, and signals do not end it
    c, lock = ctypes.CDLL(None), ctypes.create_string_buffer(64)
    c.pthread_mutex_init(lock, None), c.pthread_mutex_lock(lock)
    threading.Timer(float(sys.argv[1]), lambda: c.pthread_mutex_unlock(lock)).start()
    print("waits", flush=True)
    c.pthread_mutex_lock(lock)

class Service:
    key_value_set, wait_at_barrier = lambda *_: None, wait
    blocking_key_value_get = lambda self, key, ms: ""

process.IS_COMMAND.set(True)
print(hosts.exchange(hosts.Job(0, 2, Service()), "groups", ""))
"""


@pytest.mark.thorough
@pytest.mark.parametrize(("times", "seconds", "code", "said"), [(1, 5, 0, "['', '']"), (2, 60, 130, "")])
def test_a_process_that_waits_ends_at_the_second_interrupt(times: int, seconds: int, code: int, said: str):
    """The first comes to all processes of a terminal, and the others have a checkpoint to write."""
    started = subprocess.Popen(
        [sys.executable, "-c", WAITS, str(seconds)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert started.stdout is not None
    assert started.stdout.readline() == "waits\n"
    for _ in range(times):
        time.sleep(0.5)
        started.send_signal(signal.SIGINT)
    out, errors = started.communicate(timeout=50)
    assert (started.returncode, out.strip()) == (code, said), errors
    assert errors.count("waiting for the other processes") == 1


@pytest.mark.parametrize(("given", "devices"), [([], 1), (["devices=auto"], "auto")])
def test_a_process_that_follows_resumes_on_the_devices_that_are_recorded(
    given: list[str], devices: int | str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "run"
    folder.create(path, config.load(["algo=matched_vdn", "devices=1", f"run_dir={path}"]), [])
    monkeypatch.setattr(train.gated, "build", lambda found: found)
    overrides = [f"resume={path}", *given]
    asked = config.load(overrides)
    found: Any = train.follow_leader(asked, train.recorded(asked, overrides)[1])[0]
    assert found.devices == devices


def test_groups_go_around():
    trained = [list(hosts.groups_of(Job(process, 3), 7)) for process in range(3)]
    assert trained == [[0, 3, 6], [1, 4], [2, 5]]
    assert list(hosts.groups_of(Job(), 2)) == [0, 1]


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["hosts.processes=2"], "a job of several processes needs hosts.coordinator, hosts.process, too"),
        (["hosts.auto=true", "hosts.process=1"], "hosts.auto=true finds out by itself what hosts.process says"),
        (
            ["hosts.coordinator=127.0.0.1:1", "hosts.processes=2", "hosts.process=2"],
            "this process cannot join its job: process_id and num_processes must be",
        ),
        (["hosts.auto=true"], "this process cannot join its job: .*; JAX knows SLURM, Open MPI and Kubernetes"),
    ],
)
def test_half_a_job_is_a_mistake(overrides: list[str], sentence: str):
    with pytest.raises(UserError, match=sentence):
        hosts.join(config.load(overrides).hosts)
