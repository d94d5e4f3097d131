"""L8: stored passes, and that training loads nothing without one."""

import ast
import os
import shutil
import sys
from pathlib import Path

import jax
import pytest
from hypothesis import given
from hypothesis import strategies as st

import qllm_envs
from qllm_jax import user_cache
from qllm_jax.tfcaf import TfcafError, gates, passes, ship
from qllm_jax.tfcaf.loading import source
from qllm_jax.tfcaf.sandbox import process
from qllm_jax.tfcaf.semantics import rollouts
from qllm_jax.tfcaf.verdict import OK, PROGRAM, Verdict, sha256
from qllm_jax.train import train

SPEC = qllm_envs.make("mpe_spread", n_agents=3).spec
GOOD = "def credit(state):\n    return 1.0 + state['agent_pos'][:, 0] ** 2, 0.0\n"
BAD = GOOD.replace("** 2", "")  # negative weights


def passed(source: str) -> Verdict:
    return Verdict(OK, "L8", "", None, "", sha256(source), {})


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(user_cache.VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache" / "verified"


@pytest.fixture
def no_process(monkeypatch: pytest.MonkeyPatch):
    """Verification fails the test: it would start a process."""
    monkeypatch.setattr(process, "run", lambda *arguments: pytest.fail("a process was started"))


def test_a_pass_is_for_one_source_one_environment_and_one_version(cache: Path, monkeypatch: pytest.MonkeyPatch):
    assert passes.find(GOOD, SPEC) is None
    passes.store(GOOD, SPEC, passed(GOOD))
    assert passes.find(GOOD, SPEC) == passed(GOOD)
    assert passes.find(GOOD.replace("2", "3"), SPEC) is None
    assert passes.find(GOOD, qllm_envs.make("mpe_spread", n_agents=4).spec) is None
    wider = {**SPEC.fields, "agent_pos": SPEC.fields["agent_pos"]._replace(low=-1.0)}
    assert passes.find(GOOD, SPEC._replace(fields=wider)) is None
    monkeypatch.setattr(passes, "gates_version", lambda: "another version")
    assert passes.find(GOOD, SPEC) is None
    monkeypatch.undo()
    monkeypatch.setenv(user_cache.VARIABLE, str(cache.parent))
    monkeypatch.setattr(passes, "environments_version", lambda: "another version")
    assert passes.find(GOOD, SPEC) is None
    assert [path.stat().st_mode & 0o777 for path in (cache, *cache.iterdir())] == [0o700, 0o600]


@pytest.mark.parametrize(
    ("name", "given", "other"),
    [
        ("mpe_tag", {}, {"opponent": "random"}),
        ("mpe_spread", {"n_agents": 3}, {"horizon": 10}),
        ("smax", {}, {"fidelity": "smax"}),
        ("lbf", {}, {"coop": True}),
    ],
)
def test_a_pass_is_for_one_set_of_options(cache: Path, name: str, given: dict, other: dict):
    """Options change the states that are reached, and so what a function was tried on."""
    del cache
    spec = qllm_envs.make(name, **given).spec
    passes.store(GOOD, spec, passed(GOOD))
    assert passes.find(GOOD, qllm_envs.make(name, **given | other).spec) is None
    # A default that is written out is the same task.
    assert passes.find(GOOD, qllm_envs.make(name, **{**qllm_envs.defaults(name), **given}).spec) == passed(GOOD)


SAME = {
    "header": "# written by\n#   a model\n\n" + GOOD,
    "comments": GOOD.replace("\n", "  # why\n\n\n"),
    "spacing": GOOD.replace("    return", "  return").replace("1.0 +", "1.0   +"),
    "line_ends": "\ufeff" + GOOD.replace("\n", "\r\n"),
    "lines_within_brackets": GOOD.replace("['agent_pos']", "[  # positions\n'agent_pos'\n  ]"),
}
OTHER = {
    "number": GOOD.replace("1.0", "1.5"),
    "gate": "IGM = False\n" + GOOD,
    "string": GOOD.replace("agent_pos", "landmark_pos"),
    "code_after_a_comment_that_ends_in_a_carriage_return": "# a comment\rIGM = False\n" + GOOD,
    "indentation": GOOD.replace("    return", "    if True:\n        pass\n    return"),
    "docstring": GOOD.replace("    return", '    """Why."""\n    return'),
}


def test_a_pass_is_for_a_program_and_not_for_its_comments(cache: Path):
    del cache
    passes.store(GOOD, SPEC, passed(GOOD))
    for name, text in SAME.items():
        assert ast.dump(ast.parse(text.removeprefix("\ufeff"))) == ast.dump(ast.parse(GOOD))
        assert passes.find(text, SPEC) == passed(text), name  # with the sha256 of its own text
    for name, text in OTHER.items():
        assert passes.find(text, SPEC) is None, name


def test_texts_that_tokens_do_not_tell_apart_share_no_pass(cache: Path):
    del cache
    inside = "def credit(state):\n    a = 1\n\\\n    b = 2\n"
    outside = "def credit(state):\n    a = 1\nb = 2\n"
    assert ast.dump(ast.parse(inside)) != ast.dump(ast.parse(outside))
    assert passes.program(inside) != passes.program(outside)
    for text in ("\0", "def (", "'''", "a\n  b\n c", "(" * 1000, "\ud800", "$", ""):  # no error, and no pass
        assert passes.find(text, SPEC) is None


@given(st.lists(st.sampled_from(["", "  ", "# IGM = False", "    # x = 1", "\t# y", "#\x0c"]), min_size=3, max_size=3))
def test_lines_of_comments_change_neither_the_tree_nor_the_key(lines: list[str]):
    code = ["IGM = True", *GOOD.splitlines()]
    text = "".join(f"{line}\n{of}\n" for line, of in zip(lines, code, strict=True))
    assert ast.dump(ast.parse(text)) == ast.dump(ast.parse("\n".join(code)))
    assert passes.program(text) == passes.program("\n".join(code))


def test_each_file_of_the_gates_is_part_of_their_version_and_the_library_is_not(tmp_path: Path):
    package = tmp_path / "tfcaf"
    shutil.copytree(Path(passes.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__", "*.jsonl"))
    version = lambda: passes.gates_version.__wrapped__(package)
    before = version()
    assert before == passes.gates_version()
    files = sorted(package.rglob("*.py"))
    folders = {"tfcaf", "library", "loading", "reward", "sandbox", "semantics", "static", "task"}
    assert {file.parent.name for file in files} == folders
    for file in files:
        text = file.read_text()
        file.write_text(text + "# changed\n")
        assert (version() == before) == ("library" in file.parts[len(package.parts) :]), file
        file.write_text(text)


def test_what_others_could_have_written_is_not_believed(cache: Path):
    passes.store(GOOD, SPEC, passed(GOOD))
    (file,) = cache.iterdir()
    cache.chmod(0o777)
    assert passes.find(GOOD, SPEC) is None
    cache.chmod(0o700)
    assert passes.find(GOOD, SPEC) is not None
    file.chmod(0o666)
    assert passes.find(GOOD, SPEC) is None
    file.chmod(0o600)
    file.write_text("{}")
    assert passes.find(GOOD, SPEC) is None


def test_a_damaged_pass_is_not_believed(cache: Path):
    passes.store(GOOD, SPEC, passed(GOOD)._replace(report={"program": "0123"}))
    (file,) = cache.iterdir()
    whole = file.read_bytes()
    damaged = {
        "a letter": whole.replace(b"0123", b"0124"),
        "random bytes": bytes(range(256)) * 8,
        "cut": whole[:-7],
        "empty": b"",
        "deep": b"[" * 100_000,
    }
    for name, content in damaged.items():
        file.write_bytes(content)
        assert passes.find(GOOD, SPEC) is None, name
    file.unlink()
    file.mkdir()
    passes.store(GOOD, SPEC, passed(GOOD))  # a folder in its place: no error, and nothing is left beside it
    assert passes.find(GOOD, SPEC) is None
    assert list(cache.iterdir()) == [file]
    file.rmdir()
    passes.store(GOOD, SPEC, passed(GOOD))
    assert passes.find(GOOD, SPEC) == passed(GOOD)


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(user_cache.VARIABLE, str(tmp_path / "file"))
    passes.store(GOOD, SPEC, passed(GOOD))
    assert passes.find(GOOD, SPEC) is None


def test_a_failure_is_not_stored(cache: Path):
    assert gates.verify(BAD, "mine.py", {"name": "mpe_spread", "n_agents": 3}).code == "NONMONO"
    assert not cache.exists()


@pytest.mark.usefixtures("no_process")
def test_a_tampered_text_has_no_pass(cache: Path):
    del cache
    passes.store(GOOD, SPEC, passed(GOOD))
    gates.require(GOOD, "mine.py", SPEC)
    with pytest.raises(pytest.fail.Exception):
        gates.require(GOOD.replace("1.0", "2.0"), "mine.py", SPEC)


def test_training_with_a_refused_file_is_one_sentence(cache: Path, tmp_path: Path):
    del cache
    file = tmp_path / "mine.py"
    file.write_text(BAD)
    arguments = [f"algo.mixer.function={file}", f"run_dir={tmp_path / 'run'}", "seeds=1", "total_steps=200"]
    with pytest.raises(TfcafError, match="a weight is"):
        train(arguments)
    assert not (tmp_path / "run").exists()


def test_a_spec_whose_environment_is_unknown_is_tried_on_its_ranges(cache: Path):
    del cache
    spec = SPEC._replace(name="elsewhere")
    gates.require(GOOD, "mine.py", spec)
    found = passes.find(GOOD, spec)
    assert found is not None
    assert found.report["rollout_states"] == 0
    assert os.path.isdir(passes.folder())


@pytest.mark.usefixtures("no_process")
def test_shipped_functions_carry_their_passes(cache: Path):
    """The default function of each task needs no process; made again by `python -m qllm_jax.tfcaf.ship`."""
    versions = {(entry["jax"], tuple(entry["python"])) for entry in passes.shipped().values()}
    if (jax.__version__, sys.version_info[:2]) not in versions:
        pytest.skip("no passes are shipped for these versions of jax and Python")
    defaults = [each for each in ship.subjects() if each.function.name == each.spec.name]
    found = [gates.require(each.function.text, "", each.spec, each.function.kind) for each in defaults]
    assert all(verdict.ok and verdict.report[PROGRAM] for verdict in found)
    assert not cache.exists()


def test_a_shipped_pass_is_for_one_text_one_task_and_one_version(monkeypatch: pytest.MonkeyPatch):
    function = source.find("mpe_spread").text
    assert passes._shipped_pass(function, SPEC) is not None
    assert passes._shipped_pass(function.replace("0.5", "0.25"), SPEC) is None
    assert passes._shipped_pass(function, qllm_envs.make("mpe_spread", n_agents=3, horizon=10).spec) is None
    monkeypatch.setattr(jax, "__version__", "0.0.1")
    assert passes._shipped_pass(function, SPEC) is None


@pytest.mark.slow
@pytest.mark.usefixtures("cache")
def test_shipped_passes_are_what_the_gates_say_now():
    for each in ship.subjects():
        shipped = passes._shipped_pass(each.function.text, each.spec)
        if shipped is None and each.function.name != each.spec.name:
            continue  # refused, or by other versions
        of = rollouts.from_spec(each.spec, each.function.kind)
        verdict = gates.verify_in(each.function.text, each.function.file, of)
        report = {name: value for name, value in verdict.report.items() if name not in ship.LEFT_OUT}
        assert shipped is not None, (each.function.name, each.task)
        assert shipped._replace(report={}) == verdict._replace(report={})
        for key in shipped.report.keys() | report.keys():
            # The tests compile in another way than the command, so that states of play differ by their last digits.
            of_states = isinstance(report.get(key), dict)
            found = pytest.approx(report.get(key), rel=1e-3) if of_states else report.get(key)
            assert shipped.report.get(key) == found, (each.function.name, each.task, key)
