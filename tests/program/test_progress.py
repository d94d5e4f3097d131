"""The first minutes: what the bar counts, what its time left is computed from, and who answers Ctrl-C."""

import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from qllm_jax import process
from qllm_jax.run.interrupt import Interrupt
from qllm_jax.run.log import Progress
from qllm_jax.scaling.memory_plan import Plan, describe, details
from qllm_jax.train import train


def test_the_time_left_is_that_of_steady_steps_alone():
    progress = Progress(10_000, 0, "seed")
    assert progress.speed(1_000, 500.0) == "steps per seed"  # the first chunk compiles, however long
    assert progress.speed(2_000, 510.0) == "steps per seed, 100/s, 01:20 left"
    progress.skip(5.0)  # an evaluation was compiled
    assert progress.speed(3_000, 525.0) == "steps per seed, 100/s, 01:10 left"
    assert progress.speed(10_500, 600.0).endswith("00:00 left")


def test_the_bar_counts_the_steps_of_one_seed_however_many_there_are():
    progress = Progress(10_000, 0, "seed")
    progress.update(4_000, {"return": np.zeros(5), "loss": np.zeros(5)})
    assert (progress._bar.total, progress._bar.n) in ((10_000, 4_000), (10_000, 0))  # 0: no terminal, no bar


def test_the_memory_plan_is_one_line():
    plan = Plan(5, {"replay": 2**30, "parameters": 2**20}, available=2**33)
    assert describe(plan) == "memory: about 1.0 GiB of 8.0 GiB for 5 runs"
    assert (
        describe(plan._replace(runs=1, devices=2)) == "memory: about 1.0 GiB of 8.0 GiB on each of 2 devices for 1 run"
    )
    assert details(plan) == ["  replay         1.0 GiB", "  parameters     1.0 MiB"]


@pytest.fixture
def library() -> Iterator[None]:
    """No command, whatever another test has run in this process."""
    token = process.IS_COMMAND.set(False)
    yield
    process.IS_COMMAND.reset(token)


@pytest.mark.usefixtures("library")
def test_a_library_call_touches_no_handler_of_signals():
    handlers = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    interrupt = Interrupt()
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == handlers
    interrupt.close()
    process.IS_COMMAND.set(True)  # the fixture takes it back
    interrupt = Interrupt()
    assert signal.getsignal(signal.SIGTERM) != handlers[1]
    interrupt.close()
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == handlers


@pytest.mark.thorough
def test_training_works_in_a_thread(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    settings = ["env=matrix_climbing", "algo=vdn", "seeds=1", "total_steps=100", "log_interval=50", "eval_interval=50"]
    sizes = ["algo.n_envs=2", "algo.batch_episodes=2", "algo.buffer_episodes=4", "algo.hidden_dim=4", "eval_episodes=2"]
    codes: list[int] = []
    call = lambda: codes.append(train([*settings, *sizes, "final_episodes=2", f"run_dir={tmp_path / 'run'}"]))
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert codes == [0]
    printed = capsys.readouterr().out
    assert "compiling (about 30 s the first time" in printed
    assert sum(line.startswith("memory: ") for line in printed.splitlines()) == 1
