"""Settings and fixtures of all tests. An implicit broadcast between ranks is an error, as it hides a missing axis."""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

from qllm_jax import compile_cache, user_cache
from qllm_jax.tfcaf.sandbox.process import QUICK_FLAGS

# In this process and those that it starts: programs compile in a third of the time. XLA reads the flags before its
# first compilation.
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {QUICK_FLAGS}"
gc.set_threshold(200_000, 50, 50)  # tracing makes many objects and few cycles: collecting seldom saves a tenth
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_num_cpu_devices", 1)  # whatever the machine; what needs several has a process of its own
# Not in the tests' own process, but with `kept_programs`: hardly any test compiles a program that another has compiled.
jax.config.update("jax_enable_compilation_cache", False)

TINY_RUN = (
    "n_agents=3 env.horizon=10 seeds=2 total_steps=400 log_interval=200 eval_interval=200 eval_episodes=4 "
    "final_episodes=16 algo.n_envs=4 algo.batch_episodes=4 algo.buffer_episodes=8 algo.hidden_dim=8"
)
CACHE_OPTIONS = (
    "jax_enable_compilation_cache", "jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs",
)  # fmt: skip
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
    """Compile with all optimizations (QUICK_FLAGS stay), for a test of the programs that XLA makes."""
    with _compiling(quick=False):
        yield


@contextmanager
def _keeping_programs() -> Iterator[None]:
    before = {option: compile_cache.setting(option) for option in CACHE_OPTIONS}
    jax.config.update("jax_enable_compilation_cache", True)
    compilation_cache.reset_cache()  # JAX asks once whether there is a cache
    compile_cache.enable()
    yield
    for option, value in before.items():
        jax.config.update(option, value)
    compilation_cache.reset_cache()


@pytest.fixture(scope="module")
def kept_programs(_cache_of_the_session: None) -> Iterator[None]:
    """Keep compiled programs in the session's folder in this process too, for tests that train alike several times."""
    with _keeping_programs():
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
def tiny_run(tmp_path_factory: pytest.TempPathFactory, _cache_of_the_session: None) -> Path:
    """The folder of a finished run of QLLM: spread, 3 agents, 10 steps, 2 seeds. Copy it before changing it."""
    from qllm_jax.train import train

    path = tmp_path_factory.mktemp("runs") / "tiny"
    with _keeping_programs():  # for the other workers
        assert train([*TINY_RUN.split(), f"run_dir={path}"]) == 0
    return path
