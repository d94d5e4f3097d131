"""Damaged run folders and odd settings: one sentence, nothing written; or the same numbers as without."""

import errno
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import jax.numpy as jnp
import pytest

from qllm_jax import cli, config, files
from qllm_jax.commands import evaluate
from qllm_jax.commands.report import report
from qllm_jax.core.types import Clock
from qllm_jax.errors import UserError
from qllm_jax.program.experiment import Experiment
from qllm_jax.run import checkpoint, folder, functions_used, interrupt, load, stored_logs
from qllm_jax.run.session import Session
from qllm_jax.train import train

pytestmark = pytest.mark.usefixtures("kept_programs")  # a resumed copy has the programs of its run
SMALL = [
    "env=matrix_climbing", "algo=matched_qllm", "seeds=2", "total_steps=400", "log_interval=100", "eval_interval=100",
    "eval_episodes=4", "final_episodes=8", "algo.buffer_episodes=64", "algo.n_envs=2", "algo.batch_episodes=4",
    "algo.hidden_dim=8", "devices=1",
]  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run. Copy it before changing it."""
    path = tmp_path_factory.mktemp("runs") / "whole"
    assert train([*SMALL, f"run_dir={path}"]) == 0
    return path


@pytest.fixture
def copied(whole: Path, tmp_path: Path) -> Path:
    """A copy of the run."""
    return Path(shutil.copytree(whole, tmp_path / "copy"))


def cut(file: Path, share: float = 0.5) -> None:
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])


def cut_before(file: Path, text: str) -> None:
    file.write_text(file.read_text().partition(text)[0])


def flip(file: Path, start: int) -> None:
    """Change up to 64 bytes."""
    found = bytearray(file.read_bytes())
    for i in range(start, min(start + 64, len(found))):
        found[i] ^= 0x15
    file.write_bytes(found)


def pad(file: Path) -> None:
    """Replace the second half by NUL bytes."""
    size = file.stat().st_size
    cut(file)
    with open(file, "ab") as opened:
        opened.truncate(size)


def edit_json(file: Path, **values: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def edit(file: Path, old: str, new: str) -> None:
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


def replace_by_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def replace_by_file(path: Path) -> None:
    shutil.rmtree(path)
    path.write_text("")


def empty_files(path: Path) -> None:
    for file in path.rglob("*"):
        if file.is_file():
            file.write_bytes(b"")


def remove_checkpoints_and_result(path: Path) -> None:
    shutil.rmtree(path / folder.CHECKPOINTS)
    (path / folder.RESULT).unlink()


# 9^8 numbers, if each alias is replaced by what it stands for.
LISTS = [f"{name}: &{name} [{', '.join([f'*{of}'] * 9)}]" for of, name in zip("abcdefgh", "bcdefghi", strict=True)]
ALIASES = "\n".join(["a: &a [1, 1, 1]", *LISTS])

DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "config cut in a line": (lambda run: cut(run / "config.yaml", 0.4), "config.yaml: "),
    "config cut after a line": (lambda run: cut_before(run / "config.yaml", "sweep:"), "it has no 'sweep'"),
    "config not text": (lambda run: (run / "config.yaml").write_bytes(b"\xff\xfe\x00" * 90), "not text in UTF-8"),
    "config of NUL bytes": (lambda run: (run / "config.yaml").write_bytes(bytes(900)), "it is not YAML"),
    "config empty": (lambda run: (run / "config.yaml").write_text(""), "config.yaml: env is missing"),
    "config a list": (lambda run: (run / "config.yaml").write_text("- 1\n- 2\n"), "it has no keys"),
    "config a word": (lambda run: (run / "config.yaml").write_text("hello"), "config.yaml: "),
    "config edited": (
        lambda run: edit(run / "config.yaml", "lr: 0.0005", "lr: 0.05"),
        "not the configuration that the",
    ),
    "config of another seed": (
        lambda run: edit(run / "config.yaml", "\nseed: 0", "\nseed: 1"),
        "not the configuration",
    ),
    "config of aliases": (lambda run: (run / "config.yaml").write_text(ALIASES), "more than 20 aliases"),
    "meta of other types": (lambda run: edit_json(run / "meta.json", files=[1]), "'files' does not describe"),
    "meta of null": (lambda run: edit_json(run / "meta.json", files={"sha256": None}), "'files' does not describe"),
    "meta cut": (lambda run: cut(run / "meta.json"), "meta.json is damaged: it is not JSON"),
    "meta gone": (lambda run: (run / "meta.json").unlink(), "meta.json is missing"),
    "meta a list": (lambda run: (run / "meta.json").write_text("[]"), "it is not a JSON object"),
    "meta nested": (lambda run: (run / "meta.json").write_text("[" * 100_000), "meta.json is damaged"),
    "meta groups": (lambda run: edit_json(run / "meta.json", groups=3), "groups are not pairs of numbers"),
    "function edited": (
        lambda run: (run / "tfcaf.py").write_text((run / "tfcaf.py").read_text() + "\n# later\n"),
        "is not the credit function that the run was begun with",
    ),
    "function empty": (lambda run: (run / "tfcaf.py").write_text(""), "is not the credit function"),
    "function gone": (lambda run: (run / "tfcaf.py").unlink(), "tfcaf.py is missing"),
    "metrics cut": (lambda run: cut(run / "metrics.jsonl"), "bytes, and the checkpoint follows"),
    "metrics gone": (lambda run: (run / "metrics.jsonl").unlink(), "metrics.jsonl is missing"),
    "metrics a folder": (lambda run: replace_by_folder(run / "metrics.jsonl"), "metrics.jsonl is missing"),
    "metrics changed": (lambda run: flip(run / "metrics.jsonl", 700), "is not what this run had written"),
    "metrics of another run": (
        lambda run: (run / "metrics.jsonl").write_text((run / "metrics.jsonl").read_text().replace("275.0", "274.9")),
        "is not what this run had written",
    ),
    "metrics padded": (lambda run: pad(run / "metrics.jsonl"), "is not what this run had written"),
    "timing cut": (lambda run: cut(run / "timing.jsonl"), "bytes, and the checkpoint follows"),
    "timing gone": (lambda run: (run / "timing.jsonl").unlink(), "timing.jsonl is missing"),
    "checkpoints emptied": (lambda run: empty_files(run / "checkpoints"), "no checkpoint of "),
    "checkpoints gone": (lambda run: shutil.rmtree(run / "checkpoints"), "has no checkpoint, and its logs go up to"),
    "checkpoints and result gone": (remove_checkpoints_and_result, "has no checkpoint, and its logs go up to"),
    "checkpoints a file": (lambda run: replace_by_file(run / "checkpoints"), "has no checkpoint, and its logs"),
}


def contents(path: Path) -> dict[str, bytes]:
    """All files but locks."""
    return {str(p): p.read_bytes() for p in path.rglob("*") if p.is_file() and p.name != ".lock"}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_one_sentence_and_nothing_is_written(name: str, copied: Path):
    damage, sentence = DAMAGE[name]
    damage(copied)
    before = contents(copied)
    with pytest.raises(UserError) as error:
        train([f"resume={copied}", "total_steps=500"])
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)
    assert contents(copied) == before


READING: dict[str, tuple[Callable[[Path], object], Callable[[Path], object], str]] = {
    "evaluate, metrics": (
        lambda run: (run / "metrics.jsonl").write_text("{}\n"),
        lambda run: evaluate.evaluate([str(run), "episodes=2"]),
        "metrics.jsonl is damaged in line 1: it has no 'event'",
    ),
    "report, steps": (
        lambda run: edit(run / "metrics.jsonl", '"env_steps": ', '"env_steps": NaN, "x": '),
        lambda run: report([str(run), f"out={run / 'x.png'}"]),
        "metrics.jsonl is damaged in line 1: env_steps and seed must be whole numbers",
    ),
    "report, result": (
        lambda run: cut(run / "result.json"),
        lambda run: report([str(run), f"out={run / 'x.png'}"]),
        "result.json is damaged: it is not JSON",
    ),
    "report, timing": (
        lambda run: (run / "timing.jsonl").write_text("3\n"),
        lambda run: report([str(run), f"out={run / 'x.png'}"]),
        "timing.jsonl is damaged in line 1: it is not a JSON object",
    ),
}


@pytest.mark.parametrize("name", READING)
def test_commands_that_read_a_run_name_the_damaged_file(name: str, copied: Path):
    damage, read, sentence = READING[name]
    damage(copied)
    with pytest.raises(UserError) as error:
        read(copied)
    assert sentence in str(error.value)


CHECKPOINT_DAMAGE: dict[str, Callable[[Path], object]] = {
    "bytes flipped": lambda path: flip(max(path.rglob("ocdbt.process_0/d/*")), 4000),
    "commit marker gone": lambda path: (path / "orbax.checkpoint").unlink(),
    "metadata empty": lambda path: (path / "state" / "_METADATA").write_text(""),
    "counters changed": lambda path: flip(path / "_CHECKPOINT_METADATA", 300),
    "arrays gone": lambda path: shutil.rmtree(path / "state" / "ocdbt.process_0"),
    "checksums gone": lambda path: (path / "SHA256SUMS").unlink(),
    "empty folder": lambda path: (shutil.rmtree(path), path.mkdir()),
}


def newest(run: Path) -> Path:
    return sorted((run / "checkpoints").iterdir())[-1].resolve()


@pytest.mark.parametrize("name", CHECKPOINT_DAMAGE)
def test_a_damaged_checkpoint_is_seen(name: str, copied: Path):
    before, path = (each.resolve() for each in sorted((copied / "checkpoints").iterdir()))
    assert checkpoint.damage(path) == ""
    CHECKPOINT_DAMAGE[name](path)
    assert checkpoint.damage(path) != ""
    assert checkpoint.latest(copied / "checkpoints") == before


def test_training_goes_on_from_the_newest_whole_checkpoint_and_says_so(whole: Path, copied: Path, capsys):
    CHECKPOINT_DAMAGE["bytes flipped"](damaged := newest(copied))
    (copied / folder.RESULT).unlink()  # killed before its end
    assert train([f"resume={copied}"]) == 0
    assert f"note: {damaged} is damaged (" in capsys.readouterr().err
    assert (copied / folder.METRICS).read_bytes() == (whole / folder.METRICS).read_bytes()
    assert (copied / folder.RESULT).read_bytes() == (whole / folder.RESULT).read_bytes()
    assert checkpoint.damage(damaged) == ""  # written again


REFUSED = [
    (["resume={run}", "total_steps=100"], "total_steps=100 is less than the 400 env steps"),
    ([*SMALL, "total_steps=2147483647"], "total_steps=2147483647 must be at most 2,147,483,597"),
    ([*SMALL, f"total_steps={10**30}"], "total_steps must be less than 2147483648"),
    ([*SMALL, f"algo.target_interval={2**31}"], "algo.target_interval must be less than 2147483648"),
    ([*SMALL, f"algo.epsilon_steps={10**400}"], "algo.epsilon_steps must be less than 2147483648"),
    ([*SMALL, "run_dir={run}/tfcaf.py"], "exists already, and is no run: choose another run_dir"),
    ([*SMALL, "run_dir={run}/checkpoints"], "exists already, and is no run: choose another run_dir"),
    ([*SMALL, "algo.lr=1e-3)"], "algo.lr must be a valid number, got '1e-3)'"),
]


@pytest.mark.parametrize(("overrides", "sentence"), REFUSED)
def test_settings_that_cannot_be_are_one_sentence(overrides: list[str], sentence: str, copied: Path):
    before = contents(copied)
    with pytest.raises(UserError) as error:
        train([override.format(run=copied) for override in overrides])
    assert sentence in str(error.value)
    assert contents(copied) == before


def test_a_run_in_use_is_not_changed_by_another_process(copied: Path):
    before = contents(copied)
    with folder.locked(copied):
        for arguments in ([f"resume={copied}", "total_steps=900"], [*SMALL, f"run_dir={copied}"]):
            with pytest.raises(UserError):
                train(arguments)
    assert contents(copied) == before


ODD_NAMES = ("my run (v2)#1", "lr=0.1", "é 実行", "it's", "2024", "a,b", "x.name", "a~b {x} $y")


@pytest.mark.parametrize("name", ODD_NAMES)
def test_any_name_of_a_run_dir_is_that_folder(name: str, whole: Path, tmp_path: Path):
    path = Path(shutil.copytree(whole, tmp_path / name))
    with pytest.raises(UserError) as error:
        train([*SMALL, f"run_dir={path}"])
    assert f"run_dir {str(path)!r} exists already: continue it" in str(error.value)
    with pytest.raises(UserError, match="total_steps=100 is less than"):
        train([f"resume={path}", "total_steps=100"])


def test_a_lock_that_leads_nowhere_is_one_sentence(copied: Path):
    (copied / ".lock").unlink()
    (copied / ".lock").symlink_to("no/where")
    with pytest.raises(UserError, match=r"\.lock cannot be written"):
        train([f"resume={copied}", "total_steps=900"])


def test_what_belongs_to_the_machine_may_be_changed_by_hand(copied: Path):
    edit(copied / "config.yaml", "mode: disabled", "mode: offline")
    edit(copied / "config.yaml", "devices: 1", "devices: 2")
    assert folder.load(str(copied))[1].wandb.mode == "offline"


NOWHERE = {
    "no folder to resume": (["resume="], "resume must not be empty"),
    "no folder": (["run_dir="], "run_dir must not be empty"),
    "no such home": (["resume=~nobody_at_all/run"], "there is no such home folder"),
}


@pytest.mark.parametrize(("overrides", "sentence"), NOWHERE.values(), ids=NOWHERE)
def test_a_folder_that_cannot_be_is_one_sentence(overrides: list[str], sentence: str):
    with pytest.raises(UserError, match=sentence):
        train(overrides)


def test_training_stops_if_its_folder_is_moved(copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    evaluated = Session.evaluate

    def evaluate_and_move(session: Session) -> None:
        evaluated(session)
        copied.rename(tmp_path / "moved")

    monkeypatch.setattr(Session, "evaluate", evaluate_and_move)
    with pytest.raises(UserError, match="was moved or removed"):
        train([f"resume={copied}", "total_steps=100000"])
    assert not copied.exists()
    assert (tmp_path / "moved" / "checkpoints").is_dir()


def test_a_command_in_a_folder_that_is_gone_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(UserError, match="the folder of this shell is gone"):
        cli.check_folder()


def test_help_without_docstrings_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    monkeypatch.setattr(sys, "argv", ["train", "--help"])
    with pytest.raises(SystemExit):
        cli.main(train, None)
    assert "python -OO leaves out help texts" in capsys.readouterr().out


def test_a_new_folder_that_cannot_be_is_one_sentence():
    with pytest.raises(UserError, match="the folder '/proc/run' cannot be made"):
        folder.claim(Path("/proc/run"), is_default=False)


@pytest.mark.parametrize("name", ["a" * 300, "whole/tfcaf.py/run"])
def test_paths_that_the_system_refuses_are_one_sentence(
    name: str, whole: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(sys, "argv", ["train", *SMALL, f"run_dir={whole.parent / name}"])
    with pytest.raises(SystemExit) as caught:
        cli.main(train, None, finds_device=False)
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert said.startswith("error: could not write ")


@pytest.mark.thorough
def test_settings_of_other_programs_change_no_number_and_a_reader_that_ends_ends_no_training(
    whole: Path, tmp_path: Path
):
    """64 bits, strict promotion, debugging, a notebook's backend, ASCII, and output into a pipe that nobody reads."""
    noted = {"JAX_ENABLE_X64": "1", "JAX_DEBUG_INFS": "True", "JAX_DISABLE_JIT": "yes"}
    noted |= {"JAX_DEBUG_KEY_REUSE": "on", "JAX_TRANSFER_GUARD": "disallow"}
    noted |= {"JAX_THREEFRY_PARTITIONABLE": "0", "JAX_DEFAULT_PRNG_IMPL": "rbg"}
    others = {
        **noted,
        "JAX_DEBUG_NANS": "1",
        "JAX_NUMPY_RANK_PROMOTION": "raise",
        "JAX_NUMPY_DTYPE_PROMOTION": "strict",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "PYTHONIOENCODING": "ascii",
    }
    path = tmp_path / "é (v2)"
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "qllm_jax.train", *SMALL, f"run_dir={path}"],
        env={**os.environ, **others},
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writer)
    assert done.returncode == 0, done.stderr
    assert [line.split(":")[:2] for line in done.stderr.splitlines()] == [
        ["note", f" {name} changes nothing"] for name in noted
    ]
    assert (path / folder.METRICS).read_bytes() == (whole / folder.METRICS).read_bytes()


