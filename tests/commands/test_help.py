"""Help texts without jax, and compiled programs that a second process finds in the cache."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest

from qllm_jax import commands, compile_cache, user_cache
from qllm_jax.tfcaf import gates

PACKAGE = Path(commands.__file__).parents[1]
COMMANDS = sorted(f"qllm_jax.{file.stem}" for file in PACKAGE.glob("*.py") if "cli.main(" in file.read_text())
MODULES = [*COMMANDS, "qllm_envs.selfplay.train", "qllm_envs.selfplay.evaluate"]
HEAVY = "jax", "numpy", "hydra", "orbax", "pydantic"
HELPED = f"""
import contextlib, io, json, runpy, sys
said = {{}}
for name in sys.argv[1:]:
    for flag in ("-h", "--help"):
        sys.argv, printed = [name, flag], io.StringIO()
        try:
            with contextlib.redirect_stdout(printed):
                runpy.run_module(name, run_name="__main__", alter_sys=True)
        except SystemExit as ended:
            assert not ended.code, ended.code
        said[f"{{name}} {{flag}}"] = printed.getvalue(), sorted(set({HEAVY}) & set(sys.modules))
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def helped() -> dict[str, tuple[str, list[str]]]:
    """Text and imported heavy modules for each command and flag, from one process."""
    done = subprocess.run([sys.executable, "-c", HELPED, *MODULES], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("flag", ["-h", "--help"])
@pytest.mark.parametrize("module", MODULES)
def test_help_imports_nothing_that_takes_time(helped: dict[str, tuple[str, list[str]]], module: str, flag: str):
    printed, imported = helped[f"{module} {flag}"]
    assert f"python -m {module}" in printed
    assert imported == []


COMPILES = """
import jax
from qllm_jax import compile_cache

compile_cache.MIN_COMPILE_S = 0.0
compile_cache.enable()
events = []
jax.monitoring.register_event_listener(lambda name, **_: events.append(name.rpartition("/")[2]))
jax.jit(lambda x: x * 3 + 1)(2.0)
print(*(name for name in ("cache_misses", "cache_hits") if name in events))
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache, for programs of this process as well; its settings are put back."""
    names = ("jax_compilation_cache_dir", "jax_enable_compilation_cache", "jax_persistent_cache_min_compile_time_secs")
    before = {name: compile_cache.setting(name) for name in names}
    jax.config.update("jax_enable_compilation_cache", True)
    monkeypatch.setenv(user_cache.VARIABLE, str(tmp_path / "cache"))
    yield tmp_path / "cache"
    for name, value in before.items():
        jax.config.update(name, value)


def test_a_second_process_finds_what_the_first_compiled(cache: Path):
    runs = [subprocess.run([sys.executable, "-c", COMPILES], capture_output=True, text=True) for _ in range(2)]
    assert [run.stdout.split() for run in runs] == [["cache_misses"], ["cache_hits"]], runs
    (folder,) = (cache / "xla").iterdir()
    assert folder.name == compile_cache.machine()
    assert [path.stat().st_mode & 0o777 for path in (cache, cache / "xla", folder)] == [0o700] * 3
    (file,) = folder.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("damage", ["a bit", "random", "cut", "folder"])
def test_a_damaged_program_is_compiled_again(damage: str, tmp_path: Path, capsys: pytest.CaptureFixture):
    cache = compile_cache.CheckedFolder(str(tmp_path))
    cache.put("key", b"machine code" * 9)
    assert cache.get("key") == b"machine code" * 9
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    changed = {"a bit": whole[:-1] + bytes([whole[-1] ^ 1]), "random": bytes(range(256)), "cut": whole[:20]}
    if damage == "folder":
        file.unlink()
        file.mkdir()
    else:
        file.write_bytes(changed[damage])
    assert cache.get("key") is None
    assert (f"{file} is damaged, and is compiled again" in capsys.readouterr().err) == (damage != "folder")
    cache.put("key", b"new")  # no error where a folder stands
    assert cache.get("key") == (None if damage == "folder" else b"new")
    assert list(tmp_path.iterdir()) == [file]
    assert cache.get("another") is None


def test_a_folder_of_programs_that_cannot_be_written_is_no_error(tmp_path: Path):
    compile_cache.CheckedFolder(str(tmp_path / "gone")).put("key", b"program")
    assert compile_cache.CheckedFolder(str(tmp_path / "gone")).get("key") is None


def test_no_folder_is_a_warning_and_no_error(cache: Path, capsys: pytest.CaptureFixture):
    cache.write_text("")
    compile_cache.enable()
    cache.unlink()
    (cache / "xla").mkdir(parents=True)
    (cache / "xla").chmod(0o777)
    compile_cache.enable()
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("warning: compiled programs are not kept for the next start: ")
    assert f"{cache / 'xla'} is not yours alone" in second
    assert compile_cache.setting("jax_compilation_cache_dir") is None


def test_the_variables_of_jax_come_first(cache: Path):
    jax.config.update("jax_compilation_cache_dir", "elsewhere")
    compile_cache.enable()
    assert compile_cache.setting("jax_compilation_cache_dir") == "elsewhere"
    jax.config.update("jax_compilation_cache_dir", None)
    jax.config.update("jax_enable_compilation_cache", False)
    compile_cache.enable()
    assert compile_cache.setting("jax_compilation_cache_dir") is None
    assert not cache.exists()


def test_a_folder_of_jax_s_that_cannot_be_written_is_a_warning(cache: Path, capsys: pytest.CaptureFixture):
    cache.write_text("")
    jax.config.update("jax_compilation_cache_dir", str(cache / "programs"))
    compile_cache.enable()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(
        f"{cache / 'programs'} cannot be written; JAX_COMPILATION_CACHE_DIR=FOLDER names another folder"
    )
    assert not compile_cache.setting("jax_enable_compilation_cache")
    jax.config.update("jax_enable_compilation_cache", True)
    jax.config.update("jax_compilation_cache_dir", "gs://bucket/programs")
    compile_cache.enable()
    assert compile_cache.setting("jax_enable_compilation_cache")


def test_old_and_empty_programs_are_removed(tmp_path: Path):
    for name, text in (("old-cache", "x"), ("new-cache", "x"), ("empty-cache", ""), ("other", "")):
        (tmp_path / name).write_text(text)
    os.utime(tmp_path / "old-cache", (0, 0))
    compile_cache.prune(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"new-cache", "other"}


def test_a_process_that_tries_a_candidate_has_no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "programs"))
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    source = "def credit(state):\n    return 1.0 + state['agent_pos'][:, 0] ** 2, 0.0\n"
    assert gates.verify(source, "mine.py", {"name": "mpe_spread", "n_agents": 3}).ok
    assert not (tmp_path / "programs").exists()
