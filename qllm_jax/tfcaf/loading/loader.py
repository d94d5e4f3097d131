"""L4: a checked source as a function of its kind: compiled, run in a bare namespace, traced, wrapped.

The Python of a credit function runs while it is traced, for one state and under fixed settings of JAX, and never after:
the gates try the traced program, and training evaluates it. A function cannot tell the two apart.
"""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun

from qllm_envs.core import Spec
from qllm_jax import process
from qllm_jax.tfcaf.contract import Credit, CreditFunction, Fields, RewardFunction, TaskFunction
from qllm_jax.tfcaf.jaxprs import digest
from qllm_jax.tfcaf.loading import paper_signature
from qllm_jax.tfcaf.loading.indexing import Remarks, Watch
from qllm_jax.tfcaf.loading.namespace import namespace
from qllm_jax.tfcaf.loading.signatures import STATE, Shapes, input_shapes, of_inputs, step_inputs
from qllm_jax.tfcaf.loading.source import find
from qllm_jax.tfcaf.loading.trace_errors import translated
from qllm_jax.tfcaf.static.check import Checked, check
from qllm_jax.tfcaf.static.vocabulary import Kind
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
    paper's signature is run on seven rows. Raises `TfcafError` if it breaks the contract. The result evaluates the
    traced program; `program` is its digest, which a pass of the gates holds too.
    """
    checked, program, run = _traced(text, name, spec, "value")

    def credit(fields: Fields, state: jax.Array) -> Credit:
        weights, bias = run({STATE: state} if checked.signature == "paper" else fields)
        return weights, bias

    return CreditFunction(name, credit, checked.igm, checked.signature, text, sha256(text), digest(program))


def reward_from_source(text: str, name: str, spec: Spec) -> RewardFunction:
    """Load `text` as a function of reward credit, as `from_source` loads one of value credit."""
    _, program, run = _traced(text, name, spec, "reward")

    def credit(fields: Fields, actions: jax.Array, reward: jax.Array, after: Fields) -> jax.Array:
        return run(step_inputs(fields, actions, reward, after))[0].reshape(spec.n_agents, -1)

    n_factors = program.out_avals[0].size // spec.n_agents
    return RewardFunction(name, credit, n_factors, text, sha256(text), digest(program))


def task_from_source(text: str, name: str, spec: Spec) -> TaskFunction:
    """Load `text` as a task function, as `from_source` loads one of value credit."""
    checked, program, run = _traced(text, name, spec, "task")
    assign = lambda fields: run(fields)[0].astype(jnp.int32)
    return TaskFunction(name, assign, checked.tasks, text, sha256(text), digest(program))


def _traced(
    text: str, name: str, spec: Spec, kind: Kind
) -> tuple[Checked, ClosedJaxpr, Callable[[Fields], list[jax.Array]]]:
    """Return a source of `kind`, checked, its program for one sample, and that program as a function of a dict."""
    checked = check(text, name, kind)
    with translated(name, spec.fields), fixed_settings():
        function = define(checked)
        if checked.signature == "paper":
            states = paper_signature.any_states(spec.state_dim)
            paper_signature.verify_shapes(function, spec.n_agents, spec.state_dim, checked.end)
            paper_signature.verify_values(function, spec.n_agents, states, checked.end)
        shapes = input_shapes(checked, spec)
        program = trace(of_inputs(function, spec, checked), shapes)
    run, names = jaxpr_as_fun(program), sorted(shapes)
    # In float32 whatever the environment stores: what was checked is what runs.
    return checked, program, lambda inputs: run(*(jnp.asarray(inputs[name], jnp.float32) for name in names))


@functools.cache
def warm_up() -> None:
    """Make jax import what it imports late, once a process.

    The globals of a credit function have no `__import__`, which jaxlib takes from there the first time that it meets a
    Python number; and in a candidate's process reading is forbidden later.
    """
    late = jax.grad(lambda row: jnp.einsum("i,i->", jnp.clip(row, -1.0, 1), jax.nn.softmax(row)))
    jax.block_until_ready(jax.jit(jax.vmap(late))(jnp.ones((2, 2))))


def define(checked: Checked, watch: Watch | None = None, remarks: Remarks | None = None) -> Callable[..., Any]:
    """Return the function of a checked source, in globals of its own."""
    warm_up()
    space = namespace(watch, remarks)
    exec(checked.code, space)  # constants and definitions only, by the check
    return space[checked.entry]


@contextmanager
def fixed_settings() -> Iterator[None]:
    """Settings of JAX under which every credit function is traced, whatever those of the process are."""
    with process.in_32_bits(), jax.numpy_rank_promotion("allow"), jax.default_matmul_precision(None):
        yield


def trace(function: Callable[[Fields], Any], shapes: Shapes) -> ClosedJaxpr:
    """Return the program of `function` for the arrays of one state, in the order of their sorted names."""
    with fixed_settings():
        return jax.make_jaxpr(lambda inputs: function(inputs))(shapes)  # a new function is traced, not looked up
