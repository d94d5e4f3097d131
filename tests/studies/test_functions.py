"""The credit functions of the shipped studies pass the gates on their tasks, and a model wrote them."""

import json
from pathlib import Path

import pytest

from qllm_jax import config
from qllm_jax.config import Config
from qllm_jax.program import experiment
from qllm_jax.run import gated
from qllm_jax.studies import cells, plan

FUNCTIONS = Path(__file__).parents[2] / "configs/study/functions"


def requirements(study: str) -> dict[tuple[str, str], Config]:
    """One configuration for each function and each environment of a study."""
    found: dict[tuple[str, str], Config] = {}
    for cell in cells.all_cells(plan.load(study)):
        env = experiment.make_env(cell.config.env, cell.config.n_agents)
        for source in experiment.credit_functions(cell.config, env):
            found.setdefault((source.text, f"{env.spec.name} {env.spec.options}"), cell.config)
    return found


def test_a_weight_for_one_of_many_agents_at_a_time_passes():
    # 48 states of play leave one of 25 agents out, as chance decides whose turn it is.
    (verdict,) = gated.require(config.load(["env=duty", "n_agents=25", "algo=matched_qllm"])).values()
    assert verdict.report["rollout_states"] == 12 * 25


@pytest.mark.parametrize("file", sorted(FUNCTIONS.glob("*.py")), ids=lambda file: file.stem)
def test_the_code_of_a_function_is_that_of_a_reply_in_its_transcript(file: Path):
    code = file.read_text().split("\n\n", 1)[1].strip()  # below the header
    records = map(json.loads, file.with_suffix(".jsonl").read_text().splitlines())
    assert any(record["kind"] == "reply" and code in record["reply"]["text"] for record in records)


@pytest.mark.slow
@pytest.mark.parametrize("study", ["credit", "paper", "init", "selection"])
def test_all_functions_of_a_study_pass(study: str):
    for each in requirements(study).values():
        gated.require(each)
