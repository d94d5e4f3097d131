"""Answers to questions about foraging, read from their text alone: they are usable, and a training replays them."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from qllm_jax.commands import train
from qllm_jax.critic import answers, opening, questions, report
from qllm_jax.critic.answers import Answer
from qllm_jax.critic.episodes import PlayedEpisode
from qllm_jax.llm import transcript as transcripts
from qllm_jax.tfcaf.verdict import sha256

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


def test_explanations_sum_credit_by_agent_and_say_who_is_who(tmp_path: Path):
    answered = {"seed": 7, "run": 0, "number": 2, "label": questions.ANSWERED, "credit": [[1.0, 2.0], [3.0, 4.5]]}
    answered |= {"order": [1, 0], "explanation": "agent 1 loads"}
    faulty = {"seed": 8, "run": 1, "number": 0, "label": answers.LENGTHS, "credit": None, "problem": "too short"}
    asker: Any = SimpleNamespace(outcomes={(1, 0): faulty, (0, 2): answered, (0, 1): answered | {"number": 1}})
    report.write(tmp_path, asker, {"questions": 3})
    parts = (tmp_path / report.EXPLANATIONS).read_text().split("## ")
    assert parts[1].startswith("Seed 7 (run 0), episode 1: answered\n")
    assert parts[2].endswith("Credit: 4, 6.5. Agents of the text: 1, 0.\n\nagent 1 loads\n\n")
    assert parts[3] == "Seed 8 (run 1), episode 0: lengths\n\ntoo short\n"
    assert json.loads((tmp_path / report.SUMMARY).read_text()) == {"questions": 3}


def test_an_outcome_is_of_the_same_question_alone_and_the_last_counts():
    episode = PlayedEpisode({}, np.zeros((1, 2), int), np.ones(1))
    asked = lambda text: questions.Question(0, 3, episode, np.arange(2), text)
    record = {"kind": questions.KIND, "run": 0, "number": 3, "label": questions.REPAIRED, "problem": ""}
    record |= {"credit": [[0.5, 0.25]], "explanation": "so", "question": sha256("one")}
    outcomes = questions.recorded([record | {"label": answers.LENGTHS}, {"kind": "start"}, record])
    asker: Any = SimpleNamespace(outcomes=outcomes)
    found = questions.ask(asker, asked("one"))
    assert (found.label, found.explanation) == (questions.REPAIRED, "so")
    np.testing.assert_array_equal(np.asarray(found.credit), [[0.5, 0.25]])
    with pytest.raises(AttributeError, match="texts"):  # it would be asked
        questions.ask(asker, asked("another"))


@pytest.mark.slow
def test_a_training_replays_them(tmp_path: Path):
    options = f"algo.learner.asking.llm_options={{transcript: {FILE}}}"
    assert train.train([*RUN, options, f"run_dir={tmp_path / 'run'}"]) == 0
    folder = tmp_path / "run" / opening.FOLDER
    summary = json.loads((folder / report.SUMMARY).read_text())
    assert (summary["questions"], summary["answered"], summary["faults"]) == (8, 8, {})
    assert "agents disagree" in (folder / report.EXPLANATIONS).read_text()
