"""`unroll`: the implementation of unrolls by device, and a training with each of them."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qllm_jax import config
from qllm_jax.commands import train
from qllm_jax.errors import UserError
from qllm_jax.program import devices, experiment
from qllm_jax.scaling import memory_plan

TINY = (
    "env=matrix_climbing algo=matched_vdn algo.hidden_dim=4 algo.n_envs=2 algo.batch_episodes=2 algo.buffer_episodes=4 "
    "algo.lr=0.01 seeds=2 devices=1"
)


def device(platform: str, version: str, capability: str = "") -> Any:
    client = SimpleNamespace(platform_version=version)
    return SimpleNamespace(platform=platform, client=client, compute_capability=capability, device_kind=platform)


H100, V100 = device("gpu", "PJRT C API\ncuda 12090", "9.0"), device("gpu", "PJRT C API\ncuda 12090", "7.0")
AMD, TPU, CPU = device("gpu", "PJRT C API\nrocm 60300", "gfx942"), device("tpu", "TPU v5"), device("cpu", "cpu")


def test_auto_is_kernels_on_nvidia_gpus_from_ampere_on_and_for_networks_that_fit():
    auto = lambda on, hidden_dim=64: devices.unroll_by("auto", hidden_dim, on)
    assert [auto(on) for on in (H100, V100, AMD, TPU, CPU)] == ["pallas", "scan", "scan", "scan", "scan"]
    assert [auto(H100, hidden_dim) for hidden_dim in (128, 129)] == ["pallas", "scan"]


def test_an_implementation_can_be_asked_for():
    assert [devices.unroll_by("scan", 64, on) for on in (H100, CPU)] == ["scan", "scan"]
    assert [devices.unroll_by("pallas", 64, on) for on in (H100, CPU)] == ["pallas", "pallas"]


@pytest.mark.parametrize(
    ("on", "hidden_dim", "message"),
    [
        (AMD, 64, "unroll=pallas needs an NVIDIA GPU, not .*: set unroll=auto or unroll=scan"),
        (TPU, 64, "unroll=pallas needs an NVIDIA GPU"),
        (V100, 64, "unroll=pallas needs an NVIDIA GPU of compute capability 8 or more, not 7.0: set unroll=auto"),
        (H100, 256, "unroll=pallas takes algo.hidden_dim up to 128, not 256"),
    ],
)
def test_kernels_are_refused_where_they_cannot_run(on: Any, hidden_dim: int, message: str):
    with pytest.raises(UserError, match=message):
        devices.unroll_by("pallas", hidden_dim, on)


def test_a_run_is_continued_with_another_implementation(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(train.folder, "load", lambda path: (Path(path), config.load([*TINY.split(), "unroll=pallas"])))
    given = ["resume=run", "unroll=scan"]
    found = train.recorded(config.load(given), given)[1]
    assert (found.unroll, found.devices, found.algo.hidden_dim) == ("scan", 1, 4)


@pytest.mark.thorough
def test_a_training_with_kernels_is_one_with_a_scan_up_to_rounding():
    built = {by: experiment.build(config.load([*TINY.split(), f"unroll={by}"])) for by in ("pallas", "scan")}
    clock, fresh = experiment.init(built["scan"])

    def trained(by: str) -> Any:
        program, runs = built[by].program, jax.tree.map(jnp.copy, fresh)  # which the program overwrites
        _, runs, metrics = program.chunk(clock, runs, built[by].hp, jnp.asarray(4))
        return runs.learner.params, runs.learner.opt_state, metrics

    assert memory_plan.make(built["pallas"]).total > 0
    for got, expected in zip(*map(jax.tree.leaves, (trained("pallas"), trained("scan"))), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)
