"""The text of a function that passed the gates: its IGM gate, its signature, and the file that is made of it.

Only verified text comes here: parsing it is safe, as a child process did so before under the same limits.
"""

import ast
import textwrap

from qllm_jax.generation.prompts import Hints
from qllm_jax.llm.records import Choice, Try
from qllm_jax.llm.replies import brief
from qllm_jax.tfcaf.static.vocabulary import ENTRIES, Signature

HEADER_BYTES = 4096  # the most that the header of a file takes
REASON, MODEL = 600, 100  # characters of a model's sentence and of its name in the header


def read_igm(source: str) -> bool:
    """The gate as the text sets it; True if it does not, as in the check."""
    value = _igm(ast.parse(source))
    return value is None or value.value is True


def write_igm(source: str, igm: bool) -> str:
    """The text with the gate set, and nothing else changed."""
    tree = ast.parse(source)
    value, lines = _igm(tree), source.split("\n")
    if value is None:
        entry = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name in ENTRIES)
        return "\n".join([*lines[: entry.lineno - 1], f"IGM = {igm}", "", "", *lines[entry.lineno - 1 :]])
    line = lines[value.lineno - 1].encode()
    lines[value.lineno - 1] = (line[: value.col_offset] + str(igm).encode() + line[value.end_col_offset :]).decode()
    return "\n".join(lines)


def signature(source: str) -> Signature:
    """Which of the two signatures the text has."""
    names = [node.name for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
    return next(ENTRIES[name] for name in names if name in ENTRIES)


def compose(choice: Choice, task: str, prompts_sha256: str, hints: Hints = "none") -> str:
    """The whole file: the function, headed by who wrote it, when, from which prompts, and why it was chosen.

    Nothing in it depends on when or where it is composed.
    """
    written = choice.candidate.last
    igm = read_igm(choice.candidate.source)
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


def _igm(tree: ast.Module) -> ast.Constant | None:
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == "IGM" for target in targets):
            value = getattr(node, "value", None)
            return value if isinstance(value, ast.Constant) else None
    return None


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(brief(text, REASON), 117, break_long_words=True, subsequent_indent="  ")
