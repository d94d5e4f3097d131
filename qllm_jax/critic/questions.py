"""One question of a critic: asked, repaired once, and recorded with its outcome, which is never asked for again."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from qllm_envs import Spec
from qllm_jax.critic import answers, episodes, faults, texts
from qllm_jax.critic.answers import Fault
from qllm_jax.critic.episodes import PlayedEpisode
from qllm_jax.critic.texts import Texts
from qllm_jax.llm import client as clients
from qllm_jax.llm import transcript as transcripts
from qllm_jax.llm.client import Client
from qllm_jax.llm.types import Reply, Request, StoppedError, WaitingError
from qllm_jax.tfcaf.verdict import sha256

KIND = "credit"  # of the records of outcomes
ANSWERED, REPAIRED = "answered", "repaired"  # labels of outcomes with credit
ANOTHER = "another_episode"  # the transcript's answer is to another episode of this number


class QuestionId(NamedTuple):
    """Coordinates of one request. As text it is the name of the request's files."""

    run: int
    number: int  # of the episode
    attempt: int  # 1: the repair

    def __str__(self) -> str:
        return f"run_{self.run}_episode_{self.number}_try_{self.attempt}"


class Question(NamedTuple):
    """A question about one episode."""

    run: int
    number: int
    episode: PlayedEpisode
    order: Int[np.ndarray, " agents"]  # of the agents in the question, see `episodes.draw_order`
    text: str


class Outcome(NamedTuple):
    """The end of a question."""

    label: str  # ANSWERED, REPAIRED, or that of a fault
    problem: str
    credit: Float[np.ndarray, "steps agents"] | None  # agents in their own order; None: no usable answer
    explanation: str


class BudgetError(Exception):
    """A limit forbids further questions; the message is the limit, a clause."""


class Asker(NamedTuple):
    """All that questions have in common."""

    client: Client
    texts: Texts
    spec: Spec
    bound: float
    outcomes: dict[tuple[int, int], dict[str, Any]]  # records of the transcript by run and number
    seeds: tuple[int, ...]  # of the runs


def ask(asker: Asker, question: Question) -> Outcome:
    """Return the outcome of a question: the recorded one, or a new one, which is recorded.

    Raise BudgetError if a limit forbids asking, and WaitingError if a person has to answer first.
    """
    record = asker.outcomes.get((question.run, question.number))
    if record is not None and record["question"] == sha256(question.text):
        return _outcome(record)
    found = _asked(asker, question)
    record = {"run": question.run, "seed": asker.seeds[question.run], "number": question.number}
    credit = None if found.credit is None else found.credit.tolist()
    record |= {**found._asdict(), "credit": credit, "order": question.order.tolist(), "question": sha256(question.text)}
    transcripts.append(asker.client.transcript, KIND, **record)
    asker.outcomes[question.run, question.number] = asker.client.transcript.records[-1]
    return found


def recorded(records: list[dict[str, Any]]) -> dict[tuple[int, int], dict[str, Any]]:
    """Records of outcomes by run and number of the episode; the last of each."""
    return {(record["run"], record["number"]): record for record in records if record["kind"] == KIND}


def _outcome(record: dict[str, Any]) -> Outcome:
    credit = None if record["credit"] is None else np.asarray(record["credit"], np.float32)
    return Outcome(record["label"], record["problem"], credit, record["explanation"])


def _asked(asker: Asker, question: Question) -> Outcome:
    episode, user, found = question.episode, question.text, Fault("", "")
    n_steps, n_agents = episode.action_t.shape
    for attempt in (0, 1):
        place = QuestionId(question.run, question.number, attempt)
        try:
            reply = _reply(asker, Request(place, asker.texts.system, user))
        except _UnansweredError as failure:
            return Outcome(failure.fault.label, failure.fault.problem, None, "")
        found = answers.parse(
            reply.text, n_agents, n_steps, is_paid=episode.is_paid, bound=asker.bound, is_cut_off=reply.is_cut_off
        )
        if isinstance(found, answers.Answer):
            credit = episodes.undone(found.credit, question.order)
            return Outcome(REPAIRED if attempt else ANSWERED, "", credit, found.explanation)
        asker.client.log(f"{place}: {found.problem}")
        user = texts.again(asker.texts, question.text, reply.text, found.problem)
    return Outcome(found.label, found.problem, None, "")


class _UnansweredError(Exception):
    """A request without a reply."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.problem)
        self.fault = fault


def _reply(asker: Asker, request: Request) -> Reply:
    """Return the reply to a request. Raise BudgetError, WaitingError, or _UnansweredError with the fault."""
    client = asker.client
    stored = [r for r in client.transcript.records if r["kind"] == "reply" and _is_of(r, request)]
    if stored and stored[0]["user"] != request.user:
        raise _UnansweredError(Fault(ANOTHER, "the transcript's answer is to an episode that was played otherwise"))
    try:
        return clients.ask(client, request)
    except WaitingError:
        raise
    except StoppedError as stop:
        used = clients.spent(client.transcript.records, client.llm.price)
        if reason := clients.limit_reached(client.budget, used, transcripts.elapsed_s(client.transcript)):
            raise BudgetError(reason) from stop
        failures = [record for record in client.transcript.records if _is_of(record, request)]
        problem = failures[-1]["problem"] if failures else str(stop)
        raise _UnansweredError(Fault(faults.label(problem), problem)) from stop


def _is_of(record: dict[str, Any], request: Request) -> bool:
    return tuple(record.get("place", ())) == request.id
