"""Settings and fixtures of all tests. An implicit broadcast between ranks is an error, as it hides a missing axis."""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jax
import pytest

from qllm_jax import user_cache

# One piece of code for each program, and XLA's older code for fusions where there still is (jax 0.11 ends at a flag
# that it does not know), in this process and those that it starts: that compiles in a third of the time. XLA reads the
# flags before its first compilation.
FLAGS = "--xla_cpu_parallel_codegen_split_count=1"
if jax.__version_info__ < (0, 11):
    FLAGS += " --xla_cpu_use_fusion_emitters=false"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {FLAGS}"
gc.set_threshold(200_000, 50, 50)  # tracing makes many objects and few cycles: collecting seldom saves a tenth
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_num_cpu_devices", 1)  # whatever the machine; what needs several has a process of its own
# Not in the tests' own process: hardly any test compiles a program that another has compiled.
jax.config.update("jax_enable_compilation_cache", False)

TINY_RUN = (
    "n_agents=3 env.horizon=10 seeds=2 total_steps=400 log_interval=200 eval_interval=200 eval_episodes=4 "
    "final_episodes=16 algo.n_envs=4 algo.batch_episodes=4 algo.buffer_episodes=8 algo.hidden_dim=8"
)
QUICK = "jax_disable_most_optimizations"  # a third of the time of a compilation, for programs that run once


@contextmanager
def _compiling(quick: bool) -> Iterator[None]:
    """Compile with few optimizations, or with all, in this process and in those that it starts."""
    before, variable = jax.config.read(QUICK), os.environ.get(QUICK.upper())
    jax.config.update(QUICK, quick)
    os.environ[QUICK.upper()] = str(int(quick))
    try:
        yield
    finally:
        jax.config.update(QUICK, before)
        os.environ.pop(QUICK.upper())
        if variable is not None:
            os.environ[QUICK.upper()] = variable


@pytest.fixture(scope="session", autouse=True)
def _quick_compile() -> Iterator[None]:
    """Compile with few optimizations in all tests but those that use `full_compile`."""
    with _compiling(quick=True):
        yield


@pytest.fixture
def full_compile() -> Iterator[None]:
    """Compile with all optimizations (FLAGS stay), for a test of the programs that XLA makes."""
    with _compiling(quick=False):
        yield


@pytest.fixture(scope="session", autouse=True)
def _cache_of_the_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep passes of the gates, and programs that commands compile, in a folder of the session, for all its workers."""
    before, base = os.environ.get(user_cache.VARIABLE), tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cache"
    folder.mkdir(mode=0o700, exist_ok=True)
    os.environ[user_cache.VARIABLE] = str(folder)
    yield
    if before is None:
        del os.environ[user_cache.VARIABLE]
    else:
        os.environ[user_cache.VARIABLE] = before


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run of QLLM: spread, 3 agents, 10 steps, 2 seeds. Copy it before changing it."""
    from qllm_jax.train import train

    path = tmp_path_factory.mktemp("runs") / "tiny"
    assert train([*TINY_RUN.split(), f"run_dir={path}"]) == 0
    return path
