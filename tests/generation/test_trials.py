"""Short trainings: all functions in one program, as each alone; seen by the evaluator, stored, apart from results."""

import jax
import numpy as np
import pytest
from scripted import judgement, reply

from qllm_jax import config
from qllm_jax.errors import UserError
from qllm_jax.generation import evaluator, trial_training, trials
from qllm_jax.generation.prompts import Prompts
from qllm_jax.generation.trial_training import Plan, Result, Trained
from qllm_jax.generation.types import Attempt, Candidate, Pool, RequestId
from qllm_jax.llm import transcript
from qllm_jax.llm.client import Budget, Client
from qllm_jax.llm.types import Llm
from qllm_jax.program import run_axis
from qllm_jax.tfcaf.verdict import Verdict, sha256

ENV = {"name": "mpe_spread", "time_limit_is_terminal": True, "horizon": 5}
TINY = ("algo.n_envs=2", "algo.batch_episodes=2", "algo.buffer_episodes=8", "algo.hidden_dim=4")
PLAN = Plan(ENV, 2, steps=40, seeds=2, k=3, halvings=1, overrides=TINY)
EQUAL = "import jax.numpy as jnp\n\n\ndef credit(state):\n    return jnp.full((2,), 0.5), 0.0\n"
FIRST = "import jax.numpy as jnp\n\n\ndef credit(state):\n    return jnp.array([0.9, 0.1]), 0.0\n"
SECOND = FIRST.replace("0.9, 0.1", "0.1, 0.9")
PROMPTS = Prompts("coder", "evaluator", {"evaluator_choose": "{{round}} {{rounds}} {{candidates}}"})


def candidate(number: int, source: str) -> Candidate:
    verdict = Verdict("OK", "L8", "", None, "", sha256(source), {})
    return Candidate(1, number, (Attempt(RequestId(1, "coder", number, 0), reply(), source, verdict),))


POOL = Pool(1, None, (candidate(1, EQUAL), candidate(2, FIRST)))


@pytest.fixture(scope="module")
def three() -> tuple[list[Result], float, int]:
    """Results, return of the random policy, and calls of `check`."""
    checks = []
    ended = sorted(
        trial_training.train(PLAN, [EQUAL, FIRST, SECOND], lambda: checks.append(1)), key=lambda e: e.function
    )
    assert [each.function for each in ended] == [0, 1, 2]  # each once, at its end
    return [each.result for each in ended], ended[0].random, len(checks)


@pytest.mark.thorough
def test_the_better_half_goes_on_and_the_rest_stops(three: tuple[list[Result], float, int]):
    results, random, checks = three
    lengths = [len(result.steps) for result in results]
    assert sorted(lengths) == [2, 4, 4]
    assert random < 0
    assert checks == 2 * 3 + 2 * 2  # two parts of three functions, and two of the two that are left
    for result in results:
        assert result.steps == [20, 30, 40, 50][: len(result.steps)]  # the warmup is 10 steps
        assert np.shape(result.returns) == (len(result.steps), PLAN.seeds)
        assert result.td_error is not None
    out = lengths.index(2)
    assert results[out].last <= min(float(np.mean(result.returns[1])) for result in results)


@pytest.mark.thorough
def test_the_gradient_goes_where_the_weights_are(three: tuple[list[Result], float, int]):
    # The weights are the same in all states: the shares are those of their squares, whatever the errors.
    for result, weights in zip(three[0], ([0.5, 0.5], [0.9, 0.1], [0.1, 0.9]), strict=True):
        shares = np.square(weights) / np.sum(np.square(weights))
        assert result.gradient_shares is not None
        np.testing.assert_allclose(result.gradient_shares, shares, atol=1e-4)
        assert result.evenness == pytest.approx(-np.sum(np.asarray(weights) * np.log2(weights)), abs=1e-4)


def test_groups_are_functions_and_their_runs_the_same_seeds():
    exp = trial_training._experiment(PLAN, [EQUAL, FIRST, SECOND])
    runs = run_axis.runs(exp.config)
    assert [(run.values["tfcaf"], run.seed) for run in runs] == [
        (f"function {i}", seed) for i in range(3) for seed in range(PLAN.seeds)
    ]
    assert exp.config.total_steps == 2 * exp.config.algo.epsilon_steps > 0
    assert exp.root == jax.random.key(config.TRIAL_SEED)


# Slow, as it compiles a program; that run i of many equals run i alone is also a test of tests/program/.
@pytest.mark.thorough
@pytest.mark.slow
def test_a_function_side_by_side_learns_what_it_learns_alone(three: tuple[list[Result], float, int]):
    (trained,) = trial_training.train(PLAN, [FIRST], lambda: None)
    alone = trained.result
    n = len(three[0][1].steps)
    np.testing.assert_allclose(three[0][1].returns, alone.returns[:n], atol=1e-3)


