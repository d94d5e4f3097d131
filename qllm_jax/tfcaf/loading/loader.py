"""L4: a checked source as a credit function: compiled, run in a bare namespace, traced, wrapped."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from qllm_envs.core import Spec
from qllm_jax.tfcaf.contract import Credit, CreditFunction, Fields, as_credit
from qllm_jax.tfcaf.loading import paper_signature
from qllm_jax.tfcaf.loading.indexing import Watch
from qllm_jax.tfcaf.loading.namespace import namespace
from qllm_jax.tfcaf.loading.source import find
from qllm_jax.tfcaf.loading.trace_errors import translated
from qllm_jax.tfcaf.static.check import Checked, check
from qllm_jax.tfcaf.static.vocabulary import ENTRIES
from qllm_jax.tfcaf.verdict import sha256


def load(name_or_path: str, spec: Spec) -> CreditFunction:
    """Load the credit function that `find` finds, for environments of `spec`. `TfcafError` if it breaks the contract.

    It is traced in this process: for what nobody has read, the gates come first (`qllm_jax.tfcaf.gates.require`).
    """
    found = find(name_or_path)
    return from_source(found.text, found.file, spec)._replace(name=found.name)


def from_source(text: str, name: str, spec: Spec) -> CreditFunction:
    """Load `text` as a credit function for environments of `spec`; messages call the file `name`.

    Nothing of `text` runs before the static check has passed. Then `credit` is traced, not run; a function of the
    paper's signature is run on seven rows. Raises `TfcafError` if it breaks the contract.
    """
    checked = check(text, name)
    with translated(name, spec.fields):
        function = define(checked)
        if checked.entry == "QLLMNetwork":
            states = paper_signature.any_states(spec.state_dim)
            paper_signature.verify(function, spec.n_agents, states, checked.end)
        credit = wrap(function, spec, checked)
        jax.eval_shape(credit, field_shapes(spec), jax.ShapeDtypeStruct((spec.state_dim,), jnp.float32))
    return CreditFunction(name, credit, checked.igm, ENTRIES[checked.entry], text, sha256(text))


@functools.cache
def warm_up() -> None:
    """Make jax import what it imports late, once a process.

    The globals of a credit function have no `__import__`, which jaxlib takes from there the first time that it meets a
    Python number; and in a candidate's process reading is forbidden later.
    """
    late = jax.grad(lambda row: jnp.einsum("i,i->", jnp.clip(row, -1.0, 1), jax.nn.softmax(row)))
    jax.block_until_ready(jax.jit(jax.vmap(late))(jnp.ones((2, 2))))


def define(checked: Checked, watch: Watch | None = None) -> Callable[..., Any]:
    """Return the function of a checked source, in globals of its own."""
    warm_up()
    space = namespace(watch)
    exec(checked.code, space)  # constants and definitions only, by the check
    return space[checked.entry]


def wrap(function: Callable[..., Any], spec: Spec, checked: Checked) -> Callable[[Fields, jax.Array], Credit]:
    """Return `function`, of either signature, as weights (N,) and bias () of the fields and flat state of a sample."""
    one = paper_signature.adapt(function, spec.n_agents)

    def credit(fields: Fields, state: jax.Array) -> Credit:
        if checked.entry == "QLLMNetwork":
            return one(jnp.asarray(state, jnp.float32))
        # A dict of its own, in float32 whatever the environment stores: what was checked is what runs.
        named = {field: jnp.asarray(fields[field], jnp.float32) for field in spec.fields}
        return as_credit(function(named), spec.n_agents, checked.end)

    return credit


def field_shapes(spec: Spec) -> dict[str, jax.ShapeDtypeStruct]:
    """Return the shapes of the fields as a credit function gets them."""
    return {name: jax.ShapeDtypeStruct(field.shape, jnp.float32) for name, field in spec.fields.items()}
