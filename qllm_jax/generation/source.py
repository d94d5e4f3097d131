"""The text of a function that passed the gates: its signature, and the file that is made of it.

Only verified text comes here: parsing it is safe, as a child process did so before under the same limits.
"""

import ast
import textwrap

from qllm_jax.generation.prompts import Hints
from qllm_jax.llm.records import Choice, Try
from qllm_jax.llm.replies import brief
from qllm_jax.tfcaf.static import igm as gate
from qllm_jax.tfcaf.static.vocabulary import ENTRIES, Signature

HEADER_BYTES = 4096  # the most that the header of a file takes
REASON, MODEL = 600, 100  # characters of a model's sentence and of its name in the header


def signature(source: str) -> Signature:
    """Which of the two signatures the text has."""
    names = [node.name for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
    return next(ENTRIES[name] for name in names if name in ENTRIES)


def compose(choice: Choice, task: str, prompts_sha256: str, hints: Hints = "none") -> str:
    """The whole file: the function, headed by who wrote it, when, from which prompts, and why it was chosen.

    Nothing in it depends on when or where it is composed.
    """
    written = choice.candidate.last
    igm = gate.read(choice.candidate.source)
    with_hints = "" if hints == "none" else f", with hints={hints}"
    head = [
        f"A credit function (TFCAF) for {task}, written by a language model.",
        f"Model: {brief(written.reply.model, MODEL)}",
        f"Date: {written.reply.date}, {written.place} of qllm_jax.generate.",
        f"Prompts: sha256 {prompts_sha256}{with_hints}.",
        *_wrapped(f"Chosen by {choice.by}: {choice.reason}"),
        *_wrapped(f"IGM {'on' if igm else 'off'}: {choice.note or choice.igm_reason or 'as its author set it'}"),
    ]
    return "\n".join(f"# {line}" for line in head) + f"\n\n{choice.candidate.source.strip()}\n"


def name_of(tried: Try) -> str:
    """The name of the file in which a try is kept."""
    return f"{tried.place}.{'py' if tried.source is not None else 'txt'}"


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(brief(text, REASON), 117, break_long_words=True, subsequent_indent="  ")
