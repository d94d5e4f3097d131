"""The coder: K candidates a round, each verified and, if it is refused, repaired with the reason (Eq. 4 and 5)."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from qllm_jax.generation.attempts import Verify, examine
from qllm_jax.generation.prompts import Prompts
from qllm_jax.generation.types import INCUMBENT, Attempt, Candidate, Choice, RequestId
from qllm_jax.llm.client import Client, ask
from qllm_jax.llm.types import RefusedRequestError, Request, WaitingError
from qllm_jax.tfcaf.static import igm as gate
from qllm_jax.tfcaf.static.text import MAX_BYTES
from qllm_jax.tfcaf.static.vocabulary import Signature


class Coder(NamedTuple):
    """Model, prompts and gates of the coder."""

    client: Client
    prompts: Prompts
    verify: Verify
    signature: Signature
    repairs: int  # of one candidate
    on_attempt: Callable[[Attempt], None]  # called with each attempt, in order
    judge: Callable[[Attempt], Attempt] | None = None  # marks near-duplicates among functions that passed


def make_assignment(prompts: Prompts, choice: Choice | None, n_duplicates: int) -> str:
    """Return the message to the coder: after a choice, with its function, the evaluator's advice and any duplicates."""
    if choice is None:
        return prompts.message("coder_first")
    reference, advice = choice.candidate.source.strip(), choice.advice or "nothing."
    text = prompts.message("coder_next", reference=reference, advice=advice)
    if not n_duplicates:
        return text
    return f"{text}\n\n{prompts.message('coder_duplicates', number=str(n_duplicates))}"


def write_candidates(coder: Coder, round_: int, k: int, assignment: str) -> tuple[Candidate, ...]:
    """Return the K candidates of a round, including those that no repair made pass."""
    written, waiting = [], []
    for number in range(1, k + 1):
        try:
            ids = [RequestId(round_, "coder", number, attempt) for attempt in range(coder.repairs + 1)]
            written.append(Candidate(round_, number, _attempt(coder, assignment, None, ids)))
        except WaitingError as wait:  # a person can answer all K requests at once
            waiting.append(wait)
    if waiting:
        raise WaitingError("\n".join(str(wait) for wait in waiting))
    return tuple(written)


def set_igm(coder: Coder, round_: int, choice: Choice) -> Choice:
    """Return `choice` with its function's IGM gate as the evaluator decided.

    If the gates refuse the function with that gate (negative weights, and IGM is to be on), the coder is asked to
    rewrite it, as often as a candidate is repaired. If that fails, the function keeps the gate with which it passed.
    """
    candidate, igm = choice.candidate, choice.igm
    if igm is None or gate.read(candidate.source) == igm:
        return choice
    changed = gate.write(candidate.source, igm)
    last = candidate.last._replace(source=changed, verdict=coder.verify(changed, f"{candidate.last.id}.py"))
    if igm and not last.verdict.ok:
        last = _rewrite(coder, round_, choice, last)
    if not last.verdict.ok:
        wanted = f"the evaluator wanted it {'on' if igm else 'off'} ({choice.igm_reason or 'no reason given'})"
        return choice._replace(note=f"{wanted}, but the function could not be made to pass with it")
    return choice._replace(candidate=candidate._replace(attempts=(*candidate.attempts, last)))


def _rewrite(coder: Coder, round_: int, choice: Choice, refused: Attempt) -> Attempt:
    """Last attempt of the coder at the chosen function with IGM on; `refused` itself if no repair is allowed."""
    candidate = choice.candidate
    is_new = candidate.round == round_
    reference, igm_reason = candidate.source.strip(), choice.igm_reason or "it was not said."
    assignment = coder.prompts.message("coder_gate", reference=reference, igm_reason=igm_reason)
    first = candidate.last.id.attempt + 1 if is_new else 1
    number = candidate.number if is_new else INCUMBENT
    ids = [RequestId(round_, "coder", number, attempt) for attempt in range(first, first + coder.repairs)]
    return (refused, *_attempt(coder, assignment, refused, ids, igm=True))[-1]


def _attempt(
    coder: Coder, assignment: str, refused: Attempt | None, ids: Sequence[RequestId], igm: bool | None = None
) -> tuple[Attempt, ...]:
    """Ask with `ids` until an attempt passes and repeats no earlier function.

    Each request after a refusal has the refused code and the reason. A server that refuses such a request, which may be
    too long for it, ends the repairs.
    """
    attempts: list[Attempt] = []
    for id_ in ids:
        user = assignment if refused is None else _repair(coder.prompts, assignment, refused)
        try:
            reply = ask(coder.client, Request(id_, coder.prompts.coder, user))
        except RefusedRequestError:  # the client has logged why
            if refused is None:  # of the assignment itself, which all candidates have in common
                raise
            break
        refused = examine(coder.verify, coder.signature, id_, reply, igm)
        if refused.verdict.ok and coder.judge is not None and igm is None:  # else it is to repeat the chosen function
            refused = coder.judge(refused)
        attempts.append(refused)
        coder.on_attempt(refused)
        if refused.verdict.ok and refused.like is None:
            break
    return tuple(attempts)


def _repair(prompts: Prompts, assignment: str, refused: Attempt) -> str:
    text = refused.reply.text if refused.source is None else refused.source
    if refused.verdict.ok and refused.like is not None:
        return prompts.message("coder_duplicate", assignment=assignment, source=text.strip(), why=refused.like.why)
    source, feedback = text[: 2 * MAX_BYTES].strip(), refused.verdict.feedback()
    return prompts.message("coder_repair", assignment=assignment, source=source, feedback=feedback)
