"""The arrays that a function of each signature reads, by name, and its outcome on them: one array and one number.

The gates try every signature in this form. A function of the paper's signature reads the flat state; one of reward
credit reads the fields of two states, the actions between them and the team's reward.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from qllm_envs.core import Spec
from qllm_jax.tfcaf.contract import Credit, Fields, as_credit, as_factors, as_tasks
from qllm_jax.tfcaf.loading import paper_signature
from qllm_jax.tfcaf.static.check import Checked

STATE = "global_state"  # the one array that a function of the paper's signature reads
# Of a step; no field is called so, since names of fields have no dot.
ACTIONS, REWARD, NEXT = "step.actions", "step.reward", "next."  # NEXT and a field: that field after the step
Shapes = dict[str, jax.ShapeDtypeStruct]
T = TypeVar("T")


def input_shapes(checked: Checked, spec: Spec) -> Shapes:
    """Return the shapes of the arrays that a function reads, as the gates and training give them."""
    floats = lambda *shape: jax.ShapeDtypeStruct(shape, jnp.float32)
    if checked.signature == "paper":
        return {STATE: floats(spec.state_dim)}
    fields = {name: floats(*field.shape) for name, field in spec.fields.items()}
    if checked.signature != "reward":
        return fields
    return step_inputs(fields, floats(spec.n_agents), floats(), fields)


def of_inputs(function: Callable[..., Any], spec: Spec, checked: Checked) -> Callable[[Fields], Credit]:
    """Return `function`, of any signature, as a function of the dict of arrays that it reads.

    Its outcome is weights (N,) and bias () for value credit; for the other kinds all that it returns in one row, and 0.
    """
    # Dicts of their own, in the order of the fields.
    named = lambda inputs, prefix="": {field: inputs[prefix + field] for field in spec.fields}
    if checked.signature == "paper":
        one = paper_signature.adapt(function, spec.n_agents)
        return lambda inputs: one(inputs[STATE])
    if checked.signature == "reward":

        def factors(inputs: Fields) -> Credit:
            actions = inputs[ACTIONS].astype(jnp.int32)
            outcome = function(named(inputs), actions, inputs[REWARD], named(inputs, NEXT))
            return as_factors(outcome, spec.n_agents, checked.end).reshape(-1), jnp.zeros(())

        return factors
    if checked.signature == "task":
        assigned = lambda inputs: as_tasks(function(named(inputs)), spec.n_agents, checked.end)
        return lambda inputs: (assigned(inputs).astype(jnp.float32), jnp.zeros(()))
    return lambda inputs: as_credit(function(named(inputs)), spec.n_agents, checked.end)


def step_inputs(fields: Mapping[str, T], actions: T, reward: T, after: Mapping[str, T]) -> dict[str, T]:
    """Return what belongs to the arrays that a function of reward credit reads in one step, such as their shapes."""
    return {**fields, **{NEXT + name: value for name, value in after.items()}, ACTIONS: actions, REWARD: reward}
