"""`python -m qllm_jax.verify`: what it prints and how it exits."""

import sys
from pathlib import Path

import pytest

from qllm_jax import cli
from qllm_jax.commands.verify import verify
from qllm_jax.errors import UserError
from qllm_jax.verify import __doc__ as usage

GOOD = "def credit(state):\n    return 1.0 + state['agent_pos'][:, 0] ** 2, 0.0\n"


def test_a_pass_prints_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = tmp_path / "mine.py"
    file.write_text(GOOD)
    assert verify([str(file), "env=mpe_spread", "n_agents=3"]) == 0
    shown = capsys.readouterr().out
    for text in (
        "OK at L8",
        "sha256",
        "sensitivity",
        "rollout states",
        "landlock",
        "n agents                 3",
        "network",
    ):
        assert text in shown


def test_a_refusal_prints_line_and_hint(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = tmp_path / "mine.py"
    file.write_text(GOOD.replace("** 2", "** 0.5"))
    assert verify([str(file), "n_agents=3"]) == 1
    shown = capsys.readouterr().out
    for text in ("NONFINITE at L6", "line 2: return 1.0 +", "what to do:"):
        assert text in shown


def test_mistakes_are_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for arguments, sentence in (
        ([], "give one file"),
        (["a.py", "b.py"], "give one file"),
        (["mpe_spraed"], "did you mean 'mpe_spread'"),
        (["mpe_spread", "n_agents=0"], "n_agents"),
        (["mpe_spread", "env=mpe_spraed"], "did you mean"),
        (
            ["mpe_spread", "seeds=3"],
            "'seeds' makes no difference to a verdict: the keys are file, kind, env, n_agents,",
        ),
        (["mpe_spread", "--env=mpe_tag"], "options have no dashes: env=mpe_tag"),
        (["mpe_spread", "algo=vdn"], "'algo' makes no difference to a verdict"),
    ):
        with pytest.raises(UserError, match=sentence):
            verify(arguments)
    latin = tmp_path / "latin.py"
    latin.write_bytes(b"# \xff\n" + GOOD.encode())
    assert verify([str(latin)]) == 1
    assert "PARSE at L1" in (printed := capsys.readouterr().out)
    assert "not text in UTF-8" in printed
    assert "sha256" not in printed


def test_help(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(sys, "argv", ["verify", "--help"])
    with pytest.raises(SystemExit) as ended:
        cli.main(verify, usage)
    assert ended.value.code == 0
    assert "env=mpe_spread n_agents=6" in capsys.readouterr().out
