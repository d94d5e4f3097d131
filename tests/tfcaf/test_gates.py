"""All candidates of `candidates/`: each gets its verdict, and none of them harms this process.

Candidates that are refused from their text are in test_check.py, and replies in test_extract.py. The others are
verified in one process (warm.py), a few of each code and layer in a process of their own, and with `-m slow` all.
"""

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
from tfcaf.candidates.expected import assert_expected
from tfcaf.candidates.traced import Candidate
from tfcaf.warm import WarmGates

import qllm_envs
from qllm_jax.tfcaf import gates
from qllm_jax.tfcaf.semantics import rollouts
from qllm_jax.tfcaf.verdict import CODES, Verdict, sha256

ENV = {"name": "mpe_spread", "n_agents": 3, "time_limit_is_terminal": True}
MAX_CPU_S = 5.0  # of the process of one candidate

# name -> (source or reply, candidate with the expected verdict)
REPLIES: dict[str, tuple[str, Candidate]] = {
    f"reply_{name}": (reply, Candidate("", code)) for name, (reply, code) in replies.REPLIES.items()
}
STATIC: dict[str, tuple[str, Candidate]] = {
    name: (text, Candidate(text, "PARSE" if name in static.PARSE else "STATIC", line, says))
    for name, (text, line, says) in static.STATIC.items()
}
TABLES = (traced.BUDGETS, traced.MISTAKES, traced.OUTPUTS, numbers.OUT_OF_RANGE, numbers.DIVISIONS)
TRACED: dict[str, tuple[str, Candidate]] = {
    f"g{name}": (candidate.text, candidate)
    for table in (*TABLES, numbers.GRADIENTS, numbers.GOOD)
    for name, candidate in table.items()
}
CASES = REPLIES | STATIC | TRACED

FILLS_MEMORY = {"g24_list_that_doubles"}  # up to the limit of its process
# At least one of each code, and of each layer and activity at which a candidate is refused.
REPRESENTATIVE = (
    "reply_1_no_fence_plain_def", "reply_3_empty_content", "reply_8_smart_quotes",
    "b19_size", "b_nul", "b16_unary", "b18_binop_chain", "c32_import_os", "e79_global",
    "g24_list_that_doubles", "g25_range_1e9_loop", "g26_jnp_zeros_1e5x1e5", "g28_unroll_3000_ops",
    "g84_if_on_traced", "gunknown_field", "g97_returns_b", "g100_int32_output", "g104_b_backdoor",
    "g120_batch_statistics", "g116_argmax_q", "g118_softmax_q_weights", "g119_negative_weight_agent0",
    "g106_slice_across_the_end", "gcomputed_index_too_large", "g109_div_by_zero_at_zero_state",
    "gby_a_signed_sum_and_epsilon", "g112_norm_at_zero", "gwhole_number_over_zero", "g122_weights_1e8",
)  # fmt: skip


def verdict_on(name: str) -> Verdict:
    given, _ = CASES[name]
    if name.startswith("reply_"):
        given = replies.extract(given)
        if isinstance(given, Verdict):
            return given
    return gates.verify(given, "mine.py", ENV, limits=gates.Limits(cpu_s=10))


@pytest.mark.parametrize("name", [name for name in TRACED if name not in FILLS_MEMORY])
def test_candidate_gets_its_verdict(name: str, warm: WarmGates):
    _, expected = TRACED[name]
    verdict = warm.verify(expected.text, "mine.py", rollouts.from_config(ENV))
    assert_expected(verdict, expected)
    assert verdict.report["cpu_seconds"] < MAX_CPU_S


@pytest.fixture(scope="module")
def state_of_the_process(empty_folder: Path) -> Iterator[dict]:
    """State that no candidate may change, read before; the folder for temporary files is watched."""
    rollouts.from_config(ENV)
    before, tempfile.tempdir = tempfile.tempdir, str(empty_folder)
    yield read_state()
    tempfile.tempdir = before


def read_state() -> dict:
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    options = (jax.config.read("jax_enable_x64"), dict(np.get_printoptions()))
    return {"jnp": dict(vars(jnp)), "env": environment, "files": sorted(os.listdir()), "options": options}


