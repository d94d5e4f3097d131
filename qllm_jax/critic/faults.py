"""Labels of requests that got no reply, from the sentences with which the client describes them."""

import re

TIMEOUT, LOST, BUSY, REFUSED, BAD_REPLY = "timeout", "no_connection", "busy", "refused", "bad_reply"
NOT_STORED, OTHER = "not_in_transcript", "other"

# The first that occurs in a sentence gives the label. Sentences are those of llm/providers and llm/replies.
_PHRASES = (
    ("the transcript has no answer", NOT_STORED),
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


# What follows in a sentence is the server's text, in which any phrase may occur.
_QUOTED = re.compile(r" \(HTTP | but ['\"]")


def label(problem: str) -> str:
    """Return the label of the last failure of a request."""
    own = _QUOTED.split(problem, maxsplit=1)[0]
    return next((label for phrase, label in _PHRASES if phrase in own), OTHER)
