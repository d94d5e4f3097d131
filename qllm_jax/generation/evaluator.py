"""The evaluator: it chooses one function, advises its author, and decides the IGM gate (Eq. 6; the gate is QLLM v1's).

Selection is a function `Pool -> Choice`; `by_rule` is one without a model.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from qllm_jax.generation.measurements import measurements
from qllm_jax.generation.prompts import Prompts, render
from qllm_jax.llm.asking import Desk, ask
from qllm_jax.llm.records import KEPT, Candidate, Choice, Place, Pool, Request, Select
from qllm_jax.llm.replies import brief

ASKED = 2  # times, before the rule decides
MAX_SAID = 2000  # characters of a reason, and of an advice
MAX_READ = 20_000  # characters at the end of an answer in which the object is sought
MAX_ANSWER = 8000  # characters of an unusable answer that are shown to the evaluator again


def make(desk: Desk, prompts: Prompts, rounds: int, trained: Callable[[Pool], dict[int, str]] | None = None) -> Select:
    """Selection by the evaluator. `trained` gives what short trainings showed, by the functions' numbers."""
    by = "the evaluator" + (", who saw short trainings" if trained else "")

    def select(pool: Pool) -> Choice:
        if pool.kept is not None and not pool.new:
            return Choice(pool.kept, "rule", "no new function of this round passed")
        shown = pool.numbered()
        given = {
            "round": str(pool.round),
            "rounds": str(rounds),
            "candidates": _shown(shown, trained(pool) if trained else {}),
        }
        question = user = render(prompts.messages["evaluator_choose"], "evaluator_choose", **given)
        problem = ""
        for attempt in range(ASKED):
            request = Request(Place(pool.round, "evaluator", 0, attempt), prompts.evaluator, user)
            answer = ask(desk, request).text
            choice, problem = read(answer, shown)
            if choice is not None:
                return choice._replace(by=by)
            desk.say(f"{request.place}: {problem}")
            given = {"question": question, "answer": answer[:MAX_ANSWER] or "nothing", "problem": problem}
            user = render(prompts.messages["evaluator_again"], "evaluator_again", **given)
        chosen = by_rule(pool)
        return chosen._replace(reason=f"{chosen.reason}, as the evaluator gave no usable answer ({problem})")

    return select


def by_rule(pool: Pool) -> Choice:
    """What is kept where nobody judges: the best of earlier rounds, or else the function with the fewest repairs."""
    if pool.kept is not None:
        return Choice(pool.kept, "rule", "kept from an earlier round")
    return _easiest(pool)


def newest(pool: Pool) -> Choice:
    """Selection with `evaluator=off`: each round replaces the one before, if anything of it passed."""
    return _easiest(pool) if pool.new else by_rule(pool)


def _easiest(pool: Pool) -> Choice:
    candidate = min(pool.new, key=lambda candidate: (len(candidate.tries), candidate.number))
    return Choice(candidate, "rule", "the first of this round's functions with the fewest repairs")


def read(answer: str, shown: Mapping[int, Candidate]) -> tuple[Choice | None, str]:
    """The choice in an evaluator's answer, or what is wrong with it. Whatever surrounds the object is passed over."""
    found = [item for item in _objects(answer[-MAX_READ:]) if "choice" in item]
    if not found:
        return None, 'there is no JSON object with the key "choice"'
    item = found[-1]
    number = _number(item["choice"])
    if number is None or number not in shown:
        return None, f"choice is {item['choice']!r}, which is none of the numbers {', '.join(map(str, shown))}"
    text = {key: brief(str(item.get(key) or ""), MAX_SAID) for key in ("reason", "advice", "igm_reason")}
    igm = {"true": True, "on": True, "false": False, "off": False}.get(str(item.get("igm")).strip().lower())
    return Choice(shown[number], "the evaluator", text["reason"], text["advice"], igm, text["igm_reason"]), ""


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """The JSON objects in a text, in order."""
    decoder, start = json.JSONDecoder(strict=False), text.find("{")
    while start >= 0:
        end = start + 1
        with suppress(ValueError, RecursionError):
            item, end = decoder.raw_decode(text, start)
            yield item
        start = text.find("{", end)


def _number(value: Any) -> int | None:
    """The number of a candidate: 2, "2", or "Candidate 2"."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    digits = re.findall(r"\d{1,6}", value) if isinstance(value, str) else []
    return int(digits[0]) if len(digits) == 1 else None


def _shown(candidates: Mapping[int, Candidate], trained: Mapping[int, str]) -> str:
    return "\n\n".join(_block(number, candidate, trained.get(number)) for number, candidate in candidates.items())


def _block(number: int, candidate: Candidate, trained: str | None) -> str:
    kept = " (the choice of earlier rounds)" if number == KEPT else ""
    lines = [*measurements(candidate.last.verdict), *([trained] if trained else [])]
    measured = "\n".join(f"- {line}" for line in lines)
    return f"## Function {number}{kept}\n\n```python\n{candidate.source.strip()}\n```\n\nMeasured:\n{measured}"
