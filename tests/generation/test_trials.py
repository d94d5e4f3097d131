"""Short trainings: all functions in one program, as each alone; seen by the evaluator, stored, apart from results."""

import numpy as np
import pytest
from scripted import judgement

from qllm_jax import config
from qllm_jax.errors import UserError
from qllm_jax.generation import evaluator, trials
from qllm_jax.generation.prompts import Prompts
from qllm_jax.generation.trials import Curves, Plan
from qllm_jax.generation.types import Attempt, Candidate, Pool, RequestId
from qllm_jax.llm import transcript
from qllm_jax.llm.client import Budget, Client
from qllm_jax.llm.types import Llm, Reply, Usage
from qllm_jax.program import run_axis
from qllm_jax.tfcaf.verdict import Verdict, sha256

ENV = {"name": "mpe_spread", "time_limit_is_terminal": True, "horizon": 5}
TINY = ("algo.n_envs=2", "algo.batch_episodes=2", "algo.buffer_episodes=8", "algo.hidden_dim=4")
PLAN = Plan(ENV, 2, steps=100, seeds=2, overrides=TINY)
EQUAL = "import jax.numpy as jnp\n\n\ndef credit(state):\n    return jnp.full((2,), 0.5), 0.0\n"
FIRST = "import jax.numpy as jnp\n\n\ndef credit(state):\n    return jnp.array([0.9, 0.1]), 0.0\n"
PROMPTS = Prompts("coder", "evaluator", {"evaluator_choose": "{{round}} {{rounds}} {{candidates}}"})


def candidate(number: int, source: str) -> Candidate:
    reply = Reply("", "", "stop", Usage(1, 1, None, None), "m", "2026-06-01")
    verdict = Verdict("OK", "L8", "", None, "", sha256(source), {})
    return Candidate(1, number, (Attempt(RequestId(1, "coder", number, 0), reply, source, verdict),))


POOL = Pool(1, None, (candidate(1, EQUAL), candidate(2, FIRST)))


@pytest.fixture(scope="module")
def both() -> Curves:
    return trials.measure(PLAN, [EQUAL, FIRST])


def test_functions_side_by_side_learn_differently(both: Curves):
    assert both.steps == [20, 40, 60, 80, 100]
    assert np.shape(both.returns) == (2, 5)
    assert both.returns[0] != both.returns[1]


def test_rows_are_functions_and_columns_are_the_same_seeds():
    runs = run_axis.runs(trials._experiment(PLAN, [EQUAL, FIRST]).config)
    seeds = [run.seed for run in runs[: PLAN.seeds]]
    assert len(set(seeds)) == PLAN.seeds
    assert [(run.values["tfcaf"], run.seed) for run in runs] == [
        (f"function {i}", seed) for i in (0, 1) for seed in seeds
    ]


# Slow, as each compiles a program; that run i of many equals run i alone is also a test of tests/program/.
@pytest.mark.slow
@pytest.mark.parametrize("i", [0, 1])
def test_a_function_side_by_side_learns_what_it_learns_alone(both: Curves, i: int):
    alone = trials.measure(PLAN, [(EQUAL, FIRST)[i]])
    np.testing.assert_allclose(both.returns[i], alone.returns[0], atol=1e-3)


@pytest.fixture
def client(tmp_path):
    asked = []

    def answer(request, folder, seconds):
        del folder, seconds
        asked.append(request)
        return Reply(judgement(choice=2), "", "stop", Usage(1, 1, None, None), "m", "2026-06-01")

    with transcript.opened(tmp_path / transcript.NAME) as lines:
        yield Client(Llm("m", {}, answer), lines, Budget(), tmp_path, lambda line: None), asked


def test_the_evaluator_sees_the_curves_and_nothing_is_trained_twice(client, monkeypatch):
    runs = []
    found = Curves([50, 100], [[-3.0, -2.0], [-3.0, -1.0]], -4.0)
    monkeypatch.setattr(trials, "measure", lambda plan, sources: runs.append(sources) or found)
    made = trials.make(client[0], PLAN)
    choice = evaluator.make(client[0], PROMPTS, 1, made.lines)(POOL)
    assert choice.candidate.number == 2
    assert choice.by == "the evaluator, who saw short trainings"
    shown = client[1][0].user
    assert "(2 seeds), return -3.000 at step 50, -2.000 at step 100; random policy -4.000" in shown
    assert "return -3.000 at step 50, -1.000 at step 100" in shown
    best = made.best(POOL)
    assert (best.candidate.number, best.by) == (2, "rule")
    assert runs == [[EQUAL, FIRST]]


def test_no_result_can_use_the_seed_of_the_trials():
    with pytest.raises(UserError, match="seed must be less than 4294967295"):
        config.load([f"seed={config.TRIAL_SEED}"])
