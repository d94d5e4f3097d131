"""Verdicts of the gates on a source: one vocabulary of codes, and the text that goes back to the coder.

Nothing here imports jax: a text that is refused unread is refused before jax is loaded.
"""

import hashlib
from typing import Any, NamedTuple

from qllm_jax.errors import UserError

OK = "OK"
CODES = {
    OK: "passed every gate",
    "EXTRACT": "the reply holds no function",
    "PARSE": "not Python, too long or too deep",
    "STATIC": "uses syntax or a name that is not allowed",
    "TRACE": "JAX cannot trace it",
    "RUNTIME": "Python raised an error in it",
    "SHAPE": "returns the wrong shape",
    "DTYPE": "returns the wrong type of number",
    "NONFINITE": "returns inf or nan",
    "NANGRAD": "its gradient is inf or nan",
    "OOB": "reads outside of an array",
    "BATCHLEAK": "a row depends on the other rows of its batch",
    "BSPECIAL": "depends on the size of the batch",
    "NONDET": "is not the same function each time",
    "ZEROGRAD": "an agent's Q-value never counts",
    "ZEROCREDIT": "gives no credit where the team is paid",
    "NONMONO": "a weight is negative while IGM is True",
    "NONLIN": "is not linear in the Q-values",
    "SCALE": "gives numbers that are too large or too small",
    "BUDGET": "takes too much time, memory or code",
}
MAX_FEEDBACK = 1500  # bytes
PROGRAM = "program_sha256"  # of a report: the digest of the traced program that was verified


class Location(NamedTuple):
    """Location that a message points to: a file's name and the line in it, or None where no line is to blame."""

    file: str
    line: int | None


class TfcafError(UserError):
    """A source that breaks the contract: the code, the location, the problem, and the hint what to do instead."""

    def __init__(self, code: str, location: Location, problem: str, hint: str):
        # Parts of a source stand in messages: a terminal must not obey what they hold.
        location, problem, hint = location._replace(file=printable(location.file)), printable(problem), printable(hint)
        # All arguments go to Exception, so that the error survives pickling.
        super().__init__(code, location, problem, hint)
        self.code = code
        self.location = location
        self.problem = problem
        self.hint = hint

    def __str__(self) -> str:
        line = "" if self.location.line is None else f":{self.location.line}"
        return f"{self.location.file}{line}: {self.problem}; {self.hint}"


class Verdict(NamedTuple):
    """The outcome of all gates for one source. A failure is a verdict of its own and never a score."""

    code: str  # a key of `CODES`
    layer: str  # of the gate that answered, "L0" to "L8"
    problem: str  # one sentence; "" when it passed
    line: int | None  # of the source
    hint: str  # what to do instead
    sha256: str  # of the source in UTF-8
    report: dict[str, Any]  # JSON: what was measured on the way

    @property
    def ok(self) -> bool:
        return self.code == OK

    def feedback(self) -> str:
        """Return the text for the coder: code, sentence, the line, what to do. At most `MAX_FEEDBACK` bytes."""
        notes = [f"Note: {note}" for note in self.report.get("notes", ())]
        if self.ok:
            lines = ["OK: the function passed every check.", *notes]
        else:
            text = str(self.report.get("line_text", "")).strip()
            where = [f"Line {self.line}: {text[:200]}"] if self.line is not None else []
            lines = [f"{self.code} ({CODES[self.code]}): {self.problem}", *where, f"What to do: {self.hint}"]
        return "\n".join(lines).encode()[:MAX_FEEDBACK].decode(errors="ignore")


# Letters that leave no mark and count as printable: joiners, fillers, selectors of variants. Not U+FE0F, which follows
# many a sign that is meant to be read.
BLANK = frozenset(
    chr(code)
    for low, high in (
        (0x034F, 0x034F), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F), (0x3164, 0x3164), (0xFE00, 0xFE0E),
        (0xFFA0, 0xFFA0), (0xE0100, 0xE01EF),
    )
    for code in range(low, high + 1)
)  # fmt: skip


def printable(text: str, kept: str = "") -> str:
    """Return a text with escapes in place of what cannot be seen, such as sequences of terminals, but for `kept`."""
    seen = lambda c: c in kept or (c.isprintable() and c not in BLANK)
    return "".join(c if seen(c) else c.encode("unicode_escape").decode() for c in text)


def sha256(source: str) -> str:
    """Return the SHA-256 of a source, also of text that is not UTF-8."""
    return hashlib.sha256(source.encode(errors="surrogatepass")).hexdigest()


def refusal(error: TfcafError, layer: str, source: str, report: dict[str, Any]) -> Verdict:
    """Return the verdict for `error` in `source`."""
    line = error.location.line
    lines = source.split("\n")
    text = {}
    if line is not None and 0 < line <= len(lines):
        text["line_text"] = printable(lines[line - 1].rstrip("\r").replace("\t", "    "))
    return Verdict(error.code, layer, error.problem, line, error.hint, sha256(source), report | text)


def raise_unless_ok(verdict: Verdict, file: str) -> None:
    """Raise `TfcafError` with the sentence of a refusal."""
    if not verdict.ok:
        raise TfcafError(verdict.code, Location(file, verdict.line), verdict.problem, verdict.hint)
