"""What a command does before it trains: help without jax, and compiled programs that a second start finds again."""

import subprocess
import sys
from pathlib import Path

import pytest

from qllm_jax import commands

COMMANDS = sorted(f"qllm_jax.{file.stem}" for file in Path(commands.__file__).parent.glob("[!_]*.py"))
HEAVY = "jax", "numpy", "hydra", "orbax", "pydantic"
HELPED = f"""
import runpy, sys
name = sys.argv.pop(1)
try:
    runpy.run_module(name, run_name="__main__", alter_sys=True)
except SystemExit as ended:
    assert not ended.code, ended.code
print("imported:", *sorted(set({HEAVY}) & set(sys.modules)))
"""


@pytest.mark.parametrize("flag", ["-h", "--help"])
@pytest.mark.parametrize("module", [*COMMANDS, "qllm_envs.opponents.train", "qllm_envs.opponents.evaluate"])
def test_help_imports_nothing_that_takes_time(module: str, flag: str):
    done = subprocess.run([sys.executable, "-c", HELPED, module, flag], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"python -m {module}" in done.stdout
    assert done.stdout.splitlines()[-1] == "imported:"
