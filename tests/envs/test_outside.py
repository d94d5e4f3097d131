"""Parts from outside of the package are found by reference or entry point; what is wrong with one is named."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import qllm_envs
from qllm_envs import outside, parts, promises, registry
from qllm_jax import config

MEETING = Path(__file__).parents[2] / "examples" / "meeting"
GAME = MEETING / "meeting" / "game.py"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of a package `ours` on the path: game.py imports rules.py, and other.py is on its own."""
    folder = tmp_path / "ours"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "game.py").write_text(GAME.read_text() + "\n\ndef later():\n    from . import rules\n")
    (folder / "rules.py").write_text("import json\n")
    (folder / "other.py").write_text("")
    (folder / "broken.py").write_text("import json\n\nx = undefined\n")
    (folder / "imports.py").write_text("import no_such_package\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == "ours"]:
        del sys.modules[name]


def test_an_environment_whose_code_fails_is_named_with_its_line(tmp_path: Path):
    file = tmp_path / "guess.py"
    file.write_text("def make(*, size: int = 3):\n    return size + 1\n")
    with pytest.raises(ValueError, match=r"guess.py:make' cannot be made: .*guess.py, line 2: TypeError: "):
        registry.make(f"{file}:make", size="abc")


def test_a_reference_is_a_module_or_a_file_with_a_function():
    assert outside.parse("a.b:make") == ("a.b", "make")
    assert outside.parse("some folder/b.py:build") == ("some folder/b.py", "build")
    assert outside.parse("b.py") == ("b.py", "make")
    for name in ("mpe_spread", "a.b", "a b:make", "a:", ":make", "a:1", "duty:shuffled x"):
        assert outside.parse(name) is None, name


def test_names_for_plots_and_paths_that_mean_the_same_everywhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    assert outside.absolute("x/game.py:make") == f"{tmp_path}/x/game.py:make"
    assert outside.absolute("a.b:make") == "a.b:make"
    assert [outside.label(name) for name in ("a.b:make", "x/game.py", "a.b:other", "duty")] == [
        "a.b",
        "game",
        "a.b_other",
        "duty",
    ]


@pytest.mark.parametrize("how", ["module", "file"])
def test_an_environment_from_outside_is_made_with_its_options(how: str, package: Path):
    name = "ours.game:make" if how == "module" else f"{package / 'game.py'}:make"
    env = qllm_envs.make(name, n_agents=3)
    assert (env.spec.n_agents, env.spec.made_by, env.spec.options) == (3, name, {"n_agents": 3})
    assert qllm_envs.defaults(name) == {"n_agents": 2, "cells": 7, "horizon": 12}
    with pytest.raises(ValueError, match=r"has no option 'agents': did you mean 'n_agents'\? choose from cells"):
        qllm_envs.make(name, agents=3)


def test_the_example_keeps_the_contract():
    assert not [each for each in promises.promises(registry.make(f"{GAME}:make", cells=4)) if each.problem]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_package.game:make", "there is no module 'no_package' in "),
        ("ours.nothing:make", "there is no module 'ours.nothing' in "),
        ("ours.game:build", "ours.game has no function 'build'; functions there: Rules, State, later, make"),
        ("ours.broken:make", "broken.py, line 3: NameError: name 'undefined' is not defined"),
        ("ours.imports:make", "imports.py, line 1: ModuleNotFoundError: No module named 'no_such_package'"),
        ("gone.py:make", "there is no file 'gone.py'"),
        ("ours.rules:json", "has no function 'json'"),
        ("ours.game:partial", "is no function of Python"),
        ("ours.game:Rules", "needs the option 'n_agents', which has no default"),
    ],
)
@pytest.mark.usefixtures("package")
def test_what_is_wrong_with_a_reference_is_said(name: str, message: str):
    with pytest.raises(ValueError, match=rf"^environment '{re.escape(name)}'.*{re.escape(message)}"):
        qllm_envs.make(name)


