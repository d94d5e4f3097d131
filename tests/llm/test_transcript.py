"""The transcript: records are read back, a torn last line is removed, and other files are refused."""

from pathlib import Path

import pytest

from qllm_jax.errors import UserError
from qllm_jax.llm import transcript
from qllm_jax.llm.types import Reply, Request, Usage

ID = (2, "coder", 3, 1)
REQUEST = Request(ID, "system", "user")
REPLY = Reply("text é\u2028\ud83d\ude00", "hm", "stop", Usage(1, 2, None, None), "m", "2026-06-01", 1.5)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / transcript.NAME
    with transcript.opened(path) as lines:
        transcript.append(lines, "start", settings={})
        transcript.add_reply(lines, REQUEST, "digest", REPLY._replace(text="é\u2028"))
        transcript.append(lines, "resume", limits={})
    return path


def test_one_that_is_known_is_written_at_once(tmp_path: Path):
    records = [{"kind": "start", "settings": {}}, {"kind": "failure", "place": [1], "problem": "é", "elapsed_s": 7.0}]
    transcript.create(tmp_path / transcript.NAME, records)
    assert transcript.read(tmp_path / transcript.NAME)[0] == [record | {"elapsed_s": 0.0} for record in records]


def test_replies_are_found_again(path: Path):
    with transcript.opened(path) as lines:
        assert transcript.find_reply(lines, ID) == REPLY._replace(text="é\u2028")
        assert transcript.find_reply(lines, (*ID[:3], 0)) is None


def test_a_record_reads_the_same_in_the_process_that_wrote_it(path: Path):
    with transcript.opened(path) as lines:
        transcript.append(lines, "resume", limits=(1, {2: None}))
        written = lines.records[-1]
    assert transcript.read(path)[0][-1] == written
    assert written["limits"] == [1, {"2": None}]


@pytest.mark.parametrize("torn", ["{", '{"kind": "reply", "pla', '{"kind": "start", "elapsed_s": 1}'])
def test_a_line_that_a_kill_cut_short_is_taken_off(path: Path, torn: str):
    whole = path.read_bytes()
    path.write_bytes(whole + torn.encode())
    with transcript.opened(path) as lines:
        assert len(lines.records) == 3
        transcript.append(lines, "resume", limits={})
    assert path.read_bytes().startswith(whole + b'{"kind": "resume"')
    assert len(transcript.read(path)[0]) == 4


def test_time_goes_on_where_the_last_process_left_it(path: Path):
    text = path.read_text()
    last = transcript.read(path)[0][-1]["elapsed_s"]
    path.write_text(text.replace(f'"elapsed_s": {last}}}\n', '"elapsed_s": 1000.0}\n'))
    with transcript.opened(path) as lines:
        assert 1000 <= transcript.elapsed_s(lines) < 1100


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("hello\n", ":1 is no line of a transcript"),
        ("[1]\n", ":1 is no line of a transcript"),
        ('{"kind": "start"}\n', ":1 is no line of a transcript"),
        ('{"kind": "start", "elapsed_s": 0}\n{"kind": "re\n', ":2 is no line of a transcript"),
        ('{"kind": "reply", "elapsed_s": 0}\n', ":1 is not the start of a transcript"),
    ],
)
def test_another_file_is_no_transcript(tmp_path: Path, text: str, sentence: str):
    path = tmp_path / "x.jsonl"
    path.write_text(text)
    with pytest.raises(UserError, match=sentence):
        transcript.read(path)
    assert path.read_text() == text


def test_a_digest_tells_questions_apart():
    digests = {
        transcript.digest(request, model, parameters)
        for request in (REQUEST, REQUEST._replace(user="other"), REQUEST._replace(id=(2, "coder", 1, 1)))
        for model in ("a", "b")
        for parameters in ({}, {"temperature": 1})
    }
    assert len(digests) == 12
