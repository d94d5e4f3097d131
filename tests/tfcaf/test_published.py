"""Functions that must pass: those that are shipped, for many numbers of agents, and our rewrites of the authors'."""

import numpy as np
import pytest
from tfcaf.candidates.published import PUBLISHED
from tfcaf.warm import WarmGates

import qllm_envs
from qllm_envs.core import Spec
from qllm_jax.tfcaf import find, gates, load, names
from qllm_jax.tfcaf.semantics import rollouts
from qllm_jax.tfcaf.semantics.task import Task
from qllm_jax.tfcaf.verdict import TfcafError

SIZES = (2, 3, 25)
RELEASE = (2, 3, 6)  # the sizes for which the release's functions are written
OPTIONS = {  # a grid that holds 25 agents; opponents that play against teams of any size
    "lbf": {"rows": 15, "cols": 15},
    "mpe_adversary": {"opponent": "random"},
    "mpe_tag": {"opponent": "random"},
}
# These come with their number of agents, or a field of theirs can be empty. The battles' function has tests of its own,
# over more scenarios.
NAMED = {
    "couriers": [{"n_agents": 2}, {"n_hazards": 0}, {"n_agents": 25}],
    "football_lite": [
        {"scenario": f"academy_{name}"}
        for name in ("3_vs_1_with_keeper", "pass_and_shoot_with_keeper", "counterattack_easy")
    ],
    "matrix": [{"game": game} for game in ("climbing", "climbing-3p", "penalty")],
    "smax": [{"scenario": "3s_vs_5z"}],
    "spectators": [{"spectators": n} for n in (0, 1, 22)],
}
SIGNED = ("modes",)  # functions with IGM = False, whose weights may be negative


# The release's functions are written for the sizes of the release, these not even for all of those.
NOT_WRITTEN_FOR = (("matrix_paper", "climbing-3p"), ("mpe_adversary_paper", 3), ("mpe_adversary_paper", 6))


def shipped() -> dict[str, tuple[str, dict]]:
    """Name of the test -> (credit function, `env:` configuration), for all sizes that the function is written for."""
    found = {}
    for function in names():
        env = next(name for name in sorted(qllm_envs.names(), key=len, reverse=True) if function.startswith(name))
        numbers = RELEASE if function.endswith("_paper") else SIZES
        for size in NAMED.get(env, [{"n_agents": n} for n in numbers]):
            (value,) = size.values()
            if (function, value) not in NOT_WRITTEN_FOR:
                found[f"{function}_{value}"] = (function, {"name": env, **OPTIONS.get(env, {}), **size})
    return found


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


LONG = "football_lite"  # a match takes too long to compile for every run of the tests

# Every size of the default; of each other function the second, which is 3 agents where it has them.
EVERY_RUN = {f"mpe_spread_{n}" for n in SIZES}
EVERY_RUN |= {
    [name for name, (of, _) in SHIPPED.items() if of == function][:2][-1] for function in names() if function != LONG
}
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in SHIPPED if name not in EVERY_RUN]


@pytest.mark.thorough
@pytest.mark.parametrize("name", [*(name for name in SHIPPED if name in EVERY_RUN), *SLOW])
def test_no_false_alarm_on_what_is_shipped(name: str, warm: WarmGates):
    function, env = SHIPPED[name]
    verdict = warm.verify(find(function).text, function, rollouts.from_config(env))
    assert (verdict.code, verdict.problem) == ("OK", "")
    assert verdict.report["igm"] == (function not in SIGNED)
    assert (verdict.report["weights"]["lowest_weight_tried"] >= 0) == (function not in SIGNED)


@pytest.mark.slow
@pytest.mark.parametrize("name", SHIPPED)
def test_no_false_alarm_in_a_process_of_its_own(name: str):
    function, env = SHIPPED[name]
    verdict = gates.verify(find(function).text, function, env)
    assert (verdict.code, verdict.problem) == ("OK", "")


@pytest.mark.parametrize(("function", "size"), NOT_WRITTEN_FOR)
def test_a_function_that_is_left_out_is_not_written_for_that_size(function: str, size: str | int):
    options = {"game": size} if isinstance(size, str) else {"n_agents": size, "opponent": "random"}
    with pytest.raises(TfcafError) as caught:
        load(function, qllm_envs.make(function.removesuffix("_paper"), **options).spec)
    assert caught.value.code in ("TRACE", "SHAPE", "OOB")


def test_every_shipped_function_is_among_them():
    assert {function for function, _ in SHIPPED.values()} == set(names())
    assert {SHIPPED[name][0] for name in EVERY_RUN} | {LONG} == set(names())
    assert set(SHIPPED) > EVERY_RUN


@pytest.mark.thorough
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_function_passes(name: str, warm: WarmGates):
    given = PUBLISHED[name]
    spec = Spec(name, given.n_agents, 5, 1, given.state_dim, 10, {}, (), "", "", "")
    seen = seen_of(given.n_agents, given.state_dim)
    verdict = warm.verify(given.text, name, Task(spec, {}, "value", {}, {}, (), seen, seen[:0], seen[:0]))
    assert (verdict.code, verdict.problem) == ("OK", "")
    assert verdict.report["signature"] == "paper"
    if name != "3s_vs_5z":  # with the whole team dead its weights are all 0
        assert verdict.report["weights"]["sum"] == pytest.approx(1.0, abs=1e-4)
