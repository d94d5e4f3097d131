"""A person in front of any chat: requests are written as files, and replies are read from files."""

from pathlib import Path

from pydantic import ConfigDict, validate_call

from qllm_jax import files
from qllm_jax.llm import replies
from qllm_jax.llm.types import Llm, Reply, Request, Usage, WaitingError

PROMPTS, REPLIES = "prompts", "replies"
UNKNOWN = Usage(None, None, None, None)


@validate_call(config=ConfigDict(strict=True))
def make(*, model: str) -> Llm:
    """Make the provider. `model` is the name in the header of the function."""
    return Llm(model, {"provider": "manual"}, lambda request, folder, seconds: _ask(model, request, folder))


def _ask(model: str, request: Request, folder: Path) -> Reply:
    question, answer = (folder / part / f"{request.id}.md" for part in (PROMPTS, REPLIES))
    try:
        text = answer.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        text = ""
    if text.strip():
        return Reply(text.strip(), "", None, UNKNOWN, model, replies.date())
    for file in (question, answer):
        file.parent.mkdir(exist_ok=True)
    files.write_atomically(question, f"{request.system.strip()}\n\n{request.user.strip()}\n")
    raise WaitingError(f"{question} is to be answered in {answer}")
