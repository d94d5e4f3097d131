"""Mistakes that JAX hides: it reads another entry for an index out of range, and divides whole numbers by 0.

Both are found by poison: the wrong value is replaced by another, and the function is refused if that changes its
outcome. A wrong value that it masks does no harm.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import jaxpr_as_fun

from qllm_envs.core import Spec
from qllm_jax.tfcaf.jaxprs import bind, line_of, operations, walk
from qllm_jax.tfcaf.loading import loader
from qllm_jax.tfcaf.loading.indexing import Site, Watch
from qllm_jax.tfcaf.semantics import probes
from qllm_jax.tfcaf.semantics.probes import States
from qllm_jax.tfcaf.semantics.trial import Trial
from qllm_jax.tfcaf.static.check import Checked
from qllm_jax.tfcaf.verdict import TfcafError

POISONS = (1_000_003, 0)  # in place of whole numbers and truth values; floats become nan
_INDEXED = frozenset({"gather", "dynamic_slice", "dynamic_update_slice"})


def verify(checked: Checked, spec: Spec, trial: Trial, states: States, kinds: list[str]) -> None:
    """Raise `TfcafError` if an index out of range or a whole number over 0 changes the outcome on a state (P, ...)."""
    names = {operation.equation.primitive.name for operation in operations(trial.program)}
    if names & _INDEXED or any(name.startswith("scatter") for name in names):
        more, more_kinds = probes.spikes(trial.boxes)
        joined = {name: np.concatenate([states[name], more[name]]) for name in states}
        _verify_indices(checked, spec, joined, kinds + more_kinds)
    if any(_divides_whole(operation.equation) for operation in operations(trial.program)):
        _verify_divisions(checked, trial, states, kinds)


def _verify_indices(checked: Checked, spec: Spec, states: States, kinds: list[str]) -> None:
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
        problem = f"an index is negative or too large on a state {kinds[row]}, where JAX {does}"
        hint = "bound it with jnp.clip(i, 0, x.shape[0] - 1), and choose with jnp.where what stands in for no entry"
        raise TfcafError("OOB", checked.end._replace(line=sites[site].line), problem, hint)


def _outcome(checked: Checked, spec: Spec, watch: Watch, inputs: dict[str, jax.Array]) -> list[jax.Array]:
    """Return weights and bias; for the paper's signature the team value of some Q-values."""
    function: Callable[..., Any] = loader.define(checked, watch)
    if checked.entry == "QLLMNetwork":
        (state,) = inputs.values()
        q = 1.0 + jnp.arange(spec.n_agents, dtype=jnp.float32)
        return [function(q[None], state[None])]
    return list(loader.of_inputs(function, spec, checked)(inputs))


def _verify_divisions(checked: Checked, trial: Trial, states: States, kinds: list[str]) -> None:
    lines: list[int | None] = []

    def once(inputs: list[jax.Array], poison: int | None) -> tuple[list[jax.Array], list[jax.Array]]:
        zeros: list[jax.Array] = []

        def step(position: int, equation: Any, operands: list, outermost: Any) -> Any:
            del position
            outputs = bind(equation, operands)
            if _divides_whole(equation):
                zero = jnp.broadcast_to(operands[1] == 0, outputs[0].shape)
                zeros.append(zero.any())
                lines.append(line_of(outermost, checked.end.file))
                outputs = outputs if poison is None else [jnp.where(zero, poison, outputs[0])]
            return outputs

        return walk(trial.program, inputs, step), zeros

    def run(inputs: list[jax.Array]) -> tuple:
        plain, zeros = once(inputs, None)
        changes = _changes(plain, [once(inputs, poison)[0] for poison in POISONS])
        return jnp.stack(zeros) if zeros else jnp.zeros(0, bool), changes

    zeros, changes = map(np.asarray, jax.jit(jax.vmap(run))([states[name] for name in sorted(states)]))
    harmful = zeros & changes[:, None]
    if harmful.any():
        row, site = np.argwhere(harmful)[0]
        hint = "divide by jnp.maximum(n, 1)"
        problem = f"a whole number is divided by 0 on a state {kinds[row]}"
        raise TfcafError("NONFINITE", checked.end._replace(line=lines[site]), problem, hint)


def _divides_whole(equation: Any) -> bool:
    return equation.primitive.name in ("div", "rem") and jnp.issubdtype(equation.outvars[0].aval.dtype, jnp.integer)


def _changes(plain: list[jax.Array], poisoned: list[list[jax.Array]]) -> jax.Array:
    """Return True () if some poisoned outcome differs from the plain one; nan differs."""
    close = lambda a, b: (jnp.abs(a - b) <= 1e-6 * (1.0 + jnp.abs(a))).all()
    return ~jnp.stack([close(a, b) for other in poisoned for a, b in zip(plain, other, strict=True)]).all()
