"""The critic of a run folder: its model, its transcript in `critic/`, and its texts, which a resumed training keeps."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from qllm_jax import config as configs
from qllm_jax import files
from qllm_jax.critic import questions, rule, texts
from qllm_jax.critic.questions import Asker
from qllm_jax.critic.rounds import Critic
from qllm_jax.critic.texts import Texts
from qllm_jax.errors import UserError
from qllm_jax.generation.settings import ROOT
from qllm_jax.learners import asking as options
from qllm_jax.learners.asking import Asking
from qllm_jax.llm import providers
from qllm_jax.llm import transcript as transcripts
from qllm_jax.llm.client import Budget, Client
from qllm_jax.llm.providers import replay
from qllm_jax.llm.types import Llm
from qllm_jax.program import run_axis
from qllm_jax.program.experiment import Experiment
from qllm_jax.run.between import Between

FOLDER = "critic"  # in the run folder
REPLAYED = ("reply", "failure")  # kinds of records that a replay takes from another transcript


def check(exp: Experiment, n_groups: int) -> None:
    """Check a training before its folder is made. UserError for a critic that cannot be asked.

    All runs must be one group, as a transcript and a budget belong to all of them.
    """
    if exp.learner.labelling is None:
        return
    if n_groups > 1:
        raise UserError(
            f"algo.learner.critic needs all {exp.n_runs} runs at once, and they would be {n_groups} groups: set "
            f"group={exp.n_runs}, or lower seeds or algo.buffer_episodes"
        )
    asking = _asking(exp)
    llm = _make_llm(exp, asking, {})
    if asking.max_usd is not None and llm.price is None:
        raise UserError(
            "algo.learner.asking.max_usd needs prices: usd_per_1m_input and usd_per_1m_output in llm_options"
        )
    texts.build(exp.env.spec, exp.config.env["name"], asking.bound)


@contextmanager
def opened(exp: Experiment, path: Path) -> Iterator[Between | None]:
    """Open the critic of a training, with its transcript; None for a method without one."""
    if exp.learner.labelling is None:
        yield None
        return
    asking, folder = _asking(exp), path / FOLDER
    files.make_folder(folder, exist_ok=True)
    answers: rule.Answers = {}
    llm = _make_llm(exp, asking, answers)
    file = folder / transcripts.NAME
    if not (file.is_file() and transcripts.read(file)[0]):
        transcripts.create(file, _first_records(exp, asking, llm))
    with transcripts.opened(file) as transcript:
        prompt_texts = Texts(**transcript.records[0]["texts"])
        budget = Budget(asking.max_calls, asking.max_tokens, asking.max_usd, asking.max_minutes)
        client = Client(llm, transcript, budget, folder, print)
        seeds = tuple(run.seed for run in run_axis.runs(exp.config))
        outcomes = questions.recorded(transcript.records)
        critic = Critic(exp, asking, Asker(client, prompt_texts, exp.env.spec, asking.bound, outcomes, seeds), answers)
        yield Between(asking.interval, critic.work)


def _asking(exp: Experiment) -> Asking:
    return options.read(dict(exp.config.algo.learner.get("asking", {})))


def _make_llm(exp: Experiment, asking: Asking, answers: rule.Answers) -> Llm:
    """Make the model. UserError names the option that is wrong."""
    assert exp.learner.labelling is not None
    if exp.learner.labelling.by_rule:
        return rule.make(answers)
    try:
        return providers.make(llm_settings(asking))
    except UserError as error:
        raise UserError(f"{options.KEY}.llm={asking.llm} (its options: {options.KEY}.llm_options): {error}") from error


def llm_settings(asking: Asking) -> dict[str, Any]:
    """Return the settings of the model: those of its file, with the options that are given."""
    composed = configs.compose(ROOT, [f"llm={asking.llm}"]).llm
    merged: Any = OmegaConf.to_container(composed, resolve=True)
    for key, value in (asking.llm_options or {}).items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = {**merged[key], **value} if both else value
    return merged


def _first_records(exp: Experiment, asking: Asking, llm: Llm) -> list[dict[str, Any]]:
    """The first record of a transcript, and for a replay the replies of the other transcript."""
    prompt_texts = texts.build(exp.env.spec, exp.config.env["name"], asking.bound)
    model = {"model": llm.model, "parameters": llm.parameters}
    start = {"kind": "start", "task": exp.env.spec.task, "texts": prompt_texts._asdict(), **model}
    if llm.parameters.get("provider") != "replay":
        return [start]
    source = replay.find((asking.llm_options or {}).get("transcript"))
    return [start, *(record for record in transcripts.read(source)[0] if record["kind"] in REPLAYED)]
