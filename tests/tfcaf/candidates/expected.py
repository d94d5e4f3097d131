"""Comparison of a verdict with the one that a table of candidates expects."""

from tfcaf.candidates.traced import Candidate

from qllm_jax.tfcaf.verdict import MAX_FEEDBACK, Verdict


def assert_expected(verdict: Verdict, expected: Candidate) -> None:
    """Code, line and words are as expected, and the feedback for the coder is short and whole."""
    assert (verdict.code, verdict.problem) == (expected.code, verdict.problem)
    feedback = verdict.feedback()
    assert expected.says in f"{feedback} {verdict.problem}; {verdict.hint}"
    assert len(feedback.encode()) <= MAX_FEEDBACK
    if expected.line is not None:
        assert verdict.line == expected.line
        assert f"Line {expected.line}:" in feedback
    if not verdict.ok:
        assert verdict.problem
        assert verdict.hint
        assert "\n" not in verdict.problem + verdict.hint
