"""Candidates that pass a check of shapes and misbehave in training, and good ones in the styles of language models."""

from typing import Any

import pytest
from tfcaf.candidates import styles, training, wider
from tfcaf.candidates.expected import assert_expected
from tfcaf.candidates.traced import Candidate
from tfcaf.warm import WarmGates

from qllm_jax.tfcaf.semantics import rollouts
from qllm_jax.tfcaf.static.check import check
from qllm_jax.tfcaf.verdict import Verdict, printable

pytestmark = pytest.mark.thorough

BAD = {f"{table}_{name}": each for table in ("SIZES", "STATES", "CUTS") for name, each in vars(training)[table].items()}
BAD |= wider.BAD | wider.BAD_SLOW
NOTED = training.NOTED | wider.NOTED | wider.NOTED_SLOW
TEXTS = training.TEXTS | wider.TEXTS
SLOW = wider.BAD_SLOW | wider.NOTED_SLOW


def named(table: dict[str, Any]) -> list[Any]:
    """Names of a table as parameters, with a mark for those that are left out by default."""
    return [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in table]


def verdict_on(source: str, env: dict[str, Any], warm: WarmGates) -> Verdict:
    return warm.verify(source, "mine.py", rollouts.from_config(env))


@pytest.mark.parametrize("name", named(BAD))
def test_a_candidate_that_misbehaves_in_training_is_refused(name: str, warm: WarmGates):
    env, expected = BAD[name]
    if env["name"] == "smax":
        pytest.importorskip("jaxmarl")
    assert_expected(verdict_on(expected.text, env, warm), expected)


@pytest.mark.parametrize("name", named(NOTED))
def test_what_is_cut_off_or_may_break_is_noted(name: str, warm: WarmGates):
    env, source, note = NOTED[name]
    verdict = verdict_on(source, env, warm)
    assert verdict.ok, verdict.problem
    assert [each for each in verdict.report["notes"] if note in each]
    assert f"Note: {verdict.report['notes'][0]}" in verdict.feedback()


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_that_shows_something_else_than_runs_is_refused(name: str, warm: WarmGates):
    source, code, line, says = TEXTS[name]
    verdict = verdict_on(source, training.SPREAD, warm)
    assert_expected(verdict, Candidate(source, code, line, says))
    assert all(part == printable(part) for part in (verdict.problem, verdict.hint, verdict.report["line_text"]))


@pytest.mark.parametrize("comment", wider.READABLE)
def test_signs_that_are_meant_to_be_read_are_accepted(comment: str):
    source = f"{comment}\ndef credit(state):\n    return 1.0 + state['agent_pos'][:, 0] ** 2, 0.0\n"
    assert check(source, "mine.py").entry == "credit"


@pytest.mark.parametrize("name", styles.STYLES)
def test_a_good_function_in_the_style_of_a_language_model_passes(name: str, warm: WarmGates):
    env, source = styles.STYLES[name]
    verdict = verdict_on(source, env, warm)
    assert (verdict.code, verdict.problem) == ("OK", "")


def test_files_that_are_no_text_get_a_verdict(tmp_path, capsys: pytest.CaptureFixture[str]):
    from qllm_jax.commands.verify import verify

    source = "def credit(state):\n    return state['agent_pos'][:, 0] ** 2 + 1.0, 0.0  # \u00e9\n"
    for encoding in ("latin-1", "utf-16", "utf-16-le"):
        path = tmp_path / f"{encoding}.py"
        path.write_bytes(source.encode(encoding))
        assert verify([str(path), "env=mpe_spread"]) == 1
        assert capsys.readouterr().out.startswith("PARSE at L1: ")
