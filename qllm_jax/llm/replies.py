"""Parse the body of a chat completion into a `Reply`, across the variants of the protocol.

Seen: reasoning in `reasoning_content` (DeepSeek, llama.cpp) or `reasoning` (vLLM, OpenRouter), content as a
list of typed chunks (Mistral), `<think>` tags in the content (local models), content None, a body with `error` and
status 200, a web page with status 200, no usage, blank lines before the JSON (DeepSeek under load), the answer in the
arguments of tools that nobody offered.
"""

import json
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from qllm_jax.llm.types import NoAnswerError, Reply, Usage
from qllm_jax.tfcaf.static.extract import TRAILING_COMMA, split_reasoning

MAX_TOKENS = 10**9  # of one reply, as a server counts them
NAME_CHARS = 200  # kept of a name that a server gives
BROKEN = ("error", "abort", "aborted", "cancelled", "canceled")  # reasons to stop that leave no whole answer
LASTING = ("400", "401", "402", "403", "404")  # codes of errors that a retry does not change
_YEAR_2020, _YEAR_2100 = 1577836800, 4102444800


def parse(body: str, model: str) -> Reply:
    """Parse the reply in `body`. Raise a transient `NoAnswerError` if it has none: a proxy may answer for a server."""
    try:
        return _parse(body, model)
    except RecursionError:
        raise NoAnswerError(f"the answer is nested too deep: {brief(body, 100)!r}", transient=True) from None


def _parse(body: str, model: str) -> Reply:
    if body.lstrip().startswith("data:"):
        raise NoAnswerError("the server streams its answer, which was not asked for: turn that off", transient=True)
    try:
        data = json.loads(body.lstrip("\ufeff"), parse_int=bounded_int)
    except ValueError:
        raise NoAnswerError(f"the answer is not JSON but {brief(body)!r}: is base_url right?", transient=True) from None
    if not isinstance(data, dict):
        raise NoAnswerError(f"the answer is no chat completion but {brief(body)!r}", transient=True)
    choice = _choice(data, body)
    message = choice["message"]
    text, reasoning = _content(message.get("content"))
    inline, text, _ = split_reasoning(text)
    calls = "\n\n".join(_arguments(message))
    fields = [_text(message.get(key)) for key in ("reasoning_content", "reasoning")]
    return Reply(
        text=_clean("\n\n".join(part for part in (text.strip(), calls) if part) or _text(message.get("refusal"))),
        reasoning=_clean("\n".join(part for part in (*dict.fromkeys(fields), reasoning, inline) if part)),
        finish=brief(_str(choice.get("finish_reason")) or "", NAME_CHARS) or None,
        usage=_usage(data.get("usage")),
        model=brief(_clean(_str(data.get("model")) or ""), NAME_CHARS) or model,
        date=date(data.get("created")),
    )


def _choice(data: dict[str, Any], body: str) -> dict[str, Any]:
    """Return the first choice with an answer in its message, else the first one with a message.

    Raise `NoAnswerError` if there is none, and for an error beside an answer that it broke off (OpenRouter).
    """
    choices = data.get("choices")
    choices = [choice for choice in choices if isinstance(choice, dict)] if isinstance(choices, list) else []
    for error in (data.get("error"), *(choice.get("error") for choice in choices)):
        if error:
            lasting = isinstance(error, dict) and str(error.get("code")) in LASTING
            problem = f"the answer has no message but {brief(json.dumps(error))!r}"
            raise NoAnswerError(problem, transient=not lasting, usage=_usage(data.get("usage")))
    choices = [choice for choice in choices if isinstance(choice.get("message"), dict)]
    if not choices:
        raise NoAnswerError(f"the answer has no message but {brief(body)!r}", transient=True)
    choice = next((choice for choice in choices if choice["message"].get("content")), choices[0])
    if (finish := _str(choice.get("finish_reason")) or "").lower() in BROKEN:
        raise NoAnswerError(
            f"the server broke the answer off: {finish}", transient=True, usage=_usage(data.get("usage"))
        )
    return choice