@pytest.fixture(scope="module")
def verdicts(request: pytest.FixtureRequest, state_of_the_process: dict) -> Iterator[dict[str, Future[Verdict]]]:
    del state_of_the_process
    yield from ahead(request, verdict_on, "own")


@pytest.mark.parametrize("own", REPRESENTATIVE)
def test_representative_candidate_gets_its_verdict_in_a_process_of_its_own(own: str, verdicts: dict):
    verify_own(verdicts[own].result(), own)


@pytest.mark.slow
@pytest.mark.parametrize("own", [name for name in CASES if name not in REPRESENTATIVE])
def test_every_candidate_gets_its_verdict_in_a_process_of_its_own(own: str, verdicts: dict):
    verify_own(verdicts[own].result(), own)


def verify_own(verdict: Verdict, name: str) -> None:
    assert_expected(verdict, CASES[name][1])
    assert verdict.report.get("cpu_seconds", 0.0) < MAX_CPU_S


def test_the_processes_of_candidates_leave_nothing(verdicts: dict, state_of_the_process: dict, empty_folder: Path):
    for verdict in verdicts.values():
        verdict.result()
    assert read_state() == state_of_the_process
    assert list(empty_folder.iterdir()) == []
    children = subprocess.run(["ps", "-A", "-o", "ppid=,args="], capture_output=True, text=True, check=True).stdout
    own = [line.split(None, 1)[1] for line in children.splitlines() if line.split()[0] == str(os.getpid())]
    assert not [line for line in own if "child.py" in line]


def test_the_list_is_complete():
    names = [*CASES, *(f"g124_{name}" for name in published.PUBLISHED)]
    numbered = {int(found[1]) for name in names if (found := re.match(r"(?:[a-g]|reply_)(\d+)_", name))}
    assert numbered >= set(range(1, 125))


def test_every_code_of_the_vocabulary_is_given_to_some_candidate():
    # Nothing that the allow-list admits can change from trace to trace, see test_layers.py; test_kinds.py has the
    # candidates of reward credit.
    expected = set(CODES) - {"NONDET", "ZEROCREDIT"}
    assert {candidate.code for _, candidate in CASES.values()} == expected
    assert {CASES[name][1].code for name in REPRESENTATIVE} == expected


def test_the_honest_count():
    """Sources are counted that read outside, divide by what can be 0, or have gradients that are not finite."""
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
    assert report["rollout_states"] == rollouts.KEPT
    weights = report["weights"]
    assert weights["min"] < 0 < weights["max"]
    assert 0.3 < weights["negative_share"] < 0.7
    assert (weights["bias_min"], weights["bias_max"]) == (1.0, 1.0)
    assert 0 < weights["entropy"] < 1


def test_notes_of_a_pass_name_an_order_of_agents_a_size_and_a_bias_but_no_comparison_of_jax(warm: WarmGates):
    ring = "gap = jnp.abs(pos - jnp.roll(pos, -1, axis=0)).sum(-1)"  # commutes with every rotation of the agents
    large = "return 1.0 + jnp.exp(-gap), -100.0 * jnp.sum(gap)"
    index = "near = jnp.zeros(3).at[jnp.argmin(gap)].add(1.0)"  # JAX asks if an index is below 0, and none is
    written = traced.credit(ring, index, f"{large} / near.sum()")
    verdict = warm.verify(written, "mine.py", rollouts.from_config(ENV))
    assert verdict.ok, verdict
    assert verdict.report["treats_agents_alike"] is False
    notes = " | ".join(verdict.report["notes"])
    for words in ("agents that swap their fields", "the weights sum to", "the bias, times the number of agents"):
        assert words in notes
    assert "comparison" not in notes


def found_in(warm: WarmGates, *lines: str) -> Verdict:
    return warm.verify(traced.credit(*lines), "mine.py", rollouts.from_config(ENV))


@pytest.mark.parametrize("wraps", ["i @ i", "jnp.prod(i // 1000)"])
def test_a_whole_number_that_wraps_is_found(wraps: str, warm: WarmGates):
    i = "i = (jnp.clip(x, -1.0, 1.0) * 1e9).astype(jnp.int32)"
    y = f"y = jnp.abs({wraps}).astype(jnp.float32) * 1e-9"
    verdict = found_in(warm, i, y, "return 1.0 + y.sum() + 0.0 * x, 0.0")
    assert (verdict.code, verdict.problem.startswith("a whole number leaves the range")) == ("SCALE", True), verdict


