"""Run a generation: a new one, a replay of a recorded one, or one that is resumed, to its end or until it stops."""

import shlex
from enum import IntEnum
from functools import partial
from pathlib import Path
from typing import NamedTuple

from qllm_envs import outside
from qllm_jax import process
from qllm_jax.config import environment
from qllm_jax.errors import UserError
from qllm_jax.generation import archive as archives
from qllm_jax.generation import attempts, evaluator, folder, loop, outcome, settings, trials
from qllm_jax.generation import source as sources
from qllm_jax.generation.archive import Archive
from qllm_jax.generation.attempts import Verify
from qllm_jax.generation.coder import Coder
from qllm_jax.generation.evaluator import by_rule
from qllm_jax.generation.folder import Generation
from qllm_jax.generation.outcome import TFCAF, Outcome, Progress
from qllm_jax.generation.types import Attempt, Choice, Select
from qllm_jax.generation.work import device_work
from qllm_jax.llm import transcript as transcripts
from qllm_jax.llm.client import Client
from qllm_jax.llm.providers import manual
from qllm_jax.llm.replies import brief
from qllm_jax.llm.types import Llm, StoppedError, WaitingError
from qllm_jax.program import devices, experiment
from qllm_jax.run.folder import locked
from qllm_jax.tfcaf import gates, passes
from qllm_jax.tfcaf.semantics import rollouts
from qllm_jax.tfcaf.static.vocabulary import Kind
from qllm_jax.tfcaf.verdict import Verdict

_print = partial(print, flush=True)  # a generation is long, and its reader may be a file


class ExitCode(IntEnum):
    """Exit codes of the command. 2 is `cli.main`'s, for a UserError."""

    DONE = 0
    NONE_PASSED = 1
    ERROR = 2
    STOPPED = 3
    WAITING = 4
    INTERRUPTED = 130


class Stop(NamedTuple):
    """Reason why a generation is not finished."""

    code: ExitCode
    reason: str


def generate(overrides: list[str]) -> ExitCode:
    """Create, copy or reopen the folder of a generation, and run it from where its transcript ends."""
    devices.use_cores()  # of short trainings, before the gates use the first device
    config = settings.load(overrides)
    if config.resume is not None:
        generation, llm = folder.reopen(config, settings.override_keys(overrides))
    elif config.llm.get("provider") == "replay":
        generation, llm = folder.copy(config, settings.override_keys(overrides))
    else:
        generation, llm = folder.create(config, overrides)
    given = generation.settings
    _print(f"{given.env['name']}: k={given.k}, rounds={given.rounds}, {llm.model}, folder {generation.path}")
    with locked(generation.path), process.sigterm_interrupts():
        return _run(generation, llm)


def _run(generation: Generation, llm: Llm) -> ExitCode:
    """Run until the end or a stop, write the files of the outcome, and print how it ended.

    UserError for a mistake or a machine that ended it, after the files are written.
    """
    path, progress = generation.path, Progress([], [])
    with transcripts.opened(path / transcripts.NAME) as transcript:
        client = Client(llm, transcript, generation.settings.budget, path, _print)
        stop = _run_rounds(generation, client, progress)
        best = progress.choices[-1][1] if progress.choices else None
        if stop is not None and stop.code != ExitCode.WAITING:  # one that waits needs no function yet
            trained = partial(trials.best_stored, transcript) if generation.settings.select == "train" else by_rule
            best = loop.best_when_stopped(best, progress.attempts, trained)
        result = Outcome(progress, best, stop and stop.reason, transcript.records, llm.price)
        text, verdict = (None, None) if best is None else _chosen_file(generation, best)
        if generation.settings.has_archive:
            archives.write(path, transcript.records)
    _print(f"\n{outcome.write(path, result, text, verdict)}\n")
    if verdict is not None and not verdict.ok:
        raise UserError(
            f"the chosen function does not pass the gates any more: {brief(verdict.problem)}. Try again if this "
            f"machine was busy: {folder.resume_command(path)}. Begin a new generation if the gates have changed since"
        )
    if stop is not None and stop.code == ExitCode.ERROR:
        raise UserError(f"{stop.reason}; go on: {folder.resume_command(path)}")
    _print(_ending(generation, result, stop))
    if stop is not None:
        return stop.code
    return ExitCode.DONE if best is not None else ExitCode.NONE_PASSED