@pytest.fixture
def client(tmp_path):
    asked = []

    def answer(request, folder, seconds):
        del folder, seconds
        asked.append(request)
        return reply(judgement(choice=2))

    with transcript.opened(tmp_path / transcript.NAME) as lines:
        yield Client(Llm("m", {}, answer), lines, Budget(), tmp_path, lambda line: None), asked


CURVES = [Result([50, 100], [[-3.0, -3.2], [-2.0, -2.2]]), Result([50, 100], [[-3.0, -3.2], [-1.0, -1.2]])]


def stub_train(monkeypatch: pytest.MonkeyPatch, n_trained: int | None = None) -> list[list[str]]:
    """Replace short trainings by CURVES; with `n_trained`, Ctrl-C after so many. Return the sources of each call."""
    calls = []

    def train(plan, sources, check):
        del plan, check
        calls.append(sources)
        for i in range(len(sources)):
            if i == n_trained:
                raise KeyboardInterrupt
            yield Trained(i, CURVES[i], -4.0)

    monkeypatch.setattr(trials, "train", train)
    return calls


def test_an_evaluator_without_an_answer_leaves_the_choice_to_the_short_trainings(client, monkeypatch):
    stub_train(monkeypatch)
    mute = client[0].llm._replace(ask=lambda *_: reply("I cannot decide."))
    prompts = PROMPTS._replace(messages={**PROMPTS.messages, "evaluator_again": "{{question}} {{answer}} {{problem}}"})
    unable = client[0]._replace(llm=mute)
    choice = evaluator.make(unable, prompts, 1, trials.make(unable, PLAN))(POOL)
    assert (choice.candidate.number, choice.by) == (2, "rule")
    assert choice.reason.startswith(
        "the highest return after a short training: -1.100, as the evaluator gave no usable"
    )


def test_trainings_that_are_done_are_stored_when_the_others_are_broken_off(client, monkeypatch):
    stub_train(monkeypatch, n_trained=1)
    with pytest.raises(KeyboardInterrupt):
        trials.make(client[0], PLAN).lines(POOL)
    best = trials.best_stored(client[0].transcript, POOL)
    assert best is not None
    assert best.candidate.number == 1
    assert trials.best_stored(client[0].transcript, Pool(1, None, POOL.new[1:])) is None
    calls = stub_train(monkeypatch)
    trials.make(client[0], PLAN).lines(POOL)
    assert calls == [[FIRST]]


def test_a_device_that_fails_is_one_sentence(client, monkeypatch):
    def train(*_):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: 7 GiB")

    monkeypatch.setattr(trials, "train", train)
    with pytest.raises(UserError, match="select=train: the device failed: RESOURCE_EXHAUSTED: 7 GiB; if the memory"):
        trials.make(client[0], PLAN).lines(POOL)


def test_the_evaluator_sees_the_results_and_nothing_is_trained_twice(client, monkeypatch):
    trained = stub_train(monkeypatch)
    made = trials.make(client[0], PLAN)
    choice = evaluator.make(client[0], PROMPTS, 1, made)(POOL)
    assert choice.candidate.number == 2
    assert choice.by == "the evaluator, who saw short trainings"
    shown = client[1][0].user
    assert "(2 seeds), return -3.100 at step 50, -2.100 at step 100; random policy -4.000" in shown
    assert "last return: rank 1 of 2: better than function 1" in shown
    best = made.best(POOL)
    assert (best.candidate.number, best.by) == (2, "rule")
    assert best.reason == "the highest return after a short training: -1.100"
    assert trained == [[EQUAL, FIRST]]
    assert [record["work"] for record in client[0].transcript.records if record["kind"] == "device"] == [
        "short trainings"
    ]


def test_only_functions_of_no_earlier_round_are_trained(client, monkeypatch):
    trained = stub_train(monkeypatch)
    made = trials.make(client[0], PLAN)
    made.lines(POOL)
    third = candidate(1, SECOND)
    made.lines(Pool(2, POOL.new[1], (third,)))
    made.lines(Pool(2, POOL.new[1], (third,)))
    assert trained == [[EQUAL, FIRST], [SECOND]]
    as_first = trials.make(client[0], PLAN, trained_as=lambda candidate: FIRST)
    texts = as_first.lines(Pool(3, None, (candidate(1, "another text"),)))
    assert "-1.100 at step 100" in texts[1][0]
    assert trained == [[EQUAL, FIRST], [SECOND]]


def test_results_that_an_older_version_stored_are_found_and_choose_as_they_did(client):
    digests = [sha256(source) for source in (EQUAL, FIRST)]
    curves = {"steps": [50, 100], "returns": [[-3.0, -1.0], [-3.0, -2.0]], "random": -4.0}
    transcript.append(client[0].transcript, "trial", sources_sha256=digests, curves=curves)
    best = trials.make(client[0], PLAN).best(POOL)
    assert (best.candidate.number, best.reason) == (1, "the highest return after a short training: -1.000")


def test_no_result_can_use_the_seed_of_the_trials():
    with pytest.raises(UserError, match="seed must be less than 4294967295"):
        config.load([f"seed={config.TRIAL_SEED}"])
