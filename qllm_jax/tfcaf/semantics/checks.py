"""L6: outputs of a credit function on many states: finite, smooth, in range, linear, monotone, deterministic."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from qllm_jax.tfcaf.jaxprs import digest
from qllm_jax.tfcaf.loading import loader, paper_signature, signatures
from qllm_jax.tfcaf.loading.indexing import Remarks
from qllm_jax.tfcaf.loading.signatures import STATE
from qllm_jax.tfcaf.loading.trace_errors import translated
from qllm_jax.tfcaf.semantics import (
    budget,
    causes,
    conditions,
    hidden,
    probes,
    report,
    search,
    sizes_of_rewards,
    sizes_of_weights,
    trial,
)
from qllm_jax.tfcaf.semantics.probes import States
from qllm_jax.tfcaf.semantics.sizes_of_weights import SEARCHED
from qllm_jax.tfcaf.semantics.task import Task
from qllm_jax.tfcaf.semantics.trial import Outcome, Trial
from qllm_jax.tfcaf.static.check import Checked
from qllm_jax.tfcaf.verdict import PROGRAM, TfcafError

NAMES = {"reward": "credit", "task": "tasks"}  # in sentences, of what a function of these signatures gives
SIZE_CPU_S = 2.0  # of processor time for tracing it for another number of agents


class Tried(NamedTuple):
    """All states that were tried, with the outcome."""

    trial: Trial
    states: States
    phrases: list[str]  # each follows "on a state"
    outcome: Outcome


def verify(checked: Checked, task: Task, enter: Callable[[str, str], None]) -> dict[str, Any]:
    """Return the report of a function that passes; raise `TfcafError` for one that does not.

    `enter(layer, activity)` is called before each step, so that one that never ends can be named.
    """
    spec, file = task.spec, checked.end.file
    enter("L6", "tracing it")
    with translated(file, spec.fields):
        if checked.signature == "paper":
            paper_signature.verify_shapes(loader.define(checked), spec.n_agents, spec.state_dim, checked.end)
        remarks: Remarks = []
        credit = signatures.of_inputs(loader.define(checked, remarks=remarks), spec, checked)
        attempt = trial.make(credit, task.boxes(checked.signature == "paper"), file)
    noted = [f"line {line}: {remark}" for line, remark in dict.fromkeys(remarks)]
    enter("L7", "sizing its program")
    sizes = budget.verify(attempt.program, checked.end)
    enter("L6", "tracing it again")
    if digest(trial.make(credit, attempt.boxes, file).program) != digest(attempt.program):
        raise TfcafError("NONDET", checked.end, "two traces give different programs", "compute from the state alone")
    enter("L6", "compiling it and trying states")
    tried = _try_states(checked, task, attempt)
    enter("L6", "searching for states that break it")
    tried = _search(checked, tried)
    enter("L6", "running it as training compiles it")
    tried, more = _as_in_training(checked, tried, task.n_reached)
    enter("L6", "checking indices and weights")
    hidden.verify(checked, spec, attempt, tried.states, tried.phrases)
    _verify_sizes(checked, task, tried)
    enter("L6", "tracing it for other numbers of agents")
    works, slow = _other_sizes(checked, task)
    searched = tried.phrases.count(SEARCHED)
    counts = {"states": len(tried.phrases), "rollout_states": task.n_seen, "searched_states": searched}
    rows = task.n_reached if task.kind == "reward" else task.n_seen
    reported = {name: values[:rows] for name, values in tried.states.items()}
    found: dict[str, Any] = sizes | counts | report.report(checked, spec, attempt, reported, tried.outcome)
    found["notes"] += noted + more + slow + search.notes(attempt, tried.outcome)
    return found | {"traces_for_n_agents": works, PROGRAM: digest(attempt.program)}


def _verify_sizes(checked: Checked, task: Task, tried: Tried) -> None:
    reached = task.n_reached
    if checked.signature == "reward":
        sizes_of_rewards.verify_credit(checked, task.spec, tried.states, tried.outcome, reached)
    elif checked.signature == "task":
        sizes_of_rewards.verify_tasks(checked, tried.outcome, tried.phrases)
    else:
        near = probes.are_reached(tried.states, reached)
        sizes_of_weights.verify(
            checked, tried.outcome, tried.phrases, n_random=task.n_seen, n_reached=reached, near=near
        )


def _try_states(checked: Checked, task: Task, attempt: Trial) -> Tried:
    paper = checked.signature == "paper"
    states, phrases = task.probe_states(attempt.boxes, paper)
    tried = Tried(attempt, states, phrases, attempt.run(states))
    _verify_finite(checked, tried)
    if paper:
        rows = np.linspace(0, len(phrases) - 1, 32).astype(int)
        network = loader.define(checked)
        paper_signature.verify_values(network, task.spec.n_agents, states[STATE][rows], checked.end)
    return tried


def _search(checked: Checked, tried: Tried) -> Tried:
    if found := next(search.crossings(tried.trial, tried.states, tried.outcome), None):
        guard, code = found
        problem = "divides by what is negative on some states and positive on others, and 0 in between"
        hint = f"adding a small number does not help here; {causes.cause_of('div', None).hint}"
        raise TfcafError(code, checked.end._replace(line=guard.line), problem, hint)
    ends = search.ends(tried.trial, tried.states, tried.outcome)
    return _with_ends(checked, tried, ends)


def _with_ends(checked: Checked, tried: Tried, ends: States) -> Tried:
    """Try the states to which a search leads, and return all."""
    n_ends = len(next(iter(ends.values())))
    if not n_ends:
        return tried
    phrases, outcome = [SEARCHED] * n_ends, tried.trial.run(ends)
    _verify_finite(checked, Tried(tried.trial, ends, phrases, outcome))
    joined = {name: np.concatenate([values, ends[name]]) for name, values in tried.states.items()}
    whole = jax.tree.map(lambda *parts: np.concatenate(parts), tried.outcome, outcome)
    return Tried(tried.trial, joined, tried.phrases + phrases, whole)


def _as_in_training(checked: Checked, tried: Tried, reached: int) -> tuple[Tried, list[str]]:
    """Run it as training compiles it, and look for states on which a comparison breaks it. Return all, and notes."""
    end = checked.end
    found = conditions.run(tried.trial, tried.states, reached, end.file)
    usual = probes.are_usual(tried.trial.boxes, tried.states)
    moderate = sizes_of_weights.are_moderate(tried.outcome)  # others are too large, which is said of them below
    if (broken := ~found.finite & usual & moderate).any():
        phrase = tried.phrases[int(broken.argmax())]
        what = NAMES.get(checked.signature, "weights or bias")
        problem = f"{what} overflow on a state {phrase}, times the number of agents and compiled as in training"
        hint = "XLA reorders products: keep constants, and what is computed on the way, between 1e-10 and 1e10"
        raise TfcafError("NONFINITE", end, problem, hint)
    if found.dangers:
        tried = _with_ends(checked, tried, conditions.ends(tried.trial, found.dangers, tried.states))
    return tried, conditions.notes(found)


def _verify_finite(checked: Checked, tried: Tried) -> None:
    outcome, end = tried.outcome, checked.end
    if not outcome.finite.all():
        row = int((~outcome.finite).argmax())
        one = {name: array[row : row + 1] for name, array in tried.states.items()}
        cause = causes.of_value(tried.trial, one, end.file)
        main = NAMES.get(checked.signature, "weights")
        values, what = (outcome.weights[row], main) if np.isfinite(outcome.bias[row]) else (outcome.bias[row], "bias")
        size = "nan" if np.isnan(values).any() else "inf"
        verb = "are" if what in ("weights", "tasks") else "is"
        where = f"{size} on a state {tried.phrases[row]}{cause.clause}"
        code, problem = "NONFINITE", f"the {what} {verb} {where}"
        if checked.signature == "paper" and what == "weights":  # they are its gradient, the bias is its value
            code, problem = "NANGRAD", f"its gradient by agents_q is {where}"
        raise TfcafError(code, end._replace(line=cause.line or end.line), problem, cause.hint)
    rough = ~outcome.smooth & probes.are_usual(tried.trial.boxes, tried.states)
    if rough.any():
        row = int(rough.argmax())
        cause = causes.of_gradient(tried.trial, outcome, row)
        problem = f"its gradient by the state is inf or nan on a state {tried.phrases[row]}{cause.clause}"
        raise TfcafError("NANGRAD", end._replace(line=cause.line or end.line), problem, cause.hint)


def _other_sizes(checked: Checked, task: Task) -> tuple[list[int], list[str]]:
    """Return the numbers of agents for which it can be traced within the budget, and notes on others."""
    works, fails, notes = [task.spec.n_agents], [], []
    for n, spec in task.others.items():
        remarks: Remarks = []
        credit = signatures.of_inputs(loader.define(checked, remarks=remarks), spec, checked)
        try:
            with budget.processor_time(SIZE_CPU_S):
                budget.verify(loader.trace(credit, signatures.input_shapes(checked, spec)), checked.end)
        except TimeoutError:
            notes.append(f"for {n} agents tracing it takes more than {SIZE_CPU_S:g} s: loops over agents are unrolled")
        except TfcafError as error:
            if error.code == "BUDGET":
                notes.append(f"for {n} agents it is refused: {error.problem}")
            else:
                fails.append(n)
        except Exception:  # written for its own size, which is allowed
            fails.append(n)
        else:
            works.append(n)
            stops = [f"for {n} agents, line {line}: {remark}" for line, remark in remarks if remark.startswith("zip")]
            notes += stops[:1] if n > task.spec.n_agents else []
    if fails and checked.signature != "paper":  # flat states are read by numbers, for one size alone
        others = ", ".join(map(str, fails))
        notes.append(f"it is written for {task.spec.n_agents} agents: it fails where there are {others}")
    return sorted(works), notes
