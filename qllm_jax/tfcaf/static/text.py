"""L1: size and characters of a source, before anything parses it."""

from qllm_jax.tfcaf.verdict import Location, TfcafError

MAX_BYTES = 16 * 1024


def verify(text: str, file: str) -> None:
    """Raise `TfcafError` for a text that is too long, or no text at all."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        problem = "not Python: no text in UTF-8"
        raise TfcafError("PARSE", Location(file, None), problem, "write plain characters") from error
    verify_size(text, file)
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise TfcafError("PARSE", Location(file, line), "not Python: holds a NUL character", "write plain characters")


def verify_size(text: str, file: str, limit: int = MAX_BYTES) -> None:
    """Raise `TfcafError` for a text of more than `limit` bytes."""
    if len(text.encode(errors="replace")) > limit:
        problem = f"longer than {limit // 1024} KiB"
        raise TfcafError("STATIC", Location(file, None), problem, "write a shorter function")
