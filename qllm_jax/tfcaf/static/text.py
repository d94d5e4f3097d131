"""L1: size and characters of a source, before anything parses it: what a reader sees is what runs."""

import re
import unicodedata

from qllm_jax.tfcaf.verdict import Location, TfcafError

MAX_BYTES = 16 * 1024
BYTE_ORDER_MARK = "\ufeff"

_PLAIN = frozenset("\t\n")
# Controls, format characters (of these above all the ones that turn the direction of reading) and line separators.
_UNSEEN = frozenset({"Cc", "Cf", "Zl", "Zp"})
_COOKIE = re.compile(r"[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")  # PEP 263; in the first two lines
_ENCODINGS = frozenset({"ascii", "us-ascii", "utf-8", "utf8", "utf-8-sig"})


def verify(text: str, file: str) -> None:
    """Raise `TfcafError` for a text that is too long, holds characters that nobody sees, or is no text at all."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        problem = "not Python: no text in UTF-8"
        raise TfcafError("PARSE", Location(file, None), problem, "write plain characters") from error
    verify_size(text, file)
    lines = text.removeprefix(BYTE_ORDER_MARK).replace("\r\n", "\n").split("\n")
    for number, line in enumerate(lines, 1):
        if problem := next((_unseen(letter) for letter in line if not letter.isprintable()), ""):
            raise TfcafError("PARSE", Location(file, number), f"not Python: {problem}", "write plain characters")
    for number, line in enumerate(lines[:2], 1):
        cookie = _COOKIE.match(line)
        if cookie and cookie[1].lower().replace("_", "-") not in _ENCODINGS:
            problem = f"not Python: its encoding is given as {cookie[1]}"
            raise TfcafError("PARSE", Location(file, number), problem, "leave that line out: sources are read as UTF-8")


def verify_size(text: str, file: str, limit: int = MAX_BYTES) -> None:
    """Raise `TfcafError` for a text of more than `limit` bytes."""
    if len(text.encode(errors="replace")) > limit:
        problem = f"longer than {limit // 1024} KiB"
        raise TfcafError("STATIC", Location(file, None), problem, "write a shorter function")


def _unseen(letter: str) -> str:
    """Return the reason for which a character that cannot be printed is refused, or ""."""
    if letter in _PLAIN or unicodedata.category(letter) not in _UNSEEN:
        return ""
    if letter == "\0":
        return "holds a NUL character"
    if letter == "\r":
        return "holds a lone carriage return, which ends a line that editors show as one"
    return f"holds the character U+{ord(letter):04X}, which cannot be seen"