def test_a_filesystem_without_locks_is_a_note(copied: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    def refuse(*arguments: object) -> None:
        raise OSError(errno.ENOLCK, "none here", *arguments[2:])

    monkeypatch.setattr(fcntl, "flock", refuse)
    with folder.locked(copied):
        assert not folder.in_use(copied)
    assert capsys.readouterr().err == f"note: no lock for {copied} (none here): start no second process in it\n"


def test_a_default_name_that_is_taken_gets_a_number(tmp_path: Path):
    names = [folder.claim(tmp_path / "task_algo_s0", is_default=True).name for _ in range(3)]
    assert names == ["task_algo_s0", "task_algo_s0-2", "task_algo_s0-3"]


def test_ctrl_c_is_answered_while_the_main_thread_is_busy():
    """A main thread in C code, from which it does not come back, as in a compilation."""
    busy = (
        "import hashlib; from qllm_jax import process; from qllm_jax.run.interrupt import Interrupt; "
        "process.IS_COMMAND.set(True); found = Interrupt(); print('busy', flush=True); "
        "hashlib.pbkdf2_hmac('sha256', b'x', b'x', 10**9)"
    )
    process = subprocess.Popen([sys.executable, "-c", busy], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == "busy\n"
    process.send_signal(signal.SIGINT)
    assert [process.stderr.readline() for _ in range(2)] == ["\n", f"{interrupt.ANSWER}\n"]
    process.send_signal(signal.SIGINT)
    assert process.wait() == 130


def test_commands_keep_the_lines_of_xla_off_the_screen():
    code = "import os; from qllm_jax import process; process.prepare(); print(os.environ['TF_CPP_MIN_LOG_LEVEL'])"
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    for given, expected in (({}, "3"), ({"TF_CPP_MIN_LOG_LEVEL": "0"}, "0")):
        done = subprocess.run([sys.executable, "-c", code], env=environment | given, capture_output=True, text=True)
        assert done.stdout == f"{expected}\n"


def test_a_training_that_ends_within_the_warm_up_says_so_and_leaves_a_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert train([*SMALL, "algo.batch_episodes=32", "total_steps=100", "algo=matched_vdn", f"run_dir={tmp_path}"]) == 0
    said = "note: nothing is learned, as total_steps=100 ends before the first 32 episodes (algo.batch_episodes)"
    assert said in capsys.readouterr().out
    assert checkpoint.latest(tmp_path / "checkpoints") is not None


def test_a_run_that_was_killed_before_its_first_checkpoint_begins_again(tmp_path: Path):
    """The checkpoint is written after the records of the second evaluation."""

    def log(*events: tuple[str, int]) -> None:
        lines = [
            f'{{"event": "{event}", "env_steps": {step}, "seed": 0, "elapsed_s": 1.0}}\n' for event, step in events
        ]
        for name in (folder.METRICS, folder.TIMING):
            (tmp_path / name).write_text("".join(lines))

    log(("eval", 0), ("train", 100), ("eval", 100))
    stored_logs.check_without_checkpoint(tmp_path, has_result=False)
    log(("eval", 0), ("train", 100), ("eval", 100), ("train", 150))
    with pytest.raises(UserError, match="has no checkpoint, and its logs go up to step 150"):
        stored_logs.check_without_checkpoint(tmp_path, has_result=False)


def test_config_yaml_is_written_last_as_a_folder_with_it_is_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    written, write_atomically = [], files.write_atomically
    monkeypatch.setattr(
        files, "write_atomically", lambda path, *more: written.append(path.name) or write_atomically(path, *more)
    )
    folder.create(tmp_path / "run", config.load(["algo=matched_qllm"]), ("def credit(state): ...\n",))
    assert written == [functions_used.TFCAF, folder.META, folder.CONFIG]


def test_best_steps_are_those_of_the_checkpoint_that_is_read(monkeypatch: pytest.MonkeyPatch):
    """The logs go on after it, if a newer one is damaged or the run is training."""
    records = [{"event": "eval", "env_steps": 100 * i, "seed": 0, "return": float(i)} for i in (1, 2, 3)]
    state = SimpleNamespace(best_params={})
    exp = SimpleNamespace(n_runs=1, config=config.load(["seeds=1"]))
    monkeypatch.setattr(
        load, "newest_checkpoint", lambda *_, **__: ((Clock(*map(jnp.int32, (200, 0, 0))), state), None)
    )
    monkeypatch.setattr(load, "note_failed", lambda *_: None)
    monkeypatch.setattr(stored_logs, "metrics", lambda _: records)
    found = load.load_group(cast(Experiment, exp), Path("run"), "best")
    assert (found.params_steps, found.env_steps) == ([200], 200)
