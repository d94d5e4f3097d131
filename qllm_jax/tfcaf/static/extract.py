"""L0: the function in a reply, as models write them: reasoning, prose, several fences, JSON, web pages, nothing.

Nothing is parsed here as Python: the source is checked in a process of its own.
"""

import json
import re
import textwrap
from collections.abc import Iterator
from typing import Any

from qllm_jax.tfcaf.verdict import Location, TfcafError, Verdict, refusal

MAX_REPLY = 2**20  # characters

_ENTRY = re.compile(r"^[ \t]*def[ \t]+(credit|QLLMNetwork)\b", re.MULTILINE)
_DEFINITION = re.compile(r"^[ \t]*def[ \t]+\w+", re.MULTILINE)
_FENCE = re.compile(r"^[ \t]*(```+|~~~+)[ \t]*([\w+-]*)[^\n]*$", re.MULTILINE)
_REASONING_TAG = re.compile(r"<(/?)(?:think|thinking|reasoning)>", re.IGNORECASE)
_PAGE = re.compile(r"\s*(<!doctype html|<html|<\?xml)", re.IGNORECASE)
# How a line of a module begins that is not indented; prose after a function without a fence does not.
_CODE_LINE = re.compile(
    r"(def|import|from|if|for|return|async|class|@\w|#|\"\"\"|'''|[)\]}]|[A-Za-z_]\w*\s*(:\s*\w+\s*)?=)"
)

_FORM = "reply with one fenced block that begins with ```python and holds the whole function"


def extract(reply: Any, *, truncated: bool = False) -> str | Verdict:
    """Return the source in a reply, or an EXTRACT verdict. Never raises.

    `reply` is text, or a list of text parts as some providers give it, or None. `truncated`: the provider said that the
    reply was cut off.
    """
    try:
        return _extract(reply, truncated)
    except TfcafError as error:
        return refusal(error, "L0", reply if isinstance(reply, str) else "", {})


def split_reasoning(text: str) -> tuple[str, str, bool]:
    """Split a text with tags of reasoning: (reasoning, answer, True if it ends within its reasoning).

    Some servers drop the opening tag, so that all text before a closing tag is reasoning.
    """
    reasoning, answer, start, inside = [], [], 0, False
    for tag in _REASONING_TAG.finditer(text):
        part = text[start : tag.start()]
        if tag[1] and inside:
            reasoning.append(part)
        elif tag[1]:
            reasoning.append("".join([*answer, part]))
            answer = []
        elif inside:
            continue  # an opening tag within reasoning is part of it
        else:
            answer.append(part)
        start, inside = tag.end(), not tag[1]
    (reasoning if inside else answer).append(text[start:])
    return "\n".join(part.strip() for part in reasoning if part.strip()), "".join(answer), inside


def _extract(reply: Any, truncated: bool) -> str:
    text = _text(reply)
    if truncated:
        raise _error("the reply was cut off before its end", "write a shorter reply: the function and nothing else")
    if not text.strip():
        raise _error("the reply is empty", _FORM)
    if len(text) > MAX_REPLY:
        raise _error(f"the reply is longer than {MAX_REPLY} characters", _FORM)
    if _PAGE.match(text):
        raise _error(
            "the provider answered with a web page", "check the provider's address; this is no reply of a model"
        )
    _, answer, cut_off = split_reasoning(text)
    if cut_off and not _DEFINITION.search(answer):
        raise _error("the reply ends within its reasoning", "think less, and write the function")
    found = _pick(list(_fences(answer))) or _from_json(answer) or _plain(answer)
    if found is None:
        raise _error("the reply holds no function", _FORM)
    return textwrap.dedent(found).strip("\n") + "\n"


def _error(problem: str, hint: str) -> TfcafError:
    return TfcafError("EXTRACT", Location("reply", None), problem, hint)


def _text(reply: Any) -> str:
    """Return one text with \\n at line ends and without a byte-order mark."""
    if isinstance(reply, list):
        parts = [part.get("text") if isinstance(part, dict) else getattr(part, "text", part) for part in reply]
        reply = "\n".join(part for part in parts if isinstance(part, str))
    text = reply if isinstance(reply, str) else ""
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\ufeff", "")


def _fences(text: str) -> Iterator[str]:
    """Yield the contents of fenced blocks. A block that is never closed is a reply that was cut off."""
    opening: re.Match[str] | None = None
    for mark in _FENCE.finditer(text):
        if opening is None:
            opening = mark
        elif mark[1][:3] == opening[1][:3] and not mark[2]:
            yield text[opening.end() + 1 : mark.start()]
            opening = None
    if opening is not None and _DEFINITION.search(text, opening.end()):
        raise _error("a fenced block is never closed: the reply was cut off", "write a shorter reply")


def _pick(blocks: list[str]) -> str | None:
    """Return the last block that defines the function; else the last that defines any, which the gates will refuse."""
    for pattern in (_ENTRY, _DEFINITION):
        if fitting := [block for block in blocks if pattern.search(block)]:
            return fitting[-1]
    for block in reversed(blocks):
        if (found := _from_json(block)) is not None:
            return found
    return None


def _from_json(text: str) -> str | None:
    """Return the function in a reply that is JSON as a whole."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return None
    values = list(values.values()) if isinstance(values, dict) else values if isinstance(values, list) else [values]
    found = [value for value in values if isinstance(value, str) and _DEFINITION.search(value)]
    return (_pick(list(_fences(found[-1]))) or found[-1]) if found else None


def _plain(text: str) -> str | None:
    """Return a function without a fence: from the first line of code on, up to the prose after it."""
    entry = _ENTRY.search(text)
    if entry is None:
        return None
    lines = text.split("\n")
    at = text.count("\n", 0, entry.start() + len(entry[0]))
    first = at
    while first > 0 and (not lines[first - 1].strip() or _CODE_LINE.match(lines[first - 1])):
        first -= 1
    last = at + 1
    while last < len(lines) and (not lines[last].strip() or lines[last][0] in " \t" or _CODE_LINE.match(lines[last])):
        last += 1
    return "\n".join(lines[first:last])
