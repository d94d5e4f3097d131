"""Mistakes that JAX hides: it reads another entry for an index out of range, and divides whole numbers by 0.

Both are found by poison: the wrong value is replaced by another, and the function is refused if that changes its
outcome. A wrong value that it masks does no harm.
"""

from collections.abc import Callable, Sequence
from types import CodeType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import jaxpr_as_fun

from qllm_envs.core import Spec
from qllm_jax.tfcaf.jaxprs import Visit, bind, primitives, walk
from qllm_jax.tfcaf.loading import loader, signatures
from qllm_jax.tfcaf.loading.indexing import Site, Watch
from qllm_jax.tfcaf.semantics import intervals, probes
from qllm_jax.tfcaf.semantics.intervals import Ranged
from qllm_jax.tfcaf.semantics.probes import States
from qllm_jax.tfcaf.semantics.trial import Trial
from qllm_jax.tfcaf.static.check import Checked
from qllm_jax.tfcaf.verdict import TfcafError

POISONS = (1_000_003, 0)  # in place of whole numbers and truth values; floats become nan
_INDEXED = frozenset({"gather", "dynamic_slice", "dynamic_update_slice"})
# Operations of whole numbers whose result may not fit.
_GROWS = frozenset("add cumprod cumsum dot_general integer_pow mul pow reduce_prod reduce_sum sub".split())  # noqa: SIM905


def verify(checked: Checked, spec: Spec, trial: Trial, states: States, phrases: list[str]) -> None:
    """Raise `TfcafError` if an index out of range or a whole number over 0 changes the outcome on a state (P, ...)."""
    names = set(primitives(trial.program))
    if names & _INDEXED or any(name.startswith("scatter") for name in names) or "one_hot" in _words(checked.code):
        more, more_phrases = probes.spikes(trial.boxes)
        joined = {name: np.concatenate([states[name], more[name]]) for name in states}
        _verify_indices(checked, spec, joined, phrases + more_phrases)
    risky = [each.visit for each in intervals.of_operations(trial.program, trial.boxes) if _may_be_wrong(each)]
    if risky:
        _verify_whole(checked, trial, states, phrases, risky)


def _verify_indices(checked: Checked, spec: Spec, states: States, phrases: list[str]) -> None:
    sites: list[Site] = []

    def run(inputs: dict[str, jax.Array]) -> tuple:
        watch = Watch([])
        plain = _outcome(checked, spec, watch, inputs)
        sites[:] = watch.sites
        poisoned = [_outcome(checked, spec, Watch([], poison), inputs) for poison in POISONS]
        bad = jnp.stack([site.bad for site in watch.sites]) if watch.sites else jnp.zeros(0, bool)
        return bad, _changes(plain, poisoned)

    # Traced for one state, as in training: a function must not see that it is watched on many.
    program = loader.trace(run, {name: jax.ShapeDtypeStruct(x.shape[1:], jnp.float32) for name, x in states.items()})
    rows = [states[name] for name in sorted(states)]
    bad, changes = map(np.asarray, jax.jit(jax.vmap(jaxpr_as_fun(program)))(*rows))  # (P, sites), (P,)
    harmful = bad & (changes[:, None] | np.array([site.writes for site in sites], bool)[None])
    if harmful.any():
        row, site = np.argwhere(harmful)[0]
        does = "drops an update" if sites[site].writes else "reads another entry in its place"
        problem = f"an index is negative or too large on a state {phrases[row]}, where JAX {does}"
        hint = "bound it with jnp.clip(i, 0, x.shape[0] - 1), and choose with jnp.where what stands in for no entry"
        raise TfcafError("OOB", checked.end._replace(line=sites[site].line), problem, hint)


def _outcome(checked: Checked, spec: Spec, watch: Watch, inputs: dict[str, jax.Array]) -> list[jax.Array]:
    """Return weights and bias; for the paper's signature the team value of some Q-values."""
    function: Callable[..., Any] = loader.define(checked, watch)
    if checked.signature == "paper":
        (state,) = inputs.values()
        q = 1.0 + jnp.arange(spec.n_agents, dtype=jnp.float32)
        return [function(q[None], state[None])]
    return list(signatures.of_inputs(function, spec, checked)(inputs))