def json_objects(text: str) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects in a text, in order."""
    decoder, start = json.JSONDecoder(strict=False, parse_int=bounded_int), text.find("{")
    while start >= 0:
        end = start + 1
        with suppress(ValueError, RecursionError):
            item, end = decoder.raw_decode(text, start)
            yield item
        start = text.find("{", end)


def last_object(text: str, key: str) -> dict[str, Any] | None:
    """The last JSON object of a text that has `key`, itself or else one level down; None if there is none.

    As models write them: also with the constants of Python, and with commas before a closing bracket.
    """
    for words in (text, _as_json(text)):
        found = list(json_objects(words))
        inner = [value for item in found for value in item.values() if isinstance(value, dict)]
        for items in (found, inner):
            if having := [item for item in items if key in item]:
                return having[-1]
    return None


def no_object(text: str, key: str) -> str:
    """The sentence for a text in which `last_object` finds none: whether the key is there, in what is no JSON."""
    if f'"{key}"' in text or f"'{key}'" in text:
        return f'the object with the key "{key}" is no valid JSON: use double quotes, plain numbers and no comments'
    return f'there is no JSON object with the key "{key}"'


def _as_json(text: str) -> str:
    """Text with Python's names of constants as JSON has them, and without commas before a closing bracket."""
    for python, in_json in (("True", "true"), ("False", "false"), ("None", "null")):
        text = re.sub(rf":\s*{python}\b", f": {in_json}", text)
    return TRAILING_COMMA.sub("", text)


def bounded_int(text: str) -> int | None:
    """Return the number in a literal of JSON, None for one so long that Python or a budget cannot compute with it."""
    return int(text) if len(text) < 20 else None


def brief(text: str, limit: int = 300) -> str:
    """Return the start of an untrusted text on one line, without control characters, which a terminal would obey."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text[: 8 * limit]).split())
    cut = line[:limit]
    return line if len(line) <= limit else (cut.rpartition(" ")[0] or cut) + " ..."


def date(created: Any = None) -> str:
    """Return the day (UTC) of a Unix time, or today if `created` is no plausible time."""
    is_time = isinstance(created, (int, float)) and _YEAR_2020 <= created < _YEAR_2100  # NaN is in no range
    return time.strftime("%Y-%m-%d", time.gmtime(created if is_time else None))


def _content(content: Any) -> tuple[str, str]:
    """Split a message's content into text and reasoning. It is a string, or a list with chunks of both."""
    if not isinstance(content, list):
        return _text(content), ""
    text, thoughts = [], []
    for chunk in (chunk if isinstance(chunk, dict) else {"text": chunk} for chunk in content):
        is_thought = chunk.get("type") in ("thinking", "reasoning")
        keys = ("thinking", "text") if is_thought else ("text", "refusal")
        (thoughts if is_thought else text).append("".join(_text(chunk.get(key)) for key in keys))
    return "".join(text), "".join(thoughts)


def _text(value: Any) -> str:
    """Text of a value that is a string, or that holds strings under `text`; "" for anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return _text(value.get("text"))
    return "".join(map(_text, value)) if isinstance(value, list) else ""


def _arguments(message: dict[str, Any]) -> Iterator[str]:
    """Yield what a model gave to tools that nobody offered: some write their whole answer there."""
    calls = message.get("tool_calls")
    calls = calls if isinstance(calls, list) else []
    functions = [call.get("function") or call.get("custom") for call in calls if isinstance(call, dict)]
    for function in (*functions, message.get("function_call")):
        given = (function.get("arguments") or function.get("input")) if isinstance(function, dict) else None
        if given and (text := given if isinstance(given, str) else json.dumps(given)).strip():
            yield text.strip()


def _usage(usage: Any) -> Usage:
    """Tokens of a reply. Where the numbers of a server disagree, the larger count."""
    usage = usage if isinstance(usage, dict) else {}
    details = [usage.get(f"{part}_tokens_details") for part in ("completion", "prompt")]
    of_completion, of_prompt = (part if isinstance(part, dict) else {} for part in details)
    reasoning, cached = _count(of_completion.get("reasoning_tokens")), _count(of_prompt.get("cached_tokens"))
    cached = _count(usage.get("prompt_cache_hit_tokens")) if cached is None else cached  # DeepSeek
    prompt = _larger(_count(usage.get("prompt_tokens")), cached)
    completion = _larger(_count(usage.get("completion_tokens")), reasoning)
    total = _count(usage.get("total_tokens"))
    if total is not None and prompt is not None:  # tokens of hidden reasoning are in the total alone
        completion = max(completion or 0, reasoning or 0, total - prompt)
    elif total is not None and completion is not None:
        prompt = max(total - completion, cached or 0)
    return Usage(prompt, completion, reasoning, cached, total if prompt is None else None)


def _larger(count: int | None, part: int | None) -> int | None:
    """Return a count, at least a part of it; unknown where it is, as a part says nothing of the rest."""
    return count if count is None or part is None else max(count, part)


def _count(value: Any) -> int | None:
    """Number of tokens, None for what can be none: no reply has 10^9."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return int(value) if is_number and 0 <= value <= MAX_TOKENS and value == int(value) else None


def _str(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _clean(text: str) -> str:
    """Remove NUL and replace lone surrogates: JSON can hold them and text files cannot."""
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "")
