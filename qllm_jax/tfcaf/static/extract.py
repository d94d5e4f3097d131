"""L0: the function in a reply, as models write them: reasoning, prose, several fences, JSON, web pages, nothing.

Nothing is parsed here as Python: the source is checked in a process of its own.
"""

import itertools
import json
import re
import textwrap
from collections.abc import Iterator
from typing import Any

from qllm_jax.tfcaf.static import blocks
from qllm_jax.tfcaf.static.blocks import DEFINITION, ENTRY
from qllm_jax.tfcaf.verdict import Location, TfcafError, Verdict, refusal

MAX_REPLY = 2**20  # characters
MAX_JSON_DEPTH = 3  # of JSON in a string of JSON
MAX_JSON = 200  # brackets of one text at which JSON is sought
MAX_ODD = 20  # blocks of one reply that hold tags of reasoning, or more than code
MAX_TRAILING = 5  # lines after a function that may end what it stands in
MAX_SOURCES = 3  # of one reply, that are tried

# Tags of open models, and the channels of gpt-oss, of which the last one is the answer.
_REASONING_TAG = re.compile(
    r"<(?:seed:)?(?:think|thinking|thought|reasoning)>|\u25c1think\u25b7|(?-i:\[THINK\])|<\|begin_of_thought\|>"
    r"|<\|channel\|>(?:analysis|commentary)<\|message\|>"
    r"|(?P<closing></(?:seed:)?(?:think|thinking|thought|reasoning)>|\u25c1/think\u25b7|(?-i:\[/THINK\])"
    r"|<\|end_of_thought\|>|<\|channel\|>final<\|message\|>)",
    re.IGNORECASE,
)
_TOKEN_AFTER_FENCE = re.compile(r"^([ \t]*(?:`{3,}|~{3,}))[ \t]*<\|.*$", re.MULTILINE)  # such as <|im_end|>
TRAILING_COMMA = re.compile(r",\s*(?=[}\]])")
_PAGE = re.compile(r"\s*(<!doctype html|<html|<\?xml)", re.IGNORECASE)
_JSON_START = re.compile(r"[{\[]")
# How a line of a module begins that is not indented; prose after a function without a fence does not.
_CODE_LINE = re.compile(
    r"(def|import|from|if|for|return|async|class|@\w|#|\"\"\"|'''|[)\]}]|[A-Za-z_]\w*\s*(:\s*\w+\s*)?=)"
)

_FORM = "reply with one fenced block that begins with ```python and holds the whole function"


def sources(reply: str, *, truncated: bool = False) -> list[str] | Verdict:
    """Return the sources in a reply, at most `MAX_SOURCES`, the likeliest one first, or an EXTRACT verdict.

    Never raises. `truncated`: the provider said that the reply was cut off.
    """
    try:
        found = _sources(reply, truncated)
    except TfcafError as error:
        return refusal(error, "L0", reply, {})
    return [textwrap.dedent(text).strip("\n") + "\n" for text in found[:MAX_SOURCES]]


def split_reasoning(text: str) -> tuple[str, str, bool]:
    """Split a text with tags of reasoning: (reasoning, answer, True if it ends within its reasoning).

    Some servers drop the opening tag, so that all text before a closing tag is reasoning. A tag in a string or a
    comment of a complete block of code is text, and so is one between backticks.
    """
    reasoning, answer, start, inside = [], [], 0, False
    quoted = _quoted(text) if _REASONING_TAG.search(text) else []
    for tag in _REASONING_TAG.finditer(text):
        if inside and not tag["closing"]:
            continue  # an opening tag within reasoning is part of it
        if any(first <= tag.start() < stop for first, stop in quoted) or _is_inline_code(text, tag):
            continue
        part = text[start : tag.start()]
        if inside:
            reasoning.append(part)
        elif tag["closing"]:
            reasoning.append("".join([*answer, part]))
            answer = []
        else:
            answer.append(part)
        start, inside = tag.end(), not tag["closing"]
    (reasoning if inside else answer).append(text[start:])
    return "\n".join(part.strip() for part in reasoning if part.strip()), "".join(answer), inside


def _is_inline_code(text: str, tag: re.Match[str]) -> bool:
    """True for a tag between backticks: prose about the tag."""
    return text[max(tag.start() - 1, 0) : tag.start()] == "`" == text[tag.end() : tag.end() + 1]


def _quoted(text: str) -> list[tuple[int, int]]:
    """Return the spans (start, stop) of complete blocks that hold tags, and these in strings and comments alone."""
    if len(text) > MAX_REPLY:
        return []
    starts, spans = [0, *itertools.accumulate(len(line) + 1 for line in text.split("\n"))], []
    tagged = (block for block in blocks.fenced(text) if block.closed and _REASONING_TAG.search(block.text))
    for block in itertools.islice(tagged, MAX_ODD):
        masked = _REASONING_TAG.sub("$", block.text)  # a sign that Python has in strings and comments alone
        if ENTRY.search(masked) and blocks.is_complete(masked):
            spans.append((starts[block.first], starts[block.last]))
    return spans


