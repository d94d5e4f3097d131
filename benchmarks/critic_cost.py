"""Cost of a critic for 1,000 episodes: `python benchmarks/critic_cost.py env=lbf_8x8_2p_2f_coop`.

Memory is what the replay holds for the critic beside the episodes. Time is that of this program on the host and the
device: episodes in words, an answer read and checked, credit written into the replay; not that of a language model.
Tokens are counted in pieces: a word, a group of up to three digits, or a sign is one. That is about what the tokenizers
of today make of such text; servers report their own counts, which are in the run folder's critic/summary.json.

The arguments are those of qllm_jax.train. Episodes are random play, the rule of the configuration answers.
"""

import argparse
import json
import re
import tempfile
import time
from pathlib import Path
from typing import Any

import common
import jax
import jax.numpy as jnp

from qllm_jax import config
from qllm_jax.critic import opening, questions
from qllm_jax.llm import transcript as transcripts
from qllm_jax.program import experiment
from qllm_jax.run.checkpoint import TrainState

PER = 1000  # episodes
BASE = ("algo=matched_mca", "algo.learner.critic=rule", "seeds=1", "devices=1")


def arguments() -> argparse.Namespace:
    """Arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=common.positive, default=64, help="episodes of a round")
    parser.add_argument("overrides", nargs="+", metavar="key=value")
    return parser.parse_args()


def pieces(text: str) -> int:
    """Number of words, groups of up to three digits, and signs."""
    return len(re.findall(r"[A-Za-z_]+|\d{1,3}|[^\sA-Za-z_\d]", text))


def measure(overrides: list[str], episodes: int) -> dict[str, Any]:
    """Figures for one task."""
    sizes = [f"algo.n_envs={episodes}", f"algo.batch_episodes={2 * episodes}", f"algo.buffer_episodes={2 * episodes}"]
    asked = [f"algo.learner.asking.episodes={episodes}", "algo.learner.asking.max_calls=null"]
    exp = experiment.build(config.load([*BASE, *sizes, *asked, *overrides]))
    with tempfile.TemporaryDirectory() as folder:
        one_round(exp, Path(folder) / "compiles")
        state, records, seconds = one_round(exp, Path(folder) / "measured")
    return figures(exp, records, state, seconds)


def one_round(exp: experiment.Experiment, folder: Path) -> tuple[TrainState, list[dict[str, Any]], float]:
    """State after a round of questions, the records of its transcript, and its seconds."""
    state = jax.block_until_ready(TrainState(*exp.program.warmup(*experiment.init(exp), exp.hp)))
    with opening.opened(exp, folder) as between:
        assert between is not None
        started = time.monotonic()
        after = jax.block_until_ready(between.work(state, print, lambda: False))
        seconds = time.monotonic() - started
    assert after is not None
    return after, transcripts.read(folder / opening.FOLDER / transcripts.NAME)[0], seconds


def figures(exp: experiment.Experiment, records: list[dict[str, Any]], state: TrainState, seconds: float) -> dict:
    """Means of the records of a round, per 1,000 episodes of one run where they grow with episodes."""
    replies = [record for record in records if record["kind"] == "reply"]
    n_labelled = sum(record["credit"] is not None for record in records if record["kind"] == questions.KIND)
    mean = lambda texts: round(sum(map(pieces, texts)) / len(replies))
    capacity = exp.config.algo.buffer_episodes * exp.n_runs
    size = sum(leaf.nbytes for leaf in jax.tree.leaves((state.runs.storage.credit_t, state.runs.labels)))
    episode = sum(jnp.asarray(leaf).nbytes for leaf in jax.tree.leaves(state.runs.storage))
    return {
        "task": exp.env.spec.task,
        "pieces_fixed": pieces(records[0]["texts"]["system"]),
        "pieces_question": mean(record["user"] for record in replies),
        "pieces_answer": mean(record["reply"]["text"] for record in replies),
        "labelled": f"{n_labelled} of {len(replies)}",
        "mib_per_1000": round(size / capacity * PER / 2**20, 2),
        "share_of_replay": round(size / episode, 3),
        "seconds_per_1000": round(seconds / len(replies) * PER, 1),
    }


def main() -> None:
    """Print one line of JSON."""
    given = arguments()
    print(json.dumps(measure(given.overrides, given.episodes)))


if __name__ == "__main__":
    common.run(main)
