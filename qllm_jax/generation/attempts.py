"""One attempt of the coder: the function in its reply, verified, with a verdict that is stored in the transcript."""

from collections.abc import Callable

from qllm_jax.generation import source as sources
from qllm_jax.generation.types import Attempt, RequestId
from qllm_jax.llm import transcript as transcripts
from qllm_jax.llm.transcript import Transcript
from qllm_jax.llm.types import Reply
from qllm_jax.tfcaf.static import extract
from qllm_jax.tfcaf.static import igm as gate
from qllm_jax.tfcaf.static import text as texts
from qllm_jax.tfcaf.static.vocabulary import Signature
from qllm_jax.tfcaf.verdict import TfcafError, Verdict, refusal, sha256

# (source, name of its file) -> verdict: the gates, for one environment.
Verify = Callable[[str, str], Verdict]

_DEFINITION: dict[Signature, str] = {
    "credit": "credit(state)",
    "paper": "QLLMNetwork(agents_q, global_state)",
    "reward": "credit(state, actions, reward, next_state)",
    "task": "assign(state)",
}


def examine(verify: Verify, signature: Signature, id_: RequestId, reply: Reply, igm: bool | None) -> Attempt:
    """Extract and verify the function in a reply, with its IGM gate set to `igm` unless that is None.

    Of several in one reply, the likeliest that passes counts. If none does, the likeliest is refused.
    """
    found = _extract(reply)
    if isinstance(found, Verdict):
        return Attempt(id_, reply, None, found)
    attempts = (_verified(verify, signature, id_, reply, source, igm) for source in found)
    first = next(attempts)
    return first if first.verdict.ok else next((attempt for attempt in attempts if attempt.verdict.ok), first)


def with_factors(verify: Verify, wanted: bool) -> Verify:
    """Return `verify` for reward credit: it refuses factors where credit was asked for, and the other way round."""
    hint = "return factors of shape (n_agents, f), f of 2 or more" if wanted else "return one number an agent"

    def with_shape(source: str, file: str) -> Verdict:
        verdict = verify(source, file)
        n_factors = verdict.report.get("credit", {}).get("factors")  # older reports do not tell
        if not verdict.ok or n_factors is None or (n_factors > 1) == wanted:
            return verdict
        problem = "the function returns credit and not factors" if wanted else "the function returns factors"
        return Verdict("SHAPE", "L6", problem, None, hint, sha256(source), {})

    return with_shape


def recorded(verify: Verify, transcript: Transcript) -> Verify:
    """Return `verify` with its verdicts stored: a text is verified once, and a replay verifies no candidate."""

    def find_or_verify(source: str, file: str) -> Verdict:
        if (stored := find_verdict(transcript, source)) is None:
            add_verdict(transcript, source, verify(source, file))
            stored = find_verdict(transcript, source)
        assert stored is not None
        return stored

    return find_or_verify


def add_verdict(transcript: Transcript, source: str, verdict: Verdict) -> None:
    """Store the verdict on `source`."""
    transcripts.append(transcript, "verdict", source_sha256=sha256(source), verdict=verdict._asdict())


def find_verdict(transcript: Transcript, source: str) -> Verdict | None:
    """Return the stored verdict on `source`, None if there is none."""
    digest = sha256(source)
    for record in transcript.records:
        if record["kind"] == "verdict" and record["source_sha256"] == digest:
            return Verdict(**record["verdict"])
    return None


def _verified(
    verify: Verify, signature: Signature, id_: RequestId, reply: Reply, source: str, igm: bool | None
) -> Attempt:
    verdict = verify(source, f"{id_}.py")
    if verdict.ok and sources.signature(source) != signature:
        problem = "the file does not define the function that was asked for"
        verdict = Verdict("STATIC", "L3", problem, None, f"define {_DEFINITION[signature]}", sha256(source), {})
    if verdict.ok and igm is not None and gate.read(source) != igm:
        source = gate.write(source, igm)
        verdict = verify(source, f"{id_}.py")
    return Attempt(id_, reply, source, verdict)


def _no_text(reply: Reply, found: Verdict) -> Verdict:
    """Return the refusal of a reply without text, with the reason if the server gives one."""
    if "filter" in (reply.finish or ""):
        return found._replace(problem=f"a filter of the server has removed the reply (finish_reason {reply.finish})")
    if reply.reasoning:
        size = f"{len(reply.reasoning):,} characters of reasoning"
        return found._replace(problem=f"the reply is empty after {size}: the server may take the answer for reasoning")
    return found


def _extract(reply: Reply) -> list[str] | Verdict:
    """Sources in a reply, short enough for the header of the file, or a refusal."""
    found = extract.sources(reply.text, truncated=reply.is_cut_off)
    if isinstance(found, Verdict):
        return found if reply.text.strip() else _no_text(reply, found)
    fitting = []
    for source in found:
        try:
            texts.verify_size(source, "reply", texts.MAX_BYTES - sources.HEADER_BYTES)
            fitting.append(source)
        except TfcafError as error:
            if source is found[-1] and not fitting:
                return refusal(error, "L1", source, {})
    return fitting
