"""Fenced blocks of a reply, as models write them: fences in docstrings, closed on the last line of code, never closed.

Nothing is parsed here as Python. Tokens tell where a block ends: a file ends with no string and no bracket open.
"""

import io
import itertools
import re
import textwrap
import tokenize
from collections.abc import Iterator
from typing import NamedTuple

from qllm_jax.tfcaf.static.vocabulary import ENTRIES

ENTRY = re.compile(rf"^[ \t]*def[ \t]+({'|'.join(sorted(ENTRIES))})\b", re.MULTILINE)
DEFINITION = re.compile(r"^[ \t]*def[ \t]+\w+", re.MULTILINE)

MAX_CHARS = 2**15  # of a text that is split into tokens; a function has less
MAX_TRIES = 100  # at the end of a block, in one reply
MAX_ENDS = 20  # at the end of one block

_OPENING = re.compile(r"([ \t]*)(`{3,}|~{3,})([^`]*)")
_QUOTED = re.compile(r"^> ?(?=[ \t]*(?:```|~~~))", re.MULTILINE)
_HEREDOC = re.compile(r"<<-?[ \t]*['\"]?([A-Za-z_]\w*)['\"]?.*\n")
_LANGUAGES = ("```python", "```py", "```python3")
_BRACKETS = {")": "(", "]": "[", "}": "{"}
_NO_PYTHON = ("`", "$", "?")  # operators to the tokenizer from Python 3.12 on, error tokens before


class Block(NamedTuple):
    """Content of a fenced block."""

    text: str
    closed: bool  # False: the reply ends in it
    first: int = 0  # index of the line after its first fence
    last: int = 0  # index of the line of its last fence


class _End(NamedTuple):
    line: int  # index
    text: str  # of the block that ends here
    rank: int  # 0: the fence ends the block in Markdown; 1: it is indented too far; 2: it stands after code


def fenced(text: str) -> Iterator[Block]:
    """Yield the fenced blocks of a text.

    A block ends at the first fence of its kind, at least as long as its first one, before which it is complete; such
    a fence may stand after code on its line. A block that is complete nowhere ends as Markdown has it.
    """
    if _QUOTED.search(text):
        text = re.sub(r"^> ?", "", text, flags=re.MULTILINE)
    lines, tries, i = text.split("\n"), iter(range(MAX_TRIES)), 0
    while i < len(lines):
        mark = _opening(lines[i])
        i += 1
        if mark is not None:
            end = _end(lines, i, mark, tries)
            last = len(lines) if end is None else end.line
            yield Block(_content(lines[i:], mark[0]) if end is None else end.text, end is not None, i, last)
            i = last + 1


def heredocs(text: str) -> Iterator[str]:
    """Yield the files that the shell commands of a text write: `cat > FILE << EOF`. Shifts of Python are none."""
    for mark in itertools.islice(_HEREDOC.finditer(text), MAX_ENDS):
        stop = f"{text}\n".find(f"\n{mark[1]}\n", mark.end() - 1)
        if stop >= 0:
            yield text[mark.end() : stop + 1]


def is_complete(text: str) -> bool:
    """True if a text can be a whole file: strings and brackets are closed, and the function in it returns something."""
    if len(text) > MAX_CHARS:
        return False
    brackets, before = [], ""
    is_inside = returns = ENTRY.search(text) is None
    try:
        for token in tokenize.generate_tokens(io.StringIO(textwrap.dedent(text)).readline):
            word = token.string
            if token.type == tokenize.ERRORTOKEN or word in _NO_PYTHON:
                return False
            if word in ("(", "[", "{"):
                brackets.append(word)
            elif word in _BRACKETS and (not brackets or brackets.pop() != _BRACKETS[word]):
                return False
            is_inside = is_inside or (before == "def" and word in ENTRIES)
            returns = returns or (is_inside and word == "return")
            before = word
    except (tokenize.TokenError, SyntaxError, ValueError):
        return False
    return returns and not brackets


def _opening(line: str) -> tuple[int, str] | None:
    """Indentation and fence of a line that opens a block, None for any other. Prose may stand before ```python."""
    if mark := _OPENING.fullmatch(line):
        return len(mark[1]), mark[2]
    return (0, "```") if line.rstrip().endswith(_LANGUAGES) else None


def _end(lines: list[str], start: int, mark: tuple[int, str], tries: Iterator[int]) -> _End | None:
    """Return the end of the block whose first line has the index `start`, None if the reply ends first."""
    best: _End | None = None
    for number, end in enumerate(_ends(lines, start, *mark)):
        if best is None or end.rank < best.rank:
            best = end
        if number >= MAX_ENDS or next(tries, None) is None:
            break
        if is_complete(end.text):
            return end
    return best


def _ends(lines: list[str], start: int, indent: int, fence: str) -> Iterator[_End]:
    """Yield the fences that can close a block: alone on a line, or after the last code of one."""
    for i in range(start, len(lines)):
        line = lines[i].rstrip()
        code = line.rstrip(fence[0])
        if len(line) - len(code) >= len(fence) and fence not in code:
            is_bare = not code.strip()
            rank = (0 if len(code) <= indent + 3 else 1) if is_bare else 2
            yield _End(i, _content([*lines[start:i], *([] if is_bare else [code])], indent), rank)


def _content(lines: list[str], indent: int) -> str:
    """Return the text of a block without the indentation of its fence."""
    return "\n".join(line[min(indent, len(line) - len(line.lstrip(" \t"))) :] for line in lines)
