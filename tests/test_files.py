"""Files are written whole or not at all, also by several writers at once, and by nobody into a folder that is gone."""

import errno
import hashlib
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from qllm_jax import files
from qllm_jax.errors import UserError


def test_writers_of_one_file_do_not_disturb_each_other(tmp_path: Path):
    path = tmp_path / "result.json"
    texts = ["a" * 100_000, "b" * 100_000]

    def write(text: str) -> set[str]:
        seen = set()
        for _ in range(50):
            files.write_atomically(path, text)
            seen.add(path.read_text())
        return seen

    with ThreadPoolExecutor() as pool:
        seen = set.union(*pool.map(write, texts))
    assert seen <= set(texts)
    assert [*tmp_path.iterdir()] == [path]


def test_a_write_that_fails_leaves_the_file_as_it_was_and_nothing_beside_it(tmp_path: Path):
    path = tmp_path / "result.json"
    files.write_atomically(path, b"before")

    def fail() -> None:
        with files.replacing(path) as temporary:
            temporary.write_text("half")
            raise FileNotFoundError("no such input")

    with pytest.raises(FileNotFoundError, match="no such input"):
        fail()
    assert path.read_bytes() == b"before"
    assert [*tmp_path.iterdir()] == [path]


def test_a_write_that_is_refused_names_the_file_that_was_asked_for(tmp_path: Path):
    def refuse() -> None:
        with files.replacing(tmp_path / "result.json") as temporary:
            raise PermissionError(errno.EACCES, "Permission denied", str(temporary))

    with pytest.raises(PermissionError) as error:
        refuse()
    assert files.disk_error(error.value) == f"could not read or write {tmp_path / 'result.json'}: Permission denied"
    assert files.disk_error(OSError(errno.ENOSPC, "No space left")) == "could not write to disk: No space left"


def test_a_new_file_takes_the_place_of_no_folder(tmp_path: Path):
    (tmp_path / "a.png").mkdir()
    for overwrite in (False, True):
        with pytest.raises(UserError, match="exists already: choose another name, or remove it"):
            files.new_file(str(tmp_path / "a.png"), (".png",), overwrite)


def test_a_new_file_in_a_read_only_folder_is_refused_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("os.access", lambda path, mode: (path, mode) != (tmp_path, os.W_OK))  # root may write anywhere
    with pytest.raises(UserError, match=r"a\.png cannot be written: the folder '.*' is read-only"):
        files.new_file(str(tmp_path / "a.png"), (".png",))


@pytest.mark.parametrize("private", [False, True])
def test_a_folder_that_is_gone_is_named(tmp_path: Path, private: bool):
    with pytest.raises(UserError, match=r"gone/result\.json cannot be written: its folder is gone"):
        files.write_atomically(tmp_path / "gone" / "result.json", "", private)


def test_private_files_are_readable_by_their_owner_alone(tmp_path: Path):
    files.write_atomically(tmp_path / "own", "x", private=True)
    files.write_atomically(tmp_path / "shared", b"x")
    (tmp_path / "usual").write_text("x")
    own, shared, usual = (stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("own", "shared", "usual"))
    assert (own, shared) == (0o600, usual)


def test_a_log_knows_the_digest_of_all_that_it_holds_also_of_what_an_earlier_process_wrote(tmp_path: Path):
    path = tmp_path / "log.jsonl"
    first = files.JsonLines(path, 0)
    first.write([{"a": 1}])
    size = first.size()
    first.write([{"a": 2}])  # after the checkpoint: cut off
    first.close()
    second = files.JsonLines(path, size)
    second.write([{"a": 3}])
    assert path.read_text() == '{"a": 1}\n{"a": 3}\n'
    assert second.sha256() == hashlib.sha256(path.read_bytes()).hexdigest()
    second.close()


def test_a_log_is_on_disk_before_a_checkpoint_covers_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    log, synced = files.JsonLines(tmp_path / "log.jsonl", 0), []
    monkeypatch.setattr(files.os, "fsync", synced.append)
    log.write([{"a": 1}])
    assert log.size() == (tmp_path / "log.jsonl").stat().st_size == 9
    assert synced == [log._file.fileno()]
    log.close()


def test_a_record_that_was_written_in_part_is_an_error_of_the_disk(tmp_path: Path):
    log = files.JsonLines(tmp_path / "log.jsonl", 0)
    log._file = cast(Any, SimpleNamespace(write=lambda text: len(text) - 1, name="log.jsonl"))
    with pytest.raises(OSError, match=r"log\.jsonl") as caught:
        log.write([{"a": 1}])
    assert caught.value.errno == errno.ENOSPC
