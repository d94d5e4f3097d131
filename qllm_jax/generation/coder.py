"""The coder: K functions a round, each verified, and sent back with the reason where it is refused (Eq. 4 and 5)."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from qllm_jax.generation import source as sources
from qllm_jax.generation.prompts import Prompts, render
from qllm_jax.llm import transcript as transcripts
from qllm_jax.llm.asking import Desk, ask
from qllm_jax.llm.records import KEPT, Candidate, Choice, Place, Reply, Request, Try, WaitingError
from qllm_jax.tfcaf.static import igm as gate
from qllm_jax.tfcaf.static import text as texts
from qllm_jax.tfcaf.static.extract import extract
from qllm_jax.tfcaf.static.vocabulary import Signature
from qllm_jax.tfcaf.verdict import TfcafError, Verdict, refusal, sha256

# (source, name of its file) -> verdict: the gates, for one environment.
Verify = Callable[[str, str], Verdict]


class Coder(NamedTuple):
    """What is needed to have functions written."""

    desk: Desk
    prompts: Prompts
    verify: Verify
    signature: Signature
    repairs: int
    tried: Callable[[Try], None]  # told of each try as it is made


def first_assignment(prompts: Prompts) -> str:
    """What the coder is asked for where there is nothing to build on."""
    return render(prompts.messages["coder_first"], "coder_first")


def next_assignment(prompts: Prompts, choice: Choice) -> str:
    """What the coder is asked for when a round has been decided."""
    advice = choice.advice or "nothing."
    return render(
        prompts.messages["coder_next"], "coder_next", reference=choice.candidate.source.strip(), advice=advice
    )


def write(coder: Coder, round_: int, k: int, assignment: str) -> tuple[Candidate, ...]:
    """The K candidates of a round, those that were refused to the end included."""
    written, waiting = [], []
    for number in range(1, k + 1):
        try:
            places = [Place(round_, "coder", number, attempt) for attempt in range(coder.repairs + 1)]
            written.append(Candidate(round_, number, _attempts(coder, assignment, None, places)))
        except WaitingError as wait:  # a person can answer all K questions at once
            waiting.append(wait)
    if waiting:
        raise WaitingError("\n".join(str(wait) for wait in waiting))
    return tuple(written)


def with_igm(coder: Coder, round_: int, choice: Choice) -> Choice:
    """`choice` with its function's gate as it was decided.

    Where that makes the gates refuse the function (negative weights, and IGM is to be on), the coder is asked to
    rewrite it, as often as a candidate is repaired. If that fails, the function keeps the gate that it passed with.
    """
    candidate, igm = choice.candidate, choice.igm
    if igm is None or gate.read(candidate.source) == igm:
        return choice
    changed = gate.write(candidate.source, igm)
    last = candidate.last._replace(source=changed, verdict=_verify(coder, changed, candidate.last.place))
    if igm and not last.verdict.ok:
        last = _rewritten(coder, round_, choice, last)
    if not last.verdict.ok:
        wanted = f"the evaluator wanted it {'on' if igm else 'off'} ({choice.igm_reason or 'no reason given'})"
        return choice._replace(note=f"{wanted}, but the function could not be made to pass with it")
    return choice._replace(candidate=candidate._replace(tries=(*candidate.tries, last)))


def _rewritten(coder: Coder, round_: int, choice: Choice, refused: Try) -> Try:
    """The coder's last try at the chosen function with IGM on; `refused` itself if no repair is allowed."""
    candidate = choice.candidate
    is_new = candidate.round == round_
    given = {"reference": candidate.source.strip(), "igm_reason": choice.igm_reason or "it was not said."}
    assignment = render(coder.prompts.messages["coder_gate"], "coder_gate", **given)
    first = candidate.last.place.attempt + 1 if is_new else 1
    number = candidate.number if is_new else KEPT
    places = [Place(round_, "coder", number, attempt) for attempt in range(first, first + coder.repairs)]
    return (refused, *_attempts(coder, assignment, refused, places, igm=True))[-1]


def _attempts(
    coder: Coder, assignment: str, refused: Try | None, places: Sequence[Place], igm: bool | None = None
) -> tuple[Try, ...]:
    """Tries at `places` until one passes. Each after a refusal is asked with the code and the reason."""
    tries: list[Try] = []
    for place in places:
        user = assignment if refused is None else _repair(coder.prompts, assignment, refused)
        refused = _examine(coder, place, ask(coder.desk, Request(place, coder.prompts.coder, user)), igm)
        tries.append(refused)
        coder.tried(refused)
        if refused.verdict.ok:
            break
    return tuple(tries)


def _repair(prompts: Prompts, assignment: str, refused: Try) -> str:
    said = refused.reply.text if refused.source is None else refused.source
    feedback = refused.verdict.feedback()
    given = {"assignment": assignment, "source": said[: 2 * texts.MAX_BYTES].strip(), "feedback": feedback}
    return render(prompts.messages["coder_repair"], "coder_repair", **given)


def _examine(coder: Coder, place: Place, reply: Reply, igm: bool | None) -> Try:
    """The code in a reply, verified, and with its gate set to `igm` where that was decided."""
    found = _code(reply)
    if isinstance(found, Verdict):
        return Try(place, reply, None, found)
    verdict = _verify(coder, found, place)
    if verdict.ok and sources.signature(found) != coder.signature:
        wanted = {"credit": "credit(state)", "paper": "QLLMNetwork(agents_q, global_state)"}[coder.signature]
        problem = "the file does not define the function that was asked for"
        verdict = _refusal("L3", found, problem, f"define {wanted}")
    if verdict.ok and igm is not None and gate.read(found) != igm:
        found = gate.write(found, igm)
        verdict = _verify(coder, found, place)
    return Try(place, reply, found, verdict)


def _code(reply: Reply) -> str | Verdict:
    found = extract(reply.text, truncated=reply.finish == "length")
    if isinstance(found, Verdict):
        return found
    try:
        texts.verify_size(found, "reply", texts.MAX_BYTES - sources.HEADER_BYTES)
    except TfcafError as error:
        return refusal(error, "L1", found, {})
    return found


def _refusal(layer: str, text: str, problem: str, hint: str) -> Verdict:
    return Verdict("STATIC", layer, problem, None, hint, sha256(text), {})


def _verify(coder: Coder, text: str, place: Place) -> Verdict:
    """What the gates say about `text`, from the transcript where they were asked before."""
    transcript = coder.desk.transcript
    if (stored := transcripts.find_verdict(transcript, text)) is None:
        transcripts.add_verdict(transcript, text, coder.verify(text, f"{place}.py"))
        stored = transcripts.find_verdict(transcript, text)
    assert stored is not None
    return stored
