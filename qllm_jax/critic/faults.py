"""Labels of requests that got no reply, from the sentences with which the client describes them."""

from collections.abc import Sequence

TIMEOUT, LOST, BUSY, REFUSED, BAD_REPLY, OTHER = "timeout", "no_connection", "busy", "refused", "bad_reply", "other"

# The first that occurs in a sentence gives the label. Sentences are those of llm/providers and llm/replies.
_PHRASES = (
    ("no answer within", TIMEOUT),
    ("no connection", LOST),
    ("connection can be set up", LOST),
    ("busy or broken", BUSY),
    ("refuses", REFUSED),
    ("out of credit", REFUSED),
    ("no such model", REFUSED),
    ("redirects", REFUSED),
    ("the answer", BAD_REPLY),
    ("the server", BAD_REPLY),
)


def label(problems: Sequence[str]) -> str:
    """Return the label of the last of a request's failures."""
    last = problems[-1] if problems else ""
    return next((label for phrase, label in _PHRASES if phrase in last), OTHER)
