"""Parse the body of a chat completion into a `Reply`, across the variants of the protocol.

Seen: reasoning in `reasoning_content` (DeepSeek, llama.cpp) or `reasoning` (vLLM, OpenRouter), content as a
list of typed chunks (Mistral), `<think>` tags in the content (local models), content None, a body with `error` and
status 200, a web page with status 200, no usage, blank lines before the JSON (DeepSeek under load).
"""

import json
import time
from typing import Any

from qllm_jax.llm.types import NoAnswerError, Reply, Usage
from qllm_jax.tfcaf.static.extract import split_reasoning

_YEAR_2020, _YEAR_2100 = 1577836800, 4102444800


def parse(body: str, model: str) -> Reply:
    """Parse the reply in `body`. Raise a transient `NoAnswerError` if it has none: a proxy may answer for a server."""
    try:
        data = json.loads(body.lstrip("\ufeff"))
    except ValueError:
        raise NoAnswerError(f"the answer is not JSON but {brief(body)!r}: is base_url right?", transient=True) from None
    if not isinstance(data, dict):
        raise NoAnswerError(f"the answer is no chat completion but {brief(body)!r}", transient=True)
    choices = data.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    message = first.get("message") if isinstance(first, dict) else None
    if not (isinstance(first, dict) and isinstance(message, dict)):
        raise NoAnswerError(
            f"the answer has no message but {brief(json.dumps(data.get('error', data)))!r}", transient=True
        )
    text, reasoning = _content(message.get("content"))
    inline, text, _ = split_reasoning(text)
    fields = [_text(message.get(key)) for key in ("reasoning_content", "reasoning")]
    return Reply(
        text=_clean(text.strip() or _text(message.get("refusal"))),
        reasoning=_clean("\n".join(part for part in (*dict.fromkeys(fields), reasoning, inline) if part)),
        finish=_str(first.get("finish_reason")),
        usage=_usage(data.get("usage")),
        model=_clean(_str(data.get("model")) or model),
        date=date(data.get("created")),
    )


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
    chunks = [chunk if isinstance(chunk, dict) else {"type": "text", "text": chunk} for chunk in content]
    text = [_text(chunk.get("text")) for chunk in chunks if chunk.get("type") == "text"]
    thoughts = [_text(chunk.get("thinking")) for chunk in chunks if chunk.get("type") == "thinking"]
    return "".join(text), "".join(thoughts)


def _text(value: Any) -> str:
    """Text of a value that is a string, or that holds strings under `text`; "" for anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return _text(value.get("text"))
    return "".join(map(_text, value)) if isinstance(value, list) else ""


def _usage(usage: Any) -> Usage:
    usage = usage if isinstance(usage, dict) else {}
    completion, prompt = usage.get("completion_tokens_details"), usage.get("prompt_tokens_details")
    hit = usage.get("prompt_cache_hit_tokens")  # DeepSeek
    return Usage(
        prompt=_count(usage.get("prompt_tokens")),
        completion=_count(usage.get("completion_tokens")),
        reasoning=_count(completion.get("reasoning_tokens")) if isinstance(completion, dict) else None,
        cached=_count(prompt.get("cached_tokens")) if isinstance(prompt, dict) else _count(hit),
    )


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _str(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _clean(text: str) -> str:
    """Remove NUL and replace lone surrogates: JSON can hold them and text files cannot."""
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "")