def _run_rounds(generation: Generation, client: Client, progress: Progress) -> Stop | None:
    """Run all rounds into `progress`. Return None at the end, or why it stopped before."""
    config = generation.settings

    def on_attempt(attempt: Attempt) -> None:
        progress.attempts.append(attempt)
        outcome.write_attempt(generation.path, attempt)
        _print(outcome.attempt_line(attempt, client.llm.price))

    def on_choice(round_: int, choice: Choice) -> None:
        progress.choices.append((round_, choice))
        _print(f"round {round_}: {choice.by} chose {choice.candidate.last.id}: {choice.reason}")

    verify = attempts.recorded(_within_limits(_verify_for(generation), client), client.transcript)
    archive = _archive(generation, client)
    judge = archive and archive.judge
    coder = Coder(client, generation.prompts, verify, config.asked, config.repairs, on_attempt, judge)
    try:
        loop.run(coder, _selection(generation, client, archive), config.k, config.rounds, on_choice)
    except WaitingError as wait:
        return Stop(ExitCode.WAITING, str(wait))
    except StoppedError as stop:
        return Stop(ExitCode.STOPPED, str(stop))
    except UserError as error:
        return Stop(ExitCode.ERROR, str(error))
    except KeyboardInterrupt:
        return Stop(ExitCode.INTERRUPTED, "interrupted")
    return None


def _archive(generation: Generation, client: Client) -> Archive | None:
    config = generation.settings
    if not config.has_archive:
        return None
    task_of = partial(rollouts.from_config, environment(config.env, config.n_agents))
    return archives.make(client, task_of, config.archive_tolerance)


def _selection(generation: Generation, client: Client, archive: Archive | None) -> Select:
    """Rule by which a round is decided: `evaluator` and `select` of the settings."""
    config, prompts = generation.settings, generation.prompts
    if config.select == "read":
        return evaluator.make(client, prompts, config.rounds) if config.evaluator == "on" else evaluator.newest
    steps, seeds, halvings = config.trial_steps, config.trial_seeds, config.trial_halvings
    plan = trials.Plan(config.env, config.n_agents, steps, seeds, config.k, halvings)
    made = trials.make(client, plan, archive and archive.trained_as)
    return evaluator.make(client, prompts, config.rounds, made) if config.evaluator == "on" else made.best


def _verify_for(generation: Generation) -> Verify:
    given = generation.settings
    env = environment(given.env, given.n_agents)
    verify = lambda source, file: gates.verify(source, file, env, given.kind)
    return attempts.with_factors(verify, given.factors) if given.kind == "reward" else verify


def _within_limits(verify: Verify, client: Client) -> Verify:
    def timed(source: str, file: str) -> Verdict:
        with device_work(client, "gates"):
            return verify(source, file)

    return timed


def _chosen_file(generation: Generation, best: Choice) -> tuple[str | None, Verdict]:
    """Return the chosen file, None if it is refused, and its verdict: the stored pass of its candidate, or a new one.

    The verdict of the transcript does not count here: it may be of an older version of the gates.
    """
    given = generation.settings
    agents = "" if given.n_agents is None else f", {given.n_agents} agents"
    text = sources.compose(
        best, f"{outside.label(given.env['name'])}{agents}", generation.prompts.sha256(), given.hints, given.kind
    )
    spec = experiment.make_env(given.env, given.n_agents).spec
    verdict = passes.find(text, spec) or _verify_for(generation)(text, TFCAF)
    return text if verdict.ok else None, verdict


def _ending(generation: Generation, result: Outcome, stop: Stop | None) -> str:
    """Last lines of the terminal: the function, or why there is none, and the command that comes next."""
    path, lines = generation.path, []
    if result.chosen is not None and (stop is None or stop.code != ExitCode.WAITING):
        lines.append(f"function: {path / TFCAF}; it passes every gate; {path / outcome.TABLE} says why this one")
        arguments = [*generation.env_arguments, *_use(generation.settings.kind, path / TFCAF)]
        lines.append(f"train with it: python -m qllm_jax.train {shlex.join(arguments)}")
    elif stop is None:
        lines.append(f"no function passed the gates: {path / outcome.CANDIDATES} has them with their verdicts")
    if stop is not None and stop.code == ExitCode.WAITING:
        lines += [manual.to_do([stop.reason]), f"then: {folder.resume_command(path)}"]
    elif stop is not None:
        lines.append(f"stopped: {stop.reason}; go on: {folder.resume_command(path)}")
    return "\n".join(lines)


def _use(kind: Kind, file: Path) -> list[str]:
    """Arguments of `train` by which a function is used."""
    if kind == "value":
        return [f"algo.mixer.function={file}"]
    if kind == "reward":
        return ["algo=matched_mca", f"algo.learner.function={file}"]
    return ["algo=matched_taca", f"algo.learner.task={file}"]
