"""The list of 124 candidates, and more: each gets its verdict, and none of them harms this process."""

import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tfcaf.candidates import numbers, published, replies, static, traced
from tfcaf.candidates.ahead import ahead
from tfcaf.candidates.traced import Candidate

from qllm_jax.tfcaf import gates
from qllm_jax.tfcaf.static.extract import extract
from qllm_jax.tfcaf.verdict import CODES, MAX_FEEDBACK, Verdict, sha256

ENV = {"name": "mpe_spread", "n_agents": 3, "time_limit_is_terminal": True}

# name -> (source or reply, candidate with the expected verdict)
CASES: dict[str, tuple[object, Candidate]] = {
    f"reply_{name}": (reply, Candidate("", code)) for name, (reply, code) in replies.REPLIES.items()
}
for name, (text, line, says) in static.STATIC.items():
    CASES[name] = (text, Candidate(text, "PARSE" if name in static.PARSE else "STATIC", line, says))
for table in (traced.BUDGETS, traced.MISTAKES, traced.OUTPUTS, numbers.OUT_OF_RANGE, numbers.DIVISIONS):
    CASES |= {f"g{name}": (candidate.text, candidate) for name, candidate in table.items()}
for table in (numbers.GRADIENTS, numbers.GOOD):
    CASES |= {f"g{name}": (candidate.text, candidate) for name, candidate in table.items()}


def verdict_on(name: str) -> Verdict:
    given, _ = CASES[name]
    if name.startswith("reply_"):
        given = extract(given)
        if isinstance(given, Verdict):
            return given
    assert isinstance(given, str)
    return gates.verify(given, "mine.py", ENV, limits=gates.Limits(cpu_s=10))


@pytest.fixture(scope="module")
def state_of_the_process(empty_folder: Path) -> Iterator[dict]:
    """What no candidate may change, before; the folder for temporary files is watched."""
    gates.rollouts.from_config(ENV)
    usual, tempfile.tempdir = tempfile.tempdir, str(empty_folder)
    yield seen_of_the_process()
    tempfile.tempdir = usual


def seen_of_the_process() -> dict:
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    options = (jax.config.read("jax_enable_x64"), dict(np.get_printoptions()))
    return {"jnp": dict(vars(jnp)), "env": environment, "files": sorted(os.listdir()), "options": options}


@pytest.fixture(scope="module")
def verdicts(request: pytest.FixtureRequest, state_of_the_process: dict) -> Iterator[dict[str, Future[Verdict]]]:
    del state_of_the_process
    yield from ahead(request, verdict_on)


@pytest.mark.parametrize("name", CASES)
def test_candidate_gets_its_verdict(name: str, verdicts: dict[str, Future[Verdict]]):
    verdict, expected = verdicts[name].result(), CASES[name][1]
    assert (verdict.code, verdict.problem) == (expected.code, verdict.problem)
    told = verdict.feedback()
    assert expected.says in f"{told} {verdict.problem}; {verdict.hint}"
    assert len(told.encode()) <= MAX_FEEDBACK
    if expected.line is not None:
        assert verdict.line == expected.line
        assert f"Line {expected.line}:" in told
    if not verdict.ok:
        assert verdict.problem
        assert verdict.hint
        assert "\n" not in verdict.problem + verdict.hint
    assert verdict.report.get("cpu_seconds", 0.0) < 5.0


def test_the_processes_of_candidates_left_nothing_behind(
    verdicts: dict[str, Future[Verdict]], state_of_the_process: dict, empty_folder: Path
):
    for verdict in verdicts.values():
        verdict.result()
    assert seen_of_the_process() == state_of_the_process
    assert list(empty_folder.iterdir()) == []
    children = subprocess.run(["ps", "-A", "-o", "ppid=,args="], capture_output=True, text=True, check=True).stdout
    own = [line.split(None, 1)[1] for line in children.splitlines() if line.split()[0] == str(os.getpid())]
    assert not [line for line in own if "child.py" in line]


def test_the_list_is_complete():
    names = [*CASES, *(f"g124_{name}" for name in published.PUBLISHED)]
    numbered = {int(found[1]) for name in names if (found := re.match(r"(?:[a-g]|reply_)(\d+)_", name))}
    assert numbered >= set(range(1, 125))


def test_every_code_of_the_vocabulary_is_given_to_some_candidate():
    given = {candidate.code for _, candidate in CASES.values()}
    assert given == set(CODES) - {"NONDET"}  # nothing that the allow-list admits can change: see test_layers.py


def test_the_honest_count():
    """How many sources are tried that read outside, divide by what can be 0, or have gradients that are not finite."""
    refused = {"OUT_OF_RANGE": 22, "DIVISIONS": 23, "GRADIENTS": 13}
    assert {name: len(getattr(numbers, name)) for name in refused} == refused
    assert all(c.code != "OK" for name in refused for c in getattr(numbers, name).values())


def test_a_loop_without_end_is_a_verdict():
    loops = "".join("    " + "  " * i + f"for {name} in range(4096):\n" for i, name in enumerate("ijkl"))
    source = f"def credit(state):\n{loops}{' ' * 12}pass\n    return state['agent_pos'][:, 0], 0.0\n"
    verdict = gates.verify(source, "mine.py", ENV, limits=gates.Limits(cpu_s=2))
    assert (verdict.code, verdict.layer) == ("BUDGET", "L6")
    assert "tracing it took more than 2 s of processor time" in verdict.problem


def test_the_report_of_a_pass():
    source = "import jax.numpy as jnp\nIGM = False\ndef credit(state):\n    return state['agent_pos'][:, 0] / 2, 1.0\n"
    verdict = gates.verify(source, "mine.py", ENV)
    assert verdict.ok
    assert (verdict.layer, verdict.line, verdict.problem, verdict.sha256) == ("L8", None, "", sha256(source))
    report = verdict.report
    assert (report["igm"], report["signature"], report["treats_agents_alike"]) == (False, "credit", True)
    assert report["traces_for_n_agents"] == [2, 3, 6, 25]
    assert report["rollout_states"] == gates.rollouts.KEPT
    weights = report["weights"]
    assert weights["min"] < 0 < weights["max"]
    assert 0.3 < weights["negative_share"] < 0.7
    assert (weights["bias_min"], weights["bias_max"]) == (1.0, 1.0)
    assert 0 < weights["entropy"] < 1


def test_text_that_no_process_needs_to_see():
    for source, code, line in (("x" * 2**15, "STATIC", None), ("a\n\0", "PARSE", 2), ("'\ud800'", "PARSE", None)):
        verdict = gates.verify(source, "mine.py", ENV)
        assert (verdict.code, verdict.layer, verdict.line) == (code, "L1", line)
