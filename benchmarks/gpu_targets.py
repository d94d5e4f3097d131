"""GPUs that XLA compiles for where there is none, from their descriptions.

The numbers are those of XLA's own files (openxla/xla, xla/backends/gpu/target_config/specs). XLA needs the package with
its compiler for GPUs, but neither a GPU nor a driver: nothing is ever run.
"""

import importlib.util
import os
import re
from typing import Any

import common
import jax
from jax.experimental import topologies
from jax.sharding import AbstractDevice, AbstractMesh, SingleDeviceSharding

from qllm_jax.errors import UserError

EXTRA = 'pip install "qllm-jax[cuda12]" installs it, 3 GB; it needs neither a GPU nor a driver'
PLUGINS = ("jax_cuda12_plugin", "jax_cuda13_plugin")
COMMON = """gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32 threads_per_core_limit: 2048
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  registers_per_core_limit: 65536 registers_per_block_limit: 65536 shared_memory_per_block: 49152"""
TARGETS = {
    "h100": """
  shared_memory_per_core: 233472 shared_memory_per_block_optin: 232448 core_count: 132 fpus_per_core: 128
  memory_bandwidth: 3352320000000 l2_cache_size: 52428800 clock_rate_ghz: 1.98 device_memory_size: 84942979072
  cuda_compute_capability { major: 9 }
}
platform_name: "CUDA" dnn_version_info { major: 9 minor: 8 } device_description_str: "NVIDIA H100 80GB HBM3" """,
    "a100": """
  shared_memory_per_core: 167936 shared_memory_per_block_optin: 166912 core_count: 108 fpus_per_core: 64
  memory_bandwidth: 2039040000000 l2_cache_size: 41943040 clock_rate_ghz: 1.41 device_memory_size: 85100068864
  cuda_compute_capability { major: 8 }
}
platform_name: "CUDA" dnn_version_info { major: 9 minor: 8 } device_description_str: "NVIDIA A100-SXM4-80GB" """,
}


def check() -> None:
    """Raise UserError if XLA's compiler for GPUs is not installed."""
    if not any(importlib.util.find_spec(name) for name in PLUGINS):
        raise UserError(f"XLA's compiler for GPUs is not installed: {EXTRA}")


def prepare() -> None:
    """Let processes started from here on compile for a GPU, and this one use its CPU."""
    jax.config.update("jax_platforms", "cpu")
    os.environ["JAX_PLATFORMS"] = "cpu,cuda"
    os.environ["JAX_SKIP_CUDA_CONSTRAINTS_CHECK"] = "1"  # there may be no driver to ask for its version


def name(target: str) -> str:
    """Return the name that the maker gives a target."""
    return re.findall(r'device_description_str: "(.*)"', TARGETS[target])[0]


def compiled(target: str, function: Any, *inputs: Any) -> tuple[Any, float]:
    """Return the executable of a jitted function for one GPU, and its compile time in seconds.

    `inputs` are arrays or shapes. Call it in a process that started after `prepare`.
    """
    config = COMMON + TARGETS[target]
    topology = topologies.get_topology_desc("1x1x1", platform="cuda", target_config=config, topology="1x1x1")
    sharding = SingleDeviceSharding(topology.devices[0])
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), inputs)
    # Pallas of jax 0.11 asks the mesh for the GPU that a kernel is compiled for.
    device = AbstractDevice(device_kind=name(target), num_cores=None, platform="gpu")
    with jax.sharding.use_abstract_mesh(AbstractMesh((), (), abstract_device=device)):
        return common.compiled(function, *shapes)
