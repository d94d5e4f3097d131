"""The evaluator: it chooses one candidate, advises the coder, and decides the IGM gate (Eq. 6; the gate is QLLM v1's).

Selection is a function `Pool -> Choice`; `by_rule` and `newest` need no model.
"""

import re
from collections.abc import Mapping
from typing import Any

from qllm_jax.generation.measurements import measurements
from qllm_jax.generation.prompts import Prompts, fenced
from qllm_jax.generation.types import INCUMBENT, Candidate, Choice, Pool, RequestId, Select, Trials
from qllm_jax.llm.client import Client, ask
from qllm_jax.llm.replies import brief, last_object, no_object
from qllm_jax.llm.types import RefusedRequestError, Request

ATTEMPTS = 2  # at a usable answer, before the rule decides
REASON_CHARS = 2000  # kept of a reason, and of an advice
PARSED_CHARS = 20_000  # at the end of an answer, in which the JSON object is sought
LINE_CHARS = 1000  # of a sentence on a function
SHOWN_CHARS = 100  # of a value that is no choice
QUOTED_CHARS = 8000  # of an unusable answer that the evaluator gets to see again


def make(client: Client, prompts: Prompts, rounds: int, trials: Trials | None = None) -> Select:
    """Make the selection by the evaluator, who sees the short trainings of `trials` if there are any.

    Without a usable answer of the evaluator, the short trainings decide, or else a rule.
    """
    by = "the evaluator" + (", who saw short trainings" if trials else "")

    def select(pool: Pool) -> Choice:
        shown = pool.by_number()
        trained = trials.lines(pool) if trials else {}
        candidates = "\n\n".join(_candidate(number, shown, trained.get(number, [])) for number in shown)
        given = {"round": str(pool.round), "rounds": str(rounds), "candidates": candidates}
        question = user = prompts.message("evaluator_choose", **given)
        problem = ""
        for attempt in range(ATTEMPTS):
            request = Request(RequestId(pool.round, "evaluator", 0, attempt), prompts.evaluator, user)
            try:
                reply = ask(client, request)
            except RefusedRequestError as refused:  # too many functions for its context, for example
                problem = str(refused)
                break
            answer = reply.text
            choice, problem = parse(answer, shown)
            if choice is None and reply.is_cut_off:
                problem = f"the answer was cut off at a limit on tokens; {problem}"
            if choice is not None:
                return choice._replace(by=by)
            client.log(f"{request.id}: {problem}")
            quoted = answer[:QUOTED_CHARS] or "nothing"
            user = prompts.message("evaluator_again", question=question, answer=quoted, problem=problem)
        chosen = (trials.best if trials else by_rule)(pool)
        return chosen._replace(reason=f"{chosen.reason}, as the evaluator gave no usable answer ({problem})")

    return select


def by_rule(pool: Pool) -> Choice:
    """Choose without a model: the best of earlier rounds, or else the new candidate with the fewest repairs."""
    if pool.incumbent is not None:
        return Choice(pool.incumbent, "rule", "kept from an earlier round")
    return newest(pool)


def newest(pool: Pool) -> Choice:
    """Choose without a model (`evaluator=off`): the new candidate with the fewest repairs replaces the one before."""
    candidate = min(pool.new, key=lambda candidate: (len(candidate.attempts), candidate.number))
    return Choice(candidate, "rule", "the first of this round's functions with the fewest repairs")


def parse(answer: str, shown: Mapping[int, Candidate]) -> tuple[Choice | None, str]:
    """Parse the choice in an answer: (choice, ""), or (None, problem). Text around the JSON object is ignored."""
    end = answer[-PARSED_CHARS:]
    if (item := last_object(end, "choice")) is None:
        return None, no_object(end, "choice")
    number = _number(item["choice"])
    if number is None or number not in shown:
        return None, f"choice is {_shown(item['choice'])}, which is none of the numbers {', '.join(map(str, shown))}"
    text = {key: _sentences(item.get(key)) for key in ("reason", "advice", "igm_reason")}
    igm, note = _gate(item.get("igm"))
    why = "" if igm is None else text["igm_reason"]  # it would explain what the function has by itself
    return Choice(shown[number], "the evaluator", text["reason"], text["advice"], igm, why, note), ""


def _gate(value: Any) -> tuple[bool | None, str]:
    """The decision on the IGM gate and "", or None and a note if a value is given that decides nothing."""
    if value is None or isinstance(value, bool):
        return value, ""
    words = set(re.findall(r"[a-z]+", value.lower())) if isinstance(value, str) else set()
    is_on, is_off = bool(words & {"true", "on", "yes"}), bool(words & {"false", "off", "no", "not"})
    if is_on != is_off:
        return is_on, ""
    return None, f"as its author set it: the evaluator's igm, {_shown(value)}, is neither true nor false"


def _sentences(value: Any) -> str:
    """One line of what is a text, or a list of texts; "" for anything else."""
    texts = value if isinstance(value, list) else [value]
    return brief(" ".join(text for text in texts if isinstance(text, str)), REASON_CHARS)


def _shown(value: Any) -> str:
    """A value of JSON in a sentence, which a terminal and the evaluator get to see."""
    try:
        return brief(repr(value), SHOWN_CHARS)
    except RecursionError:
        return "nested too deep"


def _number(value: Any) -> int | None:
    """The number in 2, 2.0, "2", "Candidate 2" or "Function 2 (round 1)"; None in any other value."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return int(value) if value == value // 1 else None
    text = value if isinstance(value, str) else ""
    digits = re.findall(r"(?:candidate|function)\s*#?(\d{1,6})", text, re.IGNORECASE) or re.findall(r"\d{1,6}", text)
    return int(digits[0]) if len(digits) == 1 else None


def _candidate(number: int, shown: Mapping[int, Candidate], trial: list[str]) -> str:
    candidate, incumbent = shown[number], " (the choice of earlier rounds)" if number == INCUMBENT else ""
    lines = [*_duplicate(candidate, shown), *measurements(candidate.last.verdict), *trial]
    measured = "\n".join(f"- {brief(line, LINE_CHARS)}" for line in lines)
    return f"## Function {number}{incumbent}\n\n{fenced(candidate.source)}\n\nMeasured:\n{measured}"


def _duplicate(candidate: Candidate, shown: Mapping[int, Candidate]) -> list[str]:
    """Sentence on the function that a candidate repeats, [] if it repeats none."""
    like = candidate.last.like
    if like is None:
        return []
    numbers = [number for number, other in shown.items() if other.last.like is None and str(other.last.id) == like.of]
    of = f"function {numbers[0]}" if numbers else "a function of an earlier round, which was not chosen"
    return [f"near-duplicate of {of}: {like.why}; not trained again"]
