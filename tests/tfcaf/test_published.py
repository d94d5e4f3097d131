"""Functions that must pass: those that are shipped, for many numbers of agents, and our rewrites of the authors'."""

from collections.abc import Iterator
from concurrent.futures import Future

import numpy as np
import pytest
from tfcaf.candidates.ahead import ahead
from tfcaf.candidates.published import PUBLISHED

import qllm_envs
from qllm_envs.core import Spec
from qllm_jax.tfcaf import find, gates, load, names
from qllm_jax.tfcaf.semantics.task import Task
from qllm_jax.tfcaf.verdict import TfcafError, Verdict

SIZES = (2, 3, 25)
RELEASE = (2, 3, 6)  # the sizes for which the release's functions are written
OPTIONS = {  # a grid that holds 25 agents; opponents that play against teams of any size
    "lbf": {"rows": 15, "cols": 15},
    "mpe_adversary": {"opponent": "random"},
    "mpe_tag": {"opponent": "random"},
}
# These come with their number of agents. The battles' function has tests of its own, over more scenarios.
NAMED = {
    "matrix": [{"game": game} for game in ("climbing", "climbing-3p", "penalty")],
    "smax": [{"scenario": "3s_vs_5z"}],
}


def shipped() -> dict[str, tuple[str, dict]]:
    """Name of the test -> (credit function, `env:` configuration), for all sizes that the function is written for."""
    found = {}
    for function in names():
        env = next(name for name in sorted(qllm_envs.names(), key=len, reverse=True) if function.startswith(name))
        numbers = RELEASE if function.endswith("_paper") else SIZES
        for size in NAMED.get(env, [{"n_agents": n} for n in numbers]):
            options = OPTIONS.get(env, {}) | size
            if is_written_for(function, qllm_envs.make(env, **options).spec):
                found[f"{function}_{next(iter(size.values()))}"] = (function, {"name": env, **options})
    return found


def is_written_for(function: str, spec: Spec) -> bool:
    """The release's functions are written for the sizes of the release; ours for all."""
    if not function.endswith("_paper"):
        return True
    try:
        load(function, spec)
    except TfcafError as error:
        return error.code not in ("TRACE", "SHAPE", "OOB")
    return True


SHIPPED = shipped()


def seen_of(n_agents: int, state_dim: int) -> np.ndarray:
    """States (48, S) in the form of SMAC (shares of 1, zeros for the dead) or of football (115 numbers an agent)."""
    draw = np.random.default_rng(0)
    if state_dim % 115:
        states = draw.random((48, state_dim)) * (draw.random((48, state_dim)) > 0.2)
        return states.astype(np.float32)
    one_of = lambda n, shape: np.eye(n)[draw.integers(n, size=shape)]
    common = [draw.uniform(-1, 1, (48, 1, 94)), one_of(3, (48, 1))]
    parts = [*(np.broadcast_to(part, (48, n_agents, part.shape[-1])) for part in common), one_of(11, (48, n_agents))]
    return np.concatenate([*parts, one_of(7, (48, n_agents))], -1).reshape(48, state_dim).astype(np.float32)


def judge(name: str) -> Verdict:
    if name in SHIPPED:
        function, env = SHIPPED[name]
        found = find(function)
        return gates.verify(found.text, found.file, env)
    given = PUBLISHED[name]
    spec = Spec(name, given.n_agents, 5, 1, given.state_dim, 10, {}, (), "", "", "")
    seen = seen_of(given.n_agents, given.state_dim)
    return gates.verify_in(given.text, name, Task(spec, {}, seen, seen[:0], {}))


@pytest.fixture(scope="module")
def verdicts(request: pytest.FixtureRequest) -> Iterator[dict[str, Future[Verdict]]]:
    yield from ahead(request, judge)


@pytest.mark.parametrize("name", SHIPPED)
def test_no_false_alarm_on_what_is_shipped(name: str, verdicts: dict[str, Future[Verdict]]):
    verdict = verdicts[name].result()
    assert (verdict.code, verdict.problem) == ("OK", "")
    weights = verdict.report["weights"]
    assert weights["lowest_weight_tried"] >= 0
    assert verdict.report["igm"]


def test_every_shipped_function_is_among_them():
    assert {function for function, _ in SHIPPED.values()} == set(names())
    assert {f"mpe_spread_{n}" for n in SIZES} <= set(SHIPPED)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_function_passes(name: str, verdicts: dict[str, Future[Verdict]]):
    verdict = verdicts[name].result()
    assert (verdict.code, verdict.problem) == ("OK", "")
    assert verdict.report["signature"] == "paper"
    if name != "3s_vs_5z":  # with the whole team dead its weights are all 0
        assert verdict.report["weights"]["sum"] == pytest.approx(1.0, abs=1e-4)
