"""The README stays true: its commands run, in its order, on tiny budgets; its install lines are those of CI."""

import importlib
import re
import shlex
from pathlib import Path

import pytest

from qllm_jax import config
from qllm_jax.commands.generate import ExitCode

ROOT = Path(__file__).resolve().parent.parent
TINY = [
    "total_steps=400", "log_interval=200", "eval_interval=200", "eval_episodes=2", "algo.hidden_dim=4", "seeds=2",
    "algo.batch_episodes=2", "algo.buffer_episodes=8", "algo.n_envs=2", "final_episodes=4", "env.horizon=4",
]  # fmt: skip


def bash_blocks() -> str:
    return "\n".join(re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL))


def commands() -> list[tuple[str, list[str]]]:
    """(module, arguments) of every `python -m qllm_jax.X ...` in the README's bash blocks."""
    return [
        (name, shlex.split(rest)) for name, rest in re.findall(r"python -m qllm_jax\.(\w+)([^&;\n]*)", bash_blocks())
    ]


def test_the_commands_run_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    plain = [c for c in commands() if not re.search(r"[$*]", " ".join(c[1]))]
    assert {name for name, _ in plain} == {"train", "evaluate", "render", "report", "generate", "verify", "params"}
    for name, arguments in plain:
        if name == "generate" and "llm=manual" not in arguments:
            continue  # asks a server, or repeats what one said: tests/test_generate.py
        resumes = any(a.startswith("resume=") for a in arguments)
        tiny = TINY if name == "train" and not resumes else []
        run = getattr(importlib.import_module(f"qllm_jax.{name}"), name)
        # By hand, a generation ends with questions that wait for answers.
        expected = ExitCode.WAITING if name == "generate" else 0
        assert run([*arguments, *tiny]) == expected, (name, arguments)
    assert (tmp_path / "curves.png").is_file()
    assert (tmp_path / "runs" / "qmix" / "episode.gif").is_file()


def test_the_commands_of_the_results_compose():
    loops = [arguments for name, arguments in commands() if name == "train" and "$" in " ".join(arguments)]
    assert loops
    for arguments in loops:
        for mixer in ("qllm", "qmix", "vdn"):
            values = {"${n}": "3", "$n": "3", "$a": mixer}
            load = [re.sub(r"\$\{n\}|\$n|\$a", lambda m: values[m.group()], a) for a in arguments]  # noqa: B023
            assert config.load(load).algo.name == f"matched_{mixer}"


def test_ci_installs_and_tests_as_the_readme_says():
    script = (ROOT / ".ci" / "run").read_text()
    assert 'pip install -e ".[dev]" && python -m pytest' in bash_blocks()
    assert '-e ".[dev]"' in script
    assert "python -m pytest" in script


def test_files_and_pictures_that_the_readme_shows_exist():
    links = re.findall(r"\]\((?!http)([^)#]+)\)", (ROOT / "README.md").read_text())
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
