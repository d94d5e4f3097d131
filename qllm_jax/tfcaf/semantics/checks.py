"""What a credit function computes, tried on many states: finite, smooth, in range, linear, monotone, deterministic."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from qllm_envs.core import Spec
from qllm_jax.tfcaf import adapter, loader
from qllm_jax.tfcaf.explain import explained
from qllm_jax.tfcaf.semantics import blame, crossing, hidden, probes, program, search, trial, weights
from qllm_jax.tfcaf.semantics.probes import Box, States
from qllm_jax.tfcaf.semantics.trial import Outcome, Trial
from qllm_jax.tfcaf.setting import Setting
from qllm_jax.tfcaf.static.check import Checked
from qllm_jax.tfcaf.verdict import TfcafError

STATE = "global_state"  # the one array that a function of the paper's signature reads
IN_RANGE = "in the fields' ranges"
SLACK = 1e-6  # of the largest weight: what counts as negative


class Tried(NamedTuple):
    """All states that were tried, with what came out."""

    trial: Trial
    states: States
    kinds: list[str]
    outcome: Outcome


def examine(checked: Checked, setting: Setting, stage: Callable[[str, str], None]) -> dict[str, Any]:
    """What is worth knowing about a function that passes; `TfcafError` for one that does not.

    `stage(layer, what)` is told what is being done, for the case that it never ends.
    """
    spec, file = setting.spec, checked.end.file
    stage("L6", "tracing it")
    with explained(file, spec.fields):
        if checked.entry == "QLLMNetwork":
            adapter.verify_shapes(loader.define(checked), spec.n_agents, spec.state_dim, checked.end)
        credit = _credit(checked, spec)
        attempt = trial.make(credit, _boxes(checked, setting), file)
    stage("L7", "sizing its program")
    sizes = program.verify(attempt.program, checked.end)
    stage("L6", "tracing it again")
    if str(trial.make(credit, attempt.boxes, file).program) != str(attempt.program):
        raise TfcafError("NONDET", checked.end, "two traces give different programs", "compute from the state alone")
    stage("L6", "compiling it and trying states")
    tried = _try_states(checked, setting, attempt)
    stage("L6", "searching for states that break it")
    tried = _search(checked, tried)
    stage("L6", "checking indices and weights")
    hidden.verify(checked, spec, attempt, tried.states, tried.kinds)
    _verify_weights(checked, tried)
    n_seen = len(setting.seen_state)
    report = weights.report(
        checked, setting.spec, attempt, {k: v[:n_seen] for k, v in tried.states.items()}, tried.outcome
    )
    counts = {"states": len(tried.kinds), "rollout_states": n_seen, "searched_states": tried.kinds.count(IN_RANGE)}
    return sizes | counts | report | {"traces_for_n_agents": _other_sizes(checked, setting)}


def _credit(checked: Checked, spec: Spec) -> Callable[[dict[str, jax.Array]], Any]:
    """The function of the dict of what it reads, in globals of its own."""
    credit = loader.wrap(loader.define(checked), spec, checked)
    if checked.entry == "QLLMNetwork":
        return lambda inputs: credit({}, inputs[STATE])
    return lambda inputs: credit(inputs, jnp.zeros(0))


def _boxes(checked: Checked, setting: Setting) -> dict[str, Box]:
    fields = setting.spec.fields
    if checked.entry == "QLLMNetwork":
        bounded = all(np.isfinite([field.low, field.high]).all() for field in fields.values())
        return {STATE: probes.flat_box(np.concatenate([setting.seen_state, setting.reached_state]), bounded)}
    return {name: probes.box(field.low, field.high, setting.seen[name]) for name, field in fields.items()}


def _try_states(checked: Checked, setting: Setting, attempt: Trial) -> Tried:
    paper = checked.entry == "QLLMNetwork"
    states, kinds = probes.states(attempt.boxes, {STATE: setting.seen_state} if paper else setting.seen)
    tried = Tried(attempt, states, kinds, attempt.run(states))
    _verify_finite(checked, tried)
    if paper:
        rows = np.linspace(0, len(kinds) - 1, 32).astype(int)
        network = loader.define(checked)
        adapter.verify_values(network, setting.spec.n_agents, states[STATE][rows], checked.end)
    return tried


def _search(checked: Checked, tried: Tried) -> Tried:
    for found in crossing.crossings(tried.trial, tried.states, tried.outcome):
        problem = "divides by what is negative on some states and positive on others, and 0 in between"
        hint = f"adding a small number does not help here; {blame.cause_of('div', None).hint}"
        raise TfcafError(found.code, checked.end._replace(line=found.guard.line), problem, hint)
    ends = search.ends(tried.trial, tried.states, tried.outcome)
    n_ends = len(next(iter(ends.values())))
    if not n_ends:
        return tried
    kinds, outcome = [IN_RANGE] * n_ends, tried.trial.run(ends)
    _verify_finite(checked, Tried(tried.trial, ends, kinds, outcome))
    joined = {name: np.concatenate([values, ends[name]]) for name, values in tried.states.items()}
    whole = jax.tree.map(lambda *parts: np.concatenate(parts), tried.outcome, outcome)
    return Tried(tried.trial, joined, tried.kinds + kinds, whole)


def _verify_finite(checked: Checked, tried: Tried) -> None:
    outcome, end = tried.outcome, checked.end
    if not outcome.finite.all():
        row = int((~outcome.finite).argmax())
        found = blame.of_value(
            tried.trial, {name: array[row : row + 1] for name, array in tried.states.items()}, end.file
        )
        values, what = (
            (outcome.weights[row], "weights") if np.isfinite(outcome.bias[row]) else (outcome.bias[row], "bias")
        )
        size = "nan" if np.isnan(values).any() else "inf"
        verb = "are" if what == "weights" else "is"
        code, problem = "NONFINITE", f"the {what} {verb} {size} on a state {tried.kinds[row]}{found.cause}"
        if checked.entry == "QLLMNetwork" and what == "weights":  # they are its gradient, the bias is its value
            code, problem = "NANGRAD", f"its gradient by agents_q is {size} on a state {tried.kinds[row]}{found.cause}"
        raise TfcafError(code, end._replace(line=found.line or end.line), problem, found.hint)
    rough = ~outcome.smooth & probes.are_usual(tried.trial.boxes, tried.states)
    if rough.any():
        row = int(rough.argmax())
        found = blame.of_gradient(tried.trial, outcome, row)
        problem = f"its gradient by the state is inf or nan on a state {tried.kinds[row]}{found.cause}"
        raise TfcafError("NANGRAD", end._replace(line=found.line or end.line), problem, found.hint)


def _verify_weights(checked: Checked, tried: Tried) -> None:
    given, end = tried.outcome.weights, checked.end  # (P, N)
    idle = np.flatnonzero((given == 0).all(0))
    if len(idle):
        who = "every agent" if len(idle) == given.shape[1] else f"agent {idle[0]}"
        problem = f"the weight of {who} is 0 on all {len(given)} states that were tried"
        raise TfcafError("ZEROGRAD", end, problem, "an agent that never counts learns nothing: give it some weight")
    negative = given.min(-1) < -SLACK * np.abs(given).max()
    if checked.igm and negative.any():
        row = int(negative.argmax())
        problem = f"a weight is {given[row].min():.3g} on a state {tried.kinds[row]}, while IGM is True"
        hint = "make weights non-negative, with jax.nn.softmax, relu or softplus, or write IGM = False if you mean it"
        raise TfcafError("NONMONO", end, problem, hint)


def _other_sizes(checked: Checked, setting: Setting) -> list[int]:
    """The numbers of agents for which it can be traced."""
    works = [setting.spec.n_agents]
    for n, spec in setting.others.items():
        credit = loader.wrap(loader.define(checked), spec, checked)
        try:
            jax.eval_shape(credit, loader.field_shapes(spec), jax.ShapeDtypeStruct((spec.state_dim,), jnp.float32))
        except Exception:  # written for its own size, which is allowed
            continue
        works.append(n)
    return sorted(works)
