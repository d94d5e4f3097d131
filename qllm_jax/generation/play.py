"""A generation played from where its transcript is to its end, or to what stops it."""

import shlex
from typing import NamedTuple

from qllm_jax.errors import UserError
from qllm_jax.generation import evaluator, loop, outcome, settings, trials
from qllm_jax.generation import source as sources
from qllm_jax.generation.coder import Coder, Verify
from qllm_jax.generation.loop import Shape
from qllm_jax.generation.outcome import TFCAF, Outcome, Progress
from qllm_jax.generation.start import Generation
from qllm_jax.llm import transcript as transcripts
from qllm_jax.llm.asking import Desk
from qllm_jax.llm.records import Choice, Llm, Select, StoppedError, Try, WaitingError
from qllm_jax.tfcaf import gates
from qllm_jax.tfcaf.verdict import Verdict

DONE, NOTHING_PASSED, STOPPED, WAITING, INTERRUPTED = 0, 1, 3, 4, 130  # exit codes


class Stop(NamedTuple):
    """Why a generation is not finished."""

    code: int
    reason: str


def play(generation: Generation, llm: Llm) -> int:
    """Play on, write what there is then, and print how it ended. The exit code."""
    path, progress = generation.path, Progress([], [])
    with transcripts.opened(path / transcripts.NAME) as transcript:
        desk = Desk(llm, transcript, generation.settings.budget, path, _say)
        stop = _run(generation, desk, progress)
        best = progress.choices[-1][1] if progress.choices else None
        if stop is not None and stop.code != WAITING:  # what only waits has not come to an end that needs a function
            best = loop.so_far(best, progress.tries)
        result = Outcome(progress, best, stop and stop.reason, transcript.records, llm.price)
        text, verdict = (None, None) if best is None else _final(generation, best)
    print(f"\n{outcome.write(path, result, text, verdict)}\n", flush=True)
    if verdict is not None and not verdict.ok:
        again = f"python -m qllm_jax.generate resume={path}"
        raise UserError(f"the chosen function does not pass the gates any more: {verdict.problem}; again: {again}")
    print(_ending(generation, result, stop))
    if stop is not None:
        return stop.code
    return DONE if best is not None else NOTHING_PASSED


def _run(generation: Generation, desk: Desk, progress: Progress) -> Stop | None:
    """All rounds, into `progress`."""
    config = generation.settings

    def tried(one: Try) -> None:
        progress.tries.append(one)
        outcome.write_try(generation.path, one)
        _say(outcome.tried_line(one, desk.llm.price))

    def chosen(round_: int, choice: Choice) -> None:
        progress.choices.append((round_, choice))
        _say(f"round {round_}: {choice.by} chose {choice.candidate.last.place}: {choice.reason}")

    coder = Coder(desk, generation.prompts, _gates(generation), config.signature, config.repairs, tried)
    try:
        loop.run(coder, _select(generation, desk), Shape(config.k, config.rounds), chosen)
    except WaitingError as wait:
        return Stop(WAITING, str(wait))
    except StoppedError as stop:
        return Stop(STOPPED, str(stop))
    except KeyboardInterrupt:
        return Stop(INTERRUPTED, "interrupted")
    return None


def _select(generation: Generation, desk: Desk) -> Select:
    """How a round is decided."""
    config = generation.settings
    if config.select == "read":
        return evaluator.make(desk, generation.prompts, config.rounds) if config.evaluator == "on" else evaluator.newest
    plan = trials.Plan(config.env, config.n_agents, config.trial_steps, config.trial_seeds)
    trained = trials.make(desk, plan)
    if config.evaluator == "off":
        return trained.best
    return evaluator.make(desk, generation.prompts, config.rounds, trained.lines)


def _gates(generation: Generation) -> Verify:
    env = settings.environment(generation.settings)

    def verify(source: str, file: str) -> Verdict:
        return gates.verify(source, file, env)

    return verify


def _final(generation: Generation, best: Choice) -> tuple[str | None, Verdict]:
    """The file, None if it is refused, and its verdict: a stored one may be of older gates, and without the header."""
    given = generation.settings
    agents = "" if given.n_agents is None else f", {given.n_agents} agents"
    text = sources.compose(best, f"{given.env['name']}{agents}", generation.prompts.sha256(), given.hints)
    verdict = _gates(generation)(text, TFCAF)
    return text if verdict.ok else None, verdict


def _ending(generation: Generation, result: Outcome, stop: Stop | None) -> str:
    path, lines = generation.path, []
    if result.chosen is not None and (stop is None or stop.code != WAITING):
        lines.append(f"function: {path / TFCAF}; it passes every gate; {path / outcome.TABLE} says why this one")
        arguments = [*generation.env_arguments, f"algo.mixer.function={path / TFCAF}"]
        lines.append(f"train with it: python -m qllm_jax.train {shlex.join(arguments)}")
    elif stop is None:
        lines.append(f"no function passed the gates: {path / outcome.CANDIDATES} has them with their verdicts")
    if stop is not None and stop.code == WAITING:
        lines.append("waiting for answers: paste each prompt into a new chat, save the answer as the file beside it")
        lines += [f"  {line}" for line in stop.reason.split("\n")]
        lines.append(f"then: python -m qllm_jax.generate resume={path}")
    elif stop is not None:
        lines.append(f"stopped: {stop.reason}; go on: python -m qllm_jax.generate resume={path}")
    return "\n".join(lines)


def _say(line: str) -> None:
    print(line, flush=True)
