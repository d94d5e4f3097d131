"""A person in front of any chat: requests are written as files, and replies are read from files."""

import codecs
from collections.abc import Sequence
from pathlib import Path

from pydantic import ConfigDict, validate_call

from qllm_jax import files
from qllm_jax.errors import UserError
from qllm_jax.llm import replies
from qllm_jax.llm.types import Llm, Reply, Request, Usage, WaitingError

PROMPTS, REPLIES = "prompts", "replies"
MAX_BYTES = 2**23  # of an answer
UNKNOWN = Usage(None, None, None, None)


@validate_call(config=ConfigDict(strict=True))
def make(*, model: str) -> Llm:
    """Make the provider. `model` is the name in the header of the function."""
    return Llm(model, {"provider": "manual"}, lambda request, folder, seconds: _ask(model, request, folder))


def to_do(waiting: Sequence[str]) -> str:
    """The lines that tell a person what to answer, from the messages of one WaitingError or of several."""
    head = "waiting for answers: paste each prompt into a new chat, save the answer as the file beside it"
    return "\n".join([head, *(f"  {line}" for text in waiting for line in text.split("\n"))])


def _ask(model: str, request: Request, folder: Path) -> Reply:
    question, answer = (folder / part / f"{request.id}.md" for part in (PROMPTS, REPLIES))
    text = _read(answer)
    if text.strip():
        return Reply(text.strip(), "", None, UNKNOWN, model, replies.date())
    for file in (question, answer):
        files.make_folder(file.parent, exist_ok=True)
    files.write_atomically(question, f"{request.system.strip()}\n\n{request.user.strip()}\n")
    raise WaitingError(f"{question} is to be answered in {answer}")


def _read(path: Path) -> str:
    """Text of an answer, as editors save it; "" if there is none yet. Raise `UserError` for a file that is no text."""
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise UserError(f"{str(path)!r} cannot be read: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise UserError(f"{str(path)!r} is longer than {MAX_BYTES // 2**20} MiB: it is to hold an answer alone")
    is_utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))  # of editors on Windows
    return data.decode("utf-16" if is_utf16 else "utf-8-sig", errors="replace").replace("\0", "")
