"""Answers to questions about foraging, read from their text alone: they are usable, and a training replays them."""

import json
from pathlib import Path

import pytest

from qllm_jax.commands import train
from qllm_jax.critic import answers, opening, report
from qllm_jax.critic.answers import Answer
from qllm_jax.llm import transcript as transcripts

FILE = Path(__file__).with_name("foraging_manual.jsonl")
# All play is random: the questions do not depend on what was learned, nor on the machine.
RUN = [
    "env=lbf_8x8_2p_2f_coop", "env.horizon=10", "algo=matched_mca", "algo.learner.critic=llm", "algo.hidden_dim=8",
    "algo.learner.asking.interval=80", "algo.n_envs=2", "algo.batch_episodes=6", "algo.buffer_episodes=20",
    "algo.epsilon_end=1.0", "seeds=1", "total_steps=120", "log_interval=40", "eval_interval=60", "eval_episodes=2",
    "final_episodes=2", "devices=1", "algo.learner.asking.llm=replay",
]  # fmt: skip


def test_the_answers_are_usable():
    replies = [record["reply"]["text"] for record in transcripts.read(FILE)[0] if record["kind"] == "reply"]
    found = [answers.parse(text, 2, 10, is_paid=False, bound=10.0) for text in replies]
    assert len(found) == 8
    assert all(isinstance(each, Answer) and each.credit.any() and each.explanation for each in found)


@pytest.mark.slow
def test_a_training_replays_them(tmp_path: Path):
    options = f"algo.learner.asking.llm_options={{transcript: {FILE}}}"
    assert train.train([*RUN, options, f"run_dir={tmp_path / 'run'}"]) == 0
    folder = tmp_path / "run" / opening.FOLDER
    summary = json.loads((folder / report.SUMMARY).read_text())
    assert (summary["questions"], summary["answered"], summary["faults"]) == (8, 8, {})
    assert "agents disagree" in (folder / report.EXPLANATIONS).read_text()
