"""Variables of the environment with which JAX cannot start are one sentence. Those that change nothing: test_damage."""

import os
import subprocess
import sys

import pytest


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("JAX_DEFAULT_MATMUL_PRECISION", "odd", "error: the environment sets JAX to what it does not know: Inv"),
        ("JAX_PLATFORMS", "nosuch", "error: JAX finds no device with JAX_PLATFORMS='nosuch': Unable to initialize"),
        ("JAX_PLATFORMS", "cuda", "error: JAX finds no device with JAX_PLATFORMS='cuda'"),
    ],
)
def test_a_jax_that_cannot_start_is_one_sentence(variable: str, value: str, sentence: str, tmp_path):
    if value == "cuda" and os.path.exists("/dev/nvidia0"):
        pytest.skip("there is a GPU")
    done = subprocess.run(
        [sys.executable, "-m", "qllm_jax.train", "algo=matched_vdn", f"run_dir={tmp_path / 'r'}"],
        env={**os.environ, variable: value},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(sentence)
    assert not (tmp_path / "r").exists()


@pytest.mark.thorough
@pytest.mark.parametrize("command", ["train", "verify", "evaluate", "params"])
def test_the_device_is_looked_for_before_all_else(command: str, tmp_path):
    """A credit function that is verified, a run that is read: none is blamed for the device."""
    arguments = {"train": [f"run_dir={tmp_path / 'r'}"], "verify": ["no.py"], "evaluate": ["no_run"], "params": []}
    done = subprocess.run(
        [sys.executable, "-m", f"qllm_jax.{command}", *arguments[command]],
        env={**os.environ, "JAX_PLATFORMS": "nosuch"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: JAX finds no device with JAX_PLATFORMS='nosuch': ")
    assert list(tmp_path.iterdir()) == []


def test_deprecations_of_libraries_end_no_command():
    code = "from qllm_jax import process; process.prepare(); import distrax, flax, orbax.checkpoint; print('imported')"
    run = [sys.executable, "-W", "error", "-c", code]
    assert subprocess.run(run, capture_output=True, text=True).stdout == "imported\n"
