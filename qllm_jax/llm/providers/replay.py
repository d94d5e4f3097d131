"""A stored transcript instead of a language model: no key, no network, the same result byte for byte.

A replay resumes a generation on a copy of its transcript, which holds every reply: this provider is never asked.
"""

from pathlib import Path

from pydantic import ConfigDict, validate_call

from qllm_jax.errors import UserError
from qllm_jax.llm.transcript import NAME
from qllm_jax.llm.types import Llm, Reply, Request, StoppedError


@validate_call(config=ConfigDict(strict=True))
def make(*, transcript: str | None) -> Llm:
    """Make the provider. `transcript` is the file, or the folder of a generation."""
    find(transcript)
    return Llm("replay", {"provider": "replay"}, _ask)


def find(transcript: str | None) -> Path:
    """Return the path of the transcript. Raise `UserError` if it does not exist."""
    if transcript is None:
        raise UserError("llm=replay needs llm.transcript=FOLDER of a generation, or the transcript.jsonl of one")
    path = Path(transcript)
    path = path / NAME if path.is_dir() else path
    if not path.is_file():
        raise UserError(f"llm.transcript: there is no file {str(path)!r}")
    return path


def _ask(request: Request, folder: Path, seconds: float | None) -> Reply:
    del folder, seconds
    raise StoppedError(f"the transcript has no answer to {request.id}")
