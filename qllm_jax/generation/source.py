"""The source of a verified function: its signature, and the file with its header.

Parsing it is safe: a child process has parsed the same text under limits.
"""

import ast
import textwrap

from qllm_jax.generation.prompts import Hints
from qllm_jax.generation.types import Choice
from qllm_jax.llm.replies import brief
from qllm_jax.tfcaf.static import igm as gate
from qllm_jax.tfcaf.static.vocabulary import SIGNATURES, Kind, Signature

HEADER_BYTES = 4096  # at most, of a file
REASON_CHARS, MODEL_CHARS = 600, 100  # in the header, of a model's sentence and of its name


def signature(source: str) -> Signature:
    """The signature of the source."""
    functions = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
    defined = [(node.name, len(node.args.args)) for node in functions]
    return next(SIGNATURES[each] for each in defined if each in SIGNATURES)


HEADS: dict[Kind, str] = {
    "value": "A credit function (TFCAF) for {}, written by a language model.",
    "reward": "Reward credit for {}, written by a language model.",
    "task": "Tasks of agents for {}, written by a language model.",
}


def compose(choice: Choice, task: str, prompts_sha256: str, hints: Hints = "none", kind: Kind = "value") -> str:
    """Compose the whole file: the function after a header with author, date, prompts and the reasons of the choice.

    It depends on the arguments alone: the same choice gives the same bytes at any time and on any machine.
    """
    written = choice.candidate.last
    igm = gate.read(choice.candidate.source)
    with_hints = "" if hints == "none" else f", with hints={hints}"
    head = [
        HEADS[kind].format(task),
        f"Model: {brief(written.reply.model, MODEL_CHARS)}",
        f"Date: {written.reply.date}, {written.id} of qllm_jax.generate.",
        f"Prompts: sha256 {prompts_sha256}{with_hints}.",
        *_wrapped(f"Chosen by {choice.by}: {choice.reason}"),
    ]
    if kind == "value":
        set_by = choice.note or choice.igm_reason or "as its author set it"
        head += _wrapped(f"IGM {'on' if igm else 'off'}: {set_by}")
    return "\n".join(f"# {line}" for line in head) + f"\n\n{choice.candidate.source.strip()}\n"


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(brief(text, REASON_CHARS), 117, break_long_words=True, subsequent_indent="  ")
