"""Rounds of questions between chunks: choose episodes, ask about each, and write the credit into the replay.

Each run has episodes and questions of its own. A round depends on the state of training alone, and outcomes are
recorded before they are used: a training that was killed asks the same questions again, and the transcript answers
them.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from qllm_jax.core.labels import NOTHING, Credits
from qllm_jax.critic import answers as parser
from qllm_jax.critic import episodes, questions, report, rule, texts
from qllm_jax.critic.questions import ANSWERED, REPAIRED, Asker, BudgetError, Outcome, Question
from qllm_jax.learners.asking import Asking
from qllm_jax.llm import transcript as transcripts
from qllm_jax.llm.providers import manual
from qllm_jax.llm.types import WaitingError
from qllm_jax.program import guard, run_axis
from qllm_jax.program.experiment import Experiment
from qllm_jax.program.one_run import RunState
from qllm_jax.run.between import PausedError
from qllm_jax.run.checkpoint import TrainState

MAX_UNANSWERED = 3  # questions one after the other without an answer, after which a round is given up
OVERWRITTEN = "overwritten"  # label of answers whose episode was gone
SERVED = (ANSWERED, REPAIRED, questions.ANOTHER, *parser.FAULTS)  # labels of questions that got a reply


class Critic:
    """A critic of one training."""

    def __init__(self, exp: Experiment, asking: Asking, asker: Asker, answers: rule.Answers) -> None:
        """`answers` get the credit of a round's episodes, which a rule answers with and a model does not see."""
        self.exp, self.asking, self.asker, self.answers = exp, asking, asker, answers
        self.runs = run_axis.runs(exp.config)
        self.ended = ""  # the limit that ended the questions
        self.overwritten = 0

    def work(self, state: TrainState, log: Callable[[str], None], stopped: Callable[[], bool]) -> TrainState | None:
        """One round. None if `stopped` says so before its end; PausedError if a person has to answer first."""
        self._set_clock(log)
        numbers = self._choose(state)
        given, waiting, unanswered = self._nothing_given(numbers.shape), [], 0
        for question in self._questions(state, numbers):
            if stopped():
                return None
            try:
                outcome = questions.ask(self.asker, question)
            except WaitingError as wait:
                waiting.append(str(wait))
                continue
            except BudgetError as limit:
                self.ended = str(limit)
                log(
                    f"critic: {limit}; training goes on, with an equal split of the reward for episodes without a label"
                )
                break
            _note(given, question, outcome, log)
            unanswered = 0 if outcome.label in SERVED else unanswered + 1
            if unanswered == MAX_UNANSWERED:
                log(f"critic: {MAX_UNANSWERED} questions one after the other got no reply; the next round asks again")
                break
        if waiting:
            raise PausedError(manual.to_do(waiting))
        return TrainState(state.clock, self._relabelled(state, given))

    def _relabelled(self, state: TrainState, given: Credits) -> RunState:
        """The runs with the credit of a round, after which the files of the critic are written."""
        runs, landed = self.exp.program.relabel(state.runs, jax.tree.map(jnp.asarray, given))
        self.overwritten += int(np.sum(given.usable & ~np.asarray(landed)))
        if self.ended and runs.labels is not None:  # no further episode gets a label
            runs = runs._replace(labels=runs.labels._replace(only=jnp.zeros_like(runs.labels.only)))
        report.write(self.asker.client.folder, self.asker, self.summary())
        return runs

    def summary(self) -> dict[str, Any]:
        """Counts so far, over all processes of this training."""
        labels = Counter(record["label"] for record in self.asker.outcomes.values())
        faults = {label: n for label, n in sorted(labels.items()) if label not in (ANSWERED, REPAIRED)}
        used = report.spent(self.asker.client)
        answered = {ANSWERED: labels[ANSWERED], REPAIRED: labels[REPAIRED], OVERWRITTEN: self.overwritten}
        return {"questions": labels.total(), **answered, "faults": faults, **used, "ended": self.ended}

    def _set_clock(self, log: Callable[[str], None]) -> None:
        """Count the time of asking alone: the transcript's clock goes on from its last record."""
        client = self.asker.client
        records = client.transcript.records
        clock = transcripts.restarted(client.transcript, records[-1]["elapsed_s"])
        self.asker = self.asker._replace(client=client._replace(transcript=clock, log=log))

    def _choose(self, state: TrainState) -> Int[np.ndarray, "runs questions"]:
        """Numbers of the episodes to ask about, drawn from those that no question was about yet."""
        labels = state.runs.labels
        assert labels is not None
        stored, asked = np.asarray(labels.number), np.asarray(labels.asked)
        failed = np.asarray(state.runs.fault.env_steps) != guard.NONE
        numbers = np.full((len(stored), self.asking.episodes), NOTHING, np.int32)
        for r, run in enumerate(self.runs):
            new = np.sort(stored[r][(stored[r] >= 0) & ~asked[r]])
            if len(new) and not failed[r]:
                rng = np.random.default_rng([self.exp.config.seed, run.seed, int(state.clock.env_steps)])
                drawn = np.sort(rng.choice(new, min(len(new), self.asking.episodes), replace=False))
                numbers[r, : len(drawn)] = drawn
        return numbers

    def _questions(self, state: TrainState, numbers: np.ndarray) -> list[Question]:
        """The questions of a round, run after run."""
        if self.ended or not (numbers != NOTHING).any():
            return []
        spec, found = self.exp.env.spec, []
        self.answers.clear()
        batch, fields, credit = jax.device_get(self.exp.program.stored_episodes(state.runs, jnp.asarray(numbers)))
        for r, q in np.argwhere(numbers != NOTHING):
            of_steps = (x[r, q] for x in (batch.action_t, batch.reward_t, batch.mask_t))
            episode = episodes.trimmed({name: x[r, q] for name, x in fields.items()}, *of_steps)
            rng = np.random.default_rng([self.exp.config.seed, self.runs[r].seed, int(numbers[r, q])])
            order = episodes.draw_order(spec, self.asker.texts.task, rng)
            text = texts.question(self.asker.texts, episode, spec, order)
            found.append(Question(int(r), int(numbers[r, q]), episode, order, text))
            self.answers[int(r), int(numbers[r, q])] = credit[r, q][: len(episode.reward_t)][:, order]
        return found

    def _nothing_given(self, shape: tuple[int, ...]) -> Credits:
        """Credits (R, Q, ...) as arrays of the host, without a question."""
        credit = np.zeros((*shape, self.exp.env.spec.horizon, self.exp.env.spec.n_agents), np.float32)
        nothing: Any = (np.full(shape, NOTHING, np.int32), credit, np.zeros(shape, bool))
        return Credits(*nothing)


def _note(given: Any, question: Question, outcome: Outcome, log: Callable[[str], None]) -> None:
    """Write the outcome of a question into the first free column of its run."""
    r = question.run
    column = int(np.argmax(given.number[r] == NOTHING))
    given.number[r, column] = question.number
    if outcome.credit is None:
        log(f"critic: run {r}, episode {question.number}: {outcome.label}: {outcome.problem}")
    else:
        given.credit[r, column, : len(outcome.credit)] = outcome.credit
        given.usable[r, column] = True