def _sources(reply: str, truncated: bool) -> list[str]:
    text = reply.replace("\r\n", "\n").replace("\r", "\n").replace("\ufeff", "")  # a byte-order mark
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
    answer = _TOKEN_AFTER_FENCE.sub(r"\1", answer)
    if cut_off and not DEFINITION.search(answer):
        raise _error("the reply ends within its reasoning", "think less, and write the function")
    return _rank(answer)


def _rank(answer: str) -> list[str]:
    """Return the sources in an answer: whole ones that define the function, the last first, or else what is closest.

    A block that the gates will refuse still says more to the coder than that there is none.
    """
    found = list(blocks.fenced(answer))
    closed = [block.text for block in found if block.closed]
    closed = [inner.text for text in closed for inner in (*blocks.fenced(text), blocks.Block(text, True))]
    rest = [part for block in found if not block.closed and (part := _plain(block.text)) is not None]
    closed = [part for text in closed for part in (list(filter(ENTRY.search, blocks.heredocs(text))) or [text])]
    in_json = [source for text in (answer, *closed) for source in _from_json(text)]
    if not in_json and _JSON_START.search(answer):
        in_json = [source for text in (answer, *closed) for source in _from_json(TRAILING_COMMA.sub("", text))]
    rest += [part for text in closed[-MAX_ODD:] if (part := _plain(text)) is not None and not blocks.is_complete(text)]
    texts = [*in_json, *rest, *closed]
    whole = [text for text in reversed(texts) if ENTRY.search(text) and blocks.is_complete(text)]
    if whole:
        return list(dict.fromkeys(whole))
    if any(not block.closed and DEFINITION.search(block.text) for block in found):
        raise _error("a fenced block is never closed: the reply was cut off", "write a shorter reply")
    for pattern in (ENTRY, DEFINITION):
        if fitting := [text for text in reversed([*in_json, *closed]) if pattern.search(text)]:
            return fitting[:1]
    if (plain := _plain(answer)) is not None:
        return [plain]
    raise _error("the reply holds no function", _FORM)


def _error(problem: str, hint: str) -> TfcafError:
    return TfcafError("EXTRACT", Location("reply", None), problem, hint)


def _from_json(text: str, depth: int = 0) -> Iterator[str]:
    """Yield the functions in the JSON of a text: in strings at any depth, fenced or not, and in lists of lines."""
    if "def" not in text or depth > MAX_JSON_DEPTH:
        return
    for string in _strings(_json_values(text)):
        yield from _from_json(string, depth + 1)
        if "\n" not in string:
            string = string.replace("\\n", "\n").replace('\\"', '"')  # escaped twice
        inner = [block.text for block in blocks.fenced(string) if ENTRY.search(block.text)]
        if inner or DEFINITION.search(string):
            yield from inner or [string]


def _json_values(text: str) -> list[Any]:
    """Return the JSON values in a text: the whole of it, or else the objects and lists in it."""
    decoder = json.JSONDecoder(strict=False, parse_int=str, parse_float=str)  # models write line breaks as they are
    values, start = [], _JSON_START.search(text)
    for _ in range(MAX_JSON):
        if start is None:
            break
        try:
            value, end = decoder.raw_decode(text, start.start())
            values.append(value)
        except (ValueError, RecursionError):
            end = start.end()
        start = _JSON_START.search(text, end)
    return values


def _strings(values: list[Any]) -> Iterator[str]:
    """Yield the strings in JSON values, and the text of each list of lines, in order."""
    stack = list(reversed(values))
    while stack:  # without recursion, since the depth is in doubt
        value = stack.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, list) and value and all(isinstance(item, str) for item in value):
            lines = [line.removesuffix("\n") for line in value]
            yield from ["\n".join(lines)] if not any("\n" in line for line in lines) else value
        elif isinstance(value, (list, dict)):
            stack += reversed(list(value.values()) if isinstance(value, dict) else value)


def _plain(text: str) -> str | None:
    """Return a function without a fence: from the first line of code on, up to the prose after it."""
    entry = ENTRY.search(text)
    if entry is None:
        return None
    indent = entry[0][: len(entry[0]) - len(entry[0].lstrip())]
    at = text.count("\n", 0, entry.start() + len(entry[0]))
    lines = [line.removeprefix(indent) for line in text.split("\n")]
    first = at
    while first > 0 and (not lines[first - 1].strip() or _CODE_LINE.match(lines[first - 1])):
        first -= 1
    last = at + 1
    while last < len(lines) and (not lines[last].strip() or lines[last][0] in " \t" or _CODE_LINE.match(lines[last])):
        last += 1
    end = last  # without the end of what the code stands in, such as CDATA
    while last - end < MAX_TRAILING and end > at + 1 and lines[end - 1][:1] in (*")]}'\"", ""):
        if blocks.is_complete("\n".join(lines[first:end])):
            return "\n".join(lines[first:end])
        end -= 1
    return "\n".join(lines[first : end if blocks.is_complete("\n".join(lines[first:end])) else last])
