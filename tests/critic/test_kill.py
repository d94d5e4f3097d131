"""kill -9 of trainings that ask a server: answers are not asked for again, and results are those of a whole run."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from chat_server import Answer, completion, serving

from qllm_jax.critic import opening, report
from qllm_jax.run import checkpoint, folder

SMALL = [
    "env=duty", "n_agents=3", "env.horizon=3", "algo=matched_mca", "algo.hidden_dim=4", "algo.n_envs=2", "seeds=2",
    "algo.batch_episodes=4", "algo.buffer_episodes=8", "devices=1", "algo.learner.critic=llm",
    "algo.learner.asking.llm=ollama", "algo.learner.asking.episodes=2", "algo.learner.asking.interval=20",
    "eval_episodes=2", "final_episodes=2", "total_steps=60", "eval_interval=30", "log_interval=12",
]  # fmt: skip
# A training that ends itself by SIGKILL: after the nth record of a kind in its transcript or before its nth checkpoint.
DYING = """
import os, signal, sys
from qllm_jax import cli
from qllm_jax.llm import transcript
from qllm_jax.run import checkpoint
from qllm_jax.train import train

what, left = sys.argv.pop(1), [int(sys.argv.pop(1))]
append, save = transcript.append, checkpoint.save

def count(this):
    left[0] -= this == what
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)

def append_and_count(opened, kind, **fields):
    append(opened, kind, **fields)
    count(kind)

def count_and_save(*args):
    count("checkpoint")
    save(*args)

transcript.append, checkpoint.save = append_and_count, count_and_save
cli.main(train, None)
"""


def credit(request: dict) -> str:
    """Answer with credit that depends on the question alone, and differs between questions, agents and steps."""
    seed = sum(request["messages"][1]["content"].encode())
    return json.dumps(
        {"explanation": f"{seed}", "credit": [[(seed * (i + 1) + t) % 7 for t in range(3)] for i in range(3)]}
    )


def steps(path: Path) -> list[int]:
    """Env steps of the checkpoints of a run."""
    return sorted(checkpoint.step_of(found) for found in checkpoint.newest_first(path / folder.CHECKPOINTS))


@pytest.mark.slow  # seven processes
def test_a_training_that_is_killed_anywhere_asks_nothing_twice_and_ends_as_one_that_is_not(tmp_path: Path):
    in_flight: list[subprocess.Popen] = []

    def answer(request: dict, n: int) -> Answer:
        del n
        if in_flight:
            in_flight.pop().kill()
        return completion(credit(request))

    def run(*arguments: str) -> int:
        return subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, timeout=600).returncode

    whole, path = tmp_path / "whole", tmp_path / "killed"
    with serving(answer) as server:
        options = f"{{model:m,base_url:'{server.url}',api_key_env:null,retries:0}}"
        command = ["-m", "qllm_jax.train", *SMALL, f"algo.learner.asking.llm_options={options}"]
        assert run(*command, f"run_dir={whole}") == 0
        expected = server.questions
        assert len(set(expected)) == len(expected) == 2 * 2 * 3  # runs, questions, rounds: at steps 6, 24 and 42
        server.requests.clear()

        process = subprocess.Popen([sys.executable, *command, f"run_dir={path}"], stdout=subprocess.DEVNULL)
        in_flight.append(process)
        assert process.wait(timeout=600) == -signal.SIGKILL
        assert server.questions == expected[:1]  # it was sent, and no answer was kept
        server.requests.clear()

        for what, nth, n_asked, saved in (
            ("reply", 2, 2, []),  # its outcome is not recorded
            ("credit", 5, 6, []),  # of questions 2 to 6: in the second round
            ("checkpoint", 1, 8, []),  # with the credit of two rounds
            ("checkpoint", 2, 12, [30]),
        ):
            assert run("-c", DYING, what, str(nth), f"resume={path}") == -signal.SIGKILL
            assert (server.questions, steps(path)) == (expected[:n_asked], saved)
        assert run("-m", "qllm_jax.train", f"resume={path}") == 0
        assert server.questions == expected
    for name in (folder.METRICS, folder.RESULT, f"{opening.FOLDER}/{report.EXPLANATIONS}"):
        assert (path / name).read_bytes() == (whole / name).read_bytes(), name
    found = [json.loads((each / opening.FOLDER / report.SUMMARY).read_text()) for each in (path, whole)]
    assert found[0] | {"seconds": 0} == found[1] | {"seconds": 0}
    assert found[1]["answered"] == found[1]["calls"] == 12
