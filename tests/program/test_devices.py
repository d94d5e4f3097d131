"""The run axis over devices: sharing it out changes no run, compiles no collective, and fits every checkpoint."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qllm_jax import config
from qllm_jax.errors import UserError
from qllm_jax.program import devices, experiment
from qllm_jax.program.devices import Pool


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The JSON of `eight_devices.py`, from a process with eight devices."""
    script = Path(__file__).with_name("eight_devices.py")
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
    forced = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path_factory.mktemp("eight"))], capture_output=True, text=True, env=forced
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.thorough
def test_no_program_holds_a_collective(facts: dict[str, Any]):
    assert facts["collectives"] == {name: [] for name in ("init", "warmup", "chunk", "evaluate", "play")}
    assert facts["collectives_of_a_sum"]  # the search would find one


@pytest.mark.thorough
def test_runs_on_eight_devices_are_those_on_one(facts: dict[str, Any]):
    """Up to rounding: a device multiplies the matrices of 1 run, not of 8, and adds in another order."""
    assert facts["devices"] == [8]
    assert facts["state"] < 1e-5
    assert facts["measured"] < 1e-5


@pytest.mark.thorough
def test_a_checkpoint_of_eight_devices_is_the_same_on_fewer(facts: dict[str, Any]):
    rows = {8: 8, 4: 8, 3: 9, 1: 8}  # 8 runs on 3 devices are 3 on each, with a spare one
    assert facts["restored"] == {str(n): {"same": True, "devices": n, "rows": rows[n]} for n in (8, 4, 3, 1)}


@pytest.mark.thorough
def test_a_checkpoint_with_a_spare_run_is_the_same_without(facts: dict[str, Any]):
    rows = {8: 8, 3: 9, 1: 8}
    assert facts["of_three"] == {str(n): {"same": True, "devices": n, "rows": rows[n]} for n in (8, 3, 1)}


def test_what_one_device_may_be_too_small_for_is_restored_to_the_host():
    first = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), 4))
    tree = {"replay": jax.ShapeDtypeStruct((4, 2), np.dtype("int32"), sharding=first), "key": keys}
    found = devices.on_host(tree, 6)
    assert isinstance(found["replay"], np.ndarray)
    assert (found["replay"].shape, found["replay"].dtype) == ((6, 2), np.int32)
    assert (found["key"].shape, found["key"].sharding) == ((6,), first)


@pytest.mark.thorough
def test_a_device_needs_its_share_of_the_memory(facts: dict[str, Any]):
    many, one = facts["memory"]
    assert many["replay"] == one["replay"] / 8
    assert sum(many.values()) < sum(one.values()) / 4


@pytest.mark.parametrize(
    ("n_runs", "pool", "used", "sentence"),
    [
        (8, (1, 1), 1, ""),
        (1, (8, 8), 1, ""),
        (8, (8, 8), 8, "8 runs on 8 devices, 1 on each"),
        (20, (4, 4), 4, "20 runs on 4 devices, 5 on each"),
        (20, (16, 16), 10, "20 runs on 10 devices, 2 on each"),
        (3, (8, 8), 3, "3 runs on 3 devices, 1 on each"),
        (5, (4, 4), 3, "5 runs on 3 devices, 2 on each, 1 of them spare: 6 runs take no longer"),
        (5, (8, 2), 5, "5 runs on 5 devices, 1 on each"),  # two cores
        (6, (8, 2), 2, "6 runs on 2 devices, 3 on each"),
        (9, (8, 2), 3, "9 runs on 3 devices, 3 on each"),
        (11, (8, 2), 2, "11 runs on 2 devices, 6 on each, 1 of them spare: 12 runs take no longer"),
    ],
)
def test_each_device_has_equally_many_runs(n_runs: int, pool: tuple[int, int], used: int, sentence: str):
    assert devices.n_used(n_runs, Pool(*pool)) == used
    assert devices.describe(n_runs, Pool(*pool)) == sentence


@given(st.integers(1, 200), st.integers(1, 64), st.integers(1, 4))
def test_spare_runs_change_nothing_of_who_trains(n_runs: int, workers: int, crowd: int):
    """The program sees runs and spare runs alike: it must choose the same devices."""
    pool = Pool(workers * crowd, workers)
    n, rows = devices.n_used(n_runs, pool), n_runs + devices.n_spare(n_runs, pool)
    assert devices.n_used(rows, pool) == n <= pool.devices
    assert rows == n * devices.runs_per_device(n_runs, pool) < n_runs + n


@pytest.mark.parametrize(("platform", "workers"), [("cpu", 2), ("gpu", 8)])
def test_devices_of_a_cpu_work_at_once_as_many_as_there_are_cores(
    platform: str, workers: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(devices.jax, "local_device_count", lambda: 8)
    monkeypatch.setattr(devices.jax, "local_devices", lambda: [SimpleNamespace(platform=platform)])
    monkeypatch.setattr(devices, "cores", lambda: 2)
    assert devices.make_pool("auto") == Pool(8, workers)
    assert devices.make_pool(4) == Pool(4, 4)


@pytest.mark.parametrize(
    ("cores", "chosen", "flags", "offered"),
    [
        (2, -1, "", [8]),
        (12, -1, "", [32]),
        (64, -1, "", [64]),
        (2, 3, "", []),  # the user's own number
        (2, -1, "--xla_force_host_platform_device_count=3", []),
    ],
)
def test_cores_are_offered_as_devices(
    cores: int, chosen: int, flags: str, offered: list[int], monkeypatch: pytest.MonkeyPatch
):
    given = []
    settings = SimpleNamespace(jax_num_cpu_devices=chosen, update=lambda key, value: given.append((key, value)))
    monkeypatch.setattr(devices, "jax", SimpleNamespace(config=settings))
    monkeypatch.setattr(devices, "cores", lambda: cores)
    monkeypatch.setenv("XLA_FLAGS", flags)
    devices.use_cores()
    assert given == [("jax_num_cpu_devices", number) for number in offered]


@pytest.mark.parametrize("wanted", ["0", "many", "1000"])
def test_devices_that_there_are_not_are_refused(wanted: str):
    with pytest.raises(UserError, match=r"^devices must be auto or "):
        experiment.build(config.load([f"devices={wanted}"]))
    assert devices.make_pool("auto").devices == jax.local_device_count()