def test_the_record_and_its_shapes_are_checked_before_anything_is_compiled(tmp_path: Path):
    (tmp_path / "no_env.py").write_text("def make():\n    return 3\n")
    with pytest.raises(ValueError, match=r"must return a qllm_envs\.Env, got a int"):
        qllm_envs.make(str(tmp_path / "no_env.py"))
    game = tmp_path / "game.py"
    game.write_text(GAME.read_text().replace("rules.cells - 1.0\n", "rules.cells - 1.0\n    assert scale > 99\n"))
    with pytest.raises(ValueError, match="meeting: view: expected a function that JAX can trace, got AssertionError"):
        qllm_envs.make(f"{game}:make")
    game.write_text(GAME.read_text().replace("return Step(", "return tuple("))
    with pytest.raises(ValueError, match="meeting: step: expected a"):
        qllm_envs.make(f"{game}:make")


def test_all_broken_parts_of_the_contract_are_listed_with_what_to_do(tmp_path: Path):
    source = GAME.read_text().replace("(rules.horizon,)", "").replace("(-1.0, -1.0,", "(9.0, -1.0,")
    (tmp_path / "game.py").write_text(
        source.replace("t_tp1 >= rules.horizon", "t_tp1 > 3").replace("0.0, last", "0.5, last")
    )
    found = list(promises.promises(registry.untested(f"{tmp_path / 'game.py'}:make")))
    assert [each.title for each in found if each.problem] == ["scene", "views", "end of the episode"]
    assert all(each.hint for each in found)


def test_hashes_are_of_the_files_that_a_part_imports_from_its_package(package: Path):
    env = qllm_envs.make("ours.game:make")
    found = outside.origin(outside.Reference("ours.game", "make"))
    assert set(found.sha256) == {"ours", "ours.game", "ours.rules"}
    before = qllm_envs.source_digest(env.spec.made_by)
    (package / "other.py").write_text("x = 1\n")
    assert qllm_envs.source_digest(env.spec.made_by) == before
    (package / "rules.py").write_text("import math\n")
    assert qllm_envs.source_digest(env.spec.made_by) != before
    assert outside.changed(found.sha256, outside.origin(outside.Reference("ours.game", "make")).sha256) == [
        "ours.rules"
    ]
    assert qllm_envs.source_digest("mpe_spread") == ""


def test_an_installed_package_registers_parts_by_entry_points(package: Path):
    installed = package.parent / "ours-1.5.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: ours\nVersion: 1.5\n")
    names = "crossing = ours.game:make\nduty = ours.game:make\n"
    (installed / "entry_points.txt").write_text(f"[{registry.KIND.entry_points}]\n{names}")
    outside._entry_points.cache_clear()
    try:
        assert {"crossing", "mpe_spread"} <= set(qllm_envs.names())
        assert qllm_envs.make("crossing", n_agents=3).spec.task == "meeting_n3_7cells"
        assert qllm_envs.make("duty").spec.name == "duty"  # a name of the package stays its own
        found = parts.reference(registry.KIND, "crossing")
        assert found is not None
        assert found == ("ours.game", "make")
        origin = outside.origin(found, registry.KIND.entry_points)
        assert (origin.package, origin.version, set(origin.sha256)) == (
            "ours",
            "1.5",
            {"ours", "ours.game", "ours.rules"},
        )
        assert config.load(["env=crossing", "env.cells=3"]).env["name"] == "crossing"
    finally:
        outside._entry_points.cache_clear()


def test_a_file_that_changes_is_run_again(tmp_path: Path):
    game = tmp_path / "game.py"
    game.write_text(GAME.read_text())
    assert qllm_envs.make(str(game)).spec.horizon == 12
    game.write_text(GAME.read_text().replace("horizon: int = 12", "horizon: int = 9"))
    assert qllm_envs.make(str(game)).spec.horizon == 9