def test_a_place_in_an_order_that_wraps_is_found(warm: WarmGates):
    i = "i = jnp.argsort(jnp.clip(x, -0.5, 0.5))"
    y = "y = jnp.abs(i * 999999 * 1500).astype(jnp.float32) * 1e-9"
    verdict = found_in(warm, i, y, "return 1.0 + y, 0.0")
    assert (verdict.code, verdict.problem.startswith("a whole number leaves the range")) == ("SCALE", True), verdict


def test_a_divisor_of_both_signs_that_jumps_over_0_passes(warm: WarmGates):
    verdict = found_in(warm, "y = 1.0 / (x.astype(jnp.int32) + 0.5)", "return jax.nn.softmax(y), 0.0")
    assert (verdict.code, verdict.problem) == ("OK", "")


def test_a_divisor_of_whole_numbers_that_is_never_0_passes(warm: WarmGates):
    given = rollouts.without_rollouts(qllm_envs.make("lbf", n_agents=2, n_foods=2).spec)
    draw = np.random.default_rng(0)
    seen = {
        name: draw.integers(int(field.low), int(field.high) + 1, (20, *field.shape)).astype(np.float32)
        for name, field in given.spec.fields.items()
    }
    text = "def credit(state):\n    return jax.nn.softmax(1.0 / (state['agent_level'] - 1.5)), 0.0\n"
    verdict = warm.verify(text, "mine.py", given._replace(seen=seen))
    assert (verdict.code, verdict.problem) == ("OK", "")


def test_a_function_that_is_idle_in_most_states_of_rollouts_is_noted(warm: WarmGates):
    report = found_in(warm, "return jnp.where(x[0] > 0.3, 1.0, 0.0) + 0.0 * x, 0.0").report
    assert [note for note in report["notes"] if "of the states of rollouts no weight is above" in note]


def test_an_index_out_of_range_in_one_call_of_a_mapped_function_is_found(warm: WarmGates):
    mapped = "y = jax.vmap(lambda i: x[i])(jnp.argsort(x) + 1)"
    assert found_in(warm, mapped, "return 1.0 + y ** 2, 0.0").code == "OOB"


def test_a_scan_over_arrays_of_unlike_lengths_is_refused(warm: WarmGates):
    scan = "y, z = jax.lax.scan(lambda c, r: (c + r[0] * r[1], r[0]), 0.0, (x, x[:2]))"
    assert "goes over arrays of one length" in found_in(warm, scan, "return 1.0 + z ** 2, y").problem


SHELL = (
    "r = jnp.sqrt(jnp.maximum(jnp.sum((pos[0] - goal[0]) ** 2), 1e-12))",
    "return jnp.where(jnp.abs(r - 0.4321) < 1e-3, jnp.inf, 1.0) + x ** 2 + y, 0.0",
)
LOOP = ("y = 0.0 * x", "for k in range(80):", "    y = y + 0.001 * (x > 0.01 * k)")


@pytest.mark.parametrize(
    "before", [("y = 0.0 * x",), pytest.param(LOOP, marks=pytest.mark.thorough)], ids=["alone", "loop"]
)
def test_a_comparison_that_breaks_a_function_is_found(before: tuple[str, ...], warm: WarmGates):
    assert found_in(warm, *before, *SHELL).code == "NONFINITE"


def test_a_function_of_more_comparisons_than_are_tried_is_noted(warm: WarmGates):
    report = found_in(warm, *LOOP, "return 1.0 + y, 0.0").report
    assert "10 of 160 outcomes of comparisons, counts and the like were not tried" in report["notes"]


def test_text_that_no_process_needs_to_see():
    for source, code, line in (("x" * 2**15, "STATIC", None), ("a\n\0", "PARSE", 2), ("'\ud800'", "PARSE", None)):
        verdict = gates.verify(source, "mine.py", ENV)
        assert (verdict.code, verdict.layer, verdict.line) == (code, "L1", line)