def _verify_whole(checked: Checked, trial: Trial, states: States, phrases: list[str], risky: list[Visit]) -> None:
    """Raise `TfcafError` where whole numbers are divided by 0 or leave their range, and that changes the outcome."""
    positions = {visit.position for visit in risky}

    def once(inputs: list[jax.Array], poison: int | None) -> tuple[list[jax.Array], list[jax.Array]]:
        faults: list[jax.Array] = []

        def step(visit: Visit, operands: list) -> Sequence[Any]:
            outputs = bind(visit.equation, operands)
            if visit.position in positions:
                wrong = _wrong(visit.equation, operands, outputs[0].shape)
                faults.append(wrong.any())
                outputs = outputs if poison is None else [jnp.where(wrong, poison, outputs[0]).astype(outputs[0].dtype)]
            return outputs

        return walk(trial.program, inputs, step), faults

    def run(inputs: list[jax.Array]) -> tuple:
        plain, faults = once(inputs, None)
        changes = _changes(plain, [once(inputs, poison)[0] for poison in POISONS])
        return jnp.stack(faults), changes

    faults, changes = map(np.asarray, jax.jit(jax.vmap(run))([states[name] for name in sorted(states)]))
    harmful = faults & changes[:, None] & probes.are_usual(trial.boxes, states)[:, None]
    harmful |= faults & changes[:, None] & np.array([_divides_whole(visit.equation) for visit in risky])[None]
    if harmful.any():
        row, which = np.argwhere(harmful)[0]
        if _divides_whole(risky[which].equation):
            code, problem = "NONFINITE", f"a whole number is divided by 0 on a state {phrases[row]}"
            hint = "divide by jnp.maximum(n, 1)"
        else:
            code, problem = "SCALE", f"a whole number leaves the range of its type on a state {phrases[row]}, and wraps"
            hint = "compute with floats, or bound the number with jnp.clip before"
        raise TfcafError(code, checked.end._replace(line=risky[which].line(checked.end.file)), problem, hint)


def _divides_whole(equation: Any) -> bool:
    return equation.primitive.name in ("div", "rem") and jnp.issubdtype(equation.outvars[0].aval.dtype, jnp.integer)


def _may_be_wrong(ranged: Ranged) -> bool:
    """True for an operation of whole numbers that may be wrong for all that its ranges tell."""
    equation, (low, high) = ranged.visit.equation, ranged.outcome
    if not _is_risky(equation):
        return False
    bounds = jnp.iinfo(equation.outvars[0].aval.dtype)
    return _divides_whole(equation) or not (bounds.min <= low and high <= bounds.max)


def _is_risky(equation: Any) -> bool:
    """True for an operation of whole numbers that can be wrong: a division, or one whose result may not fit."""
    name, out = equation.primitive.name, equation.outvars[0].aval
    if not jnp.issubdtype(out.dtype, jnp.integer):
        return False
    if name == "convert_element_type":
        given = equation.invars[0].aval.dtype
        narrows = jnp.issubdtype(given, jnp.integer) and not jnp.can_cast(given, out.dtype)
        return bool(jnp.issubdtype(given, jnp.floating) or narrows)
    return name in _GROWS or _divides_whole(equation)


def _wrong(equation: Any, operands: list, shape: tuple[int, ...]) -> jax.Array:
    """True where the result of a risky operation is not the number that it stands for."""
    name = equation.primitive.name
    if name in ("div", "rem"):
        return jnp.broadcast_to(operands[1] == 0, shape)
    floats = [jnp.asarray(x).astype(jnp.float32) for x in operands]
    if name == "convert_element_type":
        exact = jnp.trunc(floats[0])
    elif name == "dot_general":
        (exact,) = bind(equation.replace(params={**equation.params, "preferred_element_type": jnp.float32}), floats)
    else:
        (exact,) = bind(equation, floats)
    bounds = jnp.iinfo(equation.outvars[0].aval.dtype)
    return ~((exact >= float(bounds.min)) & (exact <= float(bounds.max)))  # True of nan too


def _words(code: CodeType) -> set[str]:
    """Return the names that compiled code reads, those of its functions included."""
    return set(code.co_names).union(*(_words(each) for each in code.co_consts if isinstance(each, CodeType)))


def _changes(plain: list[jax.Array], poisoned: list[list[jax.Array]]) -> jax.Array:
    """Return True () if some poisoned outcome differs from the plain one; nan differs."""
    close = lambda a, b: (jnp.abs(a - b) <= 1e-6 * (1.0 + jnp.abs(a))).all()
    return ~jnp.stack([close(a, b) for other in poisoned for a, b in zip(plain, other, strict=True)]).all()
