"""L1: size and characters of a source, before anything parses it: what a reader sees is what runs."""

import re
import unicodedata

from qllm_jax.tfcaf.verdict import BLANK, Location, TfcafError

MAX_BYTES = 16 * 1024
BYTE_ORDER_MARK = "\ufeff"

_PLAIN = frozenset("\t\n")
# Controls, format characters (of these above all the ones that turn the direction of reading) and line separators.
_UNSEEN = frozenset({"Cc", "Cf", "Zl", "Zp"})
FAR = 100  # spaces or empty lines in a row, which push what follows out of sight
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
        if problem := next((found for letter in line if (found := _unseen(letter))), ""):
            raise TfcafError("PARSE", Location(file, number), f"not Python: {problem}", "write plain characters")
    _verify_sight(lines, file)
    for number, line in enumerate(lines[:2], 1):
        cookie = _COOKIE.match(line)
        if cookie and cookie[1].lower().replace("_", "-") not in _ENCODINGS:
            problem = f"not Python: its encoding is given as {cookie[1]}"
            raise TfcafError("PARSE", Location(file, number), problem, "leave that line out: sources are read as UTF-8")


def _verify_sight(lines: list[str], file: str) -> None:
    """Raise `TfcafError` for what stands far to the right of the rest of its line, or far below the line before it."""
    empty = 0
    for number, line in enumerate(lines, 1):
        shown = line.rstrip().expandtabs(8)
        if " " * FAR in shown or (empty >= FAR and shown):
            problem = f"{FAR} spaces or empty lines push this line's text out of sight"
            raise TfcafError("PARSE", Location(file, number), problem, "leave them out")
        empty = 0 if shown else empty + 1


def verify_size(text: str, file: str, limit: int = MAX_BYTES) -> None:
    """Raise `TfcafError` for a text of more than `limit` bytes."""
    if len(text.encode(errors="replace")) > limit:
        problem = f"longer than {limit // 1024} KiB"
        raise TfcafError("STATIC", Location(file, None), problem, "write a shorter function")


def _unseen(letter: str) -> str:
    """Return the reason for which a character is refused, or ""."""
    if letter in _PLAIN or (letter not in BLANK and unicodedata.category(letter) not in _UNSEEN):
        return ""
    if letter == "\0":
        return "holds a NUL character"
    if letter == "\r":
        return "holds a lone carriage return, which ends a line that editors show as one"
    return f"holds the character U+{ord(letter):04X}, which cannot be seen"
