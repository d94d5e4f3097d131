"""From a state on which a credit function breaks to the operation that breaks: its line, a cause and a remedy."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from qllm_jax.tfcaf.jaxprs import Visit, bind, walk
from qllm_jax.tfcaf.semantics.probes import States
from qllm_jax.tfcaf.semantics.trial import Outcome, Trial


class Cause(NamedTuple):
    """One operation that breaks. `clause` continues a sentence, `hint` is one."""

    line: int | None
    clause: str
    hint: str


_DIVISION = (
    ": a division by 0",
    "keep it away from 0: divide by jnp.maximum(x, 1e-3), or put 1 in its place before dividing",
)
_ROOT = (
    ": a root of 0 or less",
    "write jnp.sqrt(jnp.maximum(x, 1e-12)); norms and standard deviations are such roots",
)
_LOG = (": a logarithm of 0 or less", "take the logarithm of jnp.maximum(x, 1e-6)")
_EXP = (": an exponential that overflows", "bound what you exponentiate with jnp.clip, or use jax.nn.softmax")
_INVERSE = (": an arc function at the end of its range", "clip its argument to what lies between -0.999 and 0.999")
_POWER = (": a power of 0 or less", "bound its base away from 0 with jnp.maximum(x, 1e-6)")
_ANGLE = (": the angle of a vector of length 0", "replace the vector where it is 0, before taking its angle")
_INDEX = (": an index out of range", "derive indices from shapes, as in range(x.shape[0])")
_OTHER = ("", "bound what you divide by, and what you take roots, logarithms and exponentials of")
_CAUSES = {
    **dict.fromkeys(("div", "rem"), _DIVISION),
    **dict.fromkeys(("sqrt", "rsqrt"), _ROOT),
    **dict.fromkeys(("log", "log10", "log1p", "log2"), _LOG),
    **dict.fromkeys(("exp", "exp2", "expm1", "sinh", "cosh"), _EXP),
    **dict.fromkeys(("acos", "asin"), _INVERSE),
    **dict.fromkeys(("pow", "integer_pow"), _POWER),
    "atan2": _ANGLE,
    "gather": _INDEX,
}


_BOTH_SIGNS = ("div", "rem", "integer_pow", "tan")  # these are fine with a negative value


def cause_of(primitive: str, line: int | None) -> Cause:
    """Return the cause that an operation with this primitive stands for."""
    return Cause(line, *_CAUSES.get(primitive, _OTHER))


def of_value(trial: Trial, state: States, file: str) -> Cause:
    """Find the operation that makes the first inf or nan on one state (1, ...)."""
    names: list[tuple[str, int | None]] = []

    def run(inputs: list[jax.Array]) -> jax.Array:
        flags = []

        def step(visit: Visit, operands: list) -> Sequence[Any]:
            outputs = bind(visit.equation, operands)
            names.append((visit.name, visit.line(file)))
            flags.append(_finite(operands) & ~_finite(outputs))
            return outputs

        walk(trial.program, inputs, step)
        return jnp.stack(flags)

    flags = np.asarray(jax.jit(run)([jnp.asarray(state[name][0]) for name in sorted(state)]))
    return cause_of(*names[int(flags.argmax())]) if flags.any() else cause_of("", None)


def of_gradient(trial: Trial, outcome: Outcome, row: int) -> Cause:
    """Find a guard at its singular point on state `row`, preferably one that is not where gradients are finite."""
    broken = lambda guard, values: (values == 0 if guard.name in _BOTH_SIGNS else values <= 0).any()
    here = [broken(guard, values[row]) for guard, values in zip(trial.guards, outcome.singular, strict=True)]
    elsewhere = [broken(guard, v[outcome.smooth]) for guard, v in zip(trial.guards, outcome.singular, strict=True)]
    order = sorted(range(len(here)), key=lambda k: (not here[k], elsewhere[k]))
    if order and here[order[0]]:
        guard = trial.guards[order[0]]
        return cause_of(guard.name, guard.line)
    return cause_of("", None)


def _finite(values: Sequence[Any]) -> jax.Array:
    floats = [value for value in map(jnp.asarray, values) if jnp.issubdtype(value.dtype, jnp.floating)]
    return jnp.stack([jnp.isfinite(value).all() for value in floats]).all() if floats else jnp.bool_(True)
