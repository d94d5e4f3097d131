"""A stored transcript in the place of a language model: no key, no network, the same result byte for byte.

A replay is a generation that resumes on a copy of the transcript: answers come from there, so nothing is ever asked.
"""

from pathlib import Path

from pydantic import ConfigDict, validate_call

from qllm_jax.errors import UserError
from qllm_jax.llm.records import Llm, Reply, Request, StoppedError
from qllm_jax.llm.transcript import NAME


@validate_call(config=ConfigDict(strict=True))
def make(*, transcript: str | None) -> Llm:
    """`transcript` is the file, or the folder of a generation."""
    find(transcript)
    return Llm("replay", {"provider": "replay"}, _ask)


def find(transcript: str | None) -> Path:
    """The file. `UserError` when it is not there."""
    if transcript is None:
        raise UserError("llm=replay needs llm.transcript=FOLDER of a generation, or the transcript.jsonl of one")
    path = Path(transcript)
    path = path / NAME if path.is_dir() else path
    if not path.is_file():
        raise UserError(f"llm.transcript: there is no file {str(path)!r}")
    return path


def _ask(request: Request, folder: Path, seconds: float | None) -> Reply:
    del folder, seconds
    raise StoppedError(f"the transcript has no answer to {request.place}")
