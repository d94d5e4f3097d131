"""An exported policy acts as its run does, in a process that imports jax alone."""

import json
import struct
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qllm_jax.commands import export as command
from qllm_jax.commands.export import export
from qllm_jax.errors import UserError
from qllm_jax.run import load, policies, safetensors

LOADS = """
import sys
import jax, jax.export, jax.numpy as jnp, numpy as np
given = np.load("inputs.npz")
policy = jax.export.deserialize(bytearray(open("policy.stablehlo", "rb").read()))
state = jnp.zeros(given["state_shape"])
last_action = jnp.full(state.shape[:2], -1, jnp.int32)
actions = []
for obs in given["obs"]:
    last_action, state = policy.call(obs, given["avail"], state, last_action)
    actions.append(np.asarray(last_action))
np.save("actions.npy", np.stack(actions))
assert not [name for name in sys.modules if name.startswith(("qllm", "flax"))]
"""


def test_an_exported_policy_acts_as_its_run(tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    pytest.importorskip("flatbuffers")
    out = tmp_path / "policy"
    assert export([str(tiny_run), "seed=1", f"out={out}"]) == 0
    assert {file.name for file in out.iterdir()} == {
        "policy.stablehlo",
        "policy.safetensors",
        "policy.json",
        "README.md",
    }
    policy = policies.policy_of(load.load_run(str(tiny_run)), 1)
    spec, teams, steps = policy.spec, 5, 4
    obs = np.random.default_rng(0).normal(size=(steps, teams, spec.n_agents, spec.obs_dim)).astype(np.float32)
    avail = np.random.default_rng(1).random((teams, spec.n_agents, spec.n_actions)) < 0.6
    avail[..., 0] = True
    hidden, expected = policy.initial_hidden(teams), []
    for each in obs:
        action, hidden = policy(jnp.asarray(each), hidden, jnp.asarray(avail))
        expected.append(action)
    np.savez(out / "inputs.npz", obs=obs, avail=avail, state_shape=policy.initial_hidden(teams).state.shape)
    subprocess.run([sys.executable, "-c", LOADS], cwd=out, check=True)
    np.testing.assert_array_equal(np.load(out / "actions.npy"), np.stack(expected))
    sizes = json.loads((out / "policy.json").read_text())
    assert (sizes["seed"], sizes["n_agents"], sizes["obs_dim"]) == (1, spec.n_agents, spec.obs_dim)
    with pytest.raises(UserError, match="exists already: choose another folder, or give overwrite=true"):
        export([str(tiny_run), f"out={out}"])
    with pytest.raises(UserError, match="is the folder of a run, which has files of the same names"):
        export([str(tiny_run), f"out={tiny_run}", "overwrite=true"])
    capsys.readouterr()


def test_safetensors_hold_the_parameters(tmp_path: Path):
    params = {"params": {"head": {"kernel": jnp.arange(6.0).reshape(2, 3)}, "bias": jnp.ones(3)}}
    data = safetensors.encode(command.named(params), {"task": "x"})
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    assert size % 8 == 0
    assert header.pop("__metadata__") == {"task": "x"}
    found = {}
    for name, entry in header.items():
        start, stop = entry["data_offsets"]
        found[name] = np.frombuffer(data[8 + size + start : 8 + size + stop], "<f4").reshape(entry["shape"])
    jax.tree.map(np.testing.assert_array_equal, found, command.named(params))
    assert set(found) == {"head.kernel", "bias"}
    (tmp_path / "x.safetensors").write_bytes(data)
    jax.tree.map(np.testing.assert_array_equal, safetensors.read(tmp_path / "x.safetensors"), found)
    theirs = pytest.importorskip("safetensors.numpy")
    jax.tree.map(np.testing.assert_array_equal, theirs.load(data), found)
    (tmp_path / "x.safetensors").write_bytes(data[:-4])
    with pytest.raises(UserError, match="is damaged: it holds no parameters"):
        safetensors.read(tmp_path / "x.safetensors")
