"""QLLM (arxiv.org/abs/2504.12961), Eq. 3: Q_tot = sum_i w_i(s) q_i + b(s); w and b are LLM-written code."""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from qllm_envs import Spec
from qllm_jax.core.types import Params
from qllm_jax.errors import UserError
from qllm_jax.mixers.base import Mixer, MixerInputs
from qllm_jax.tfcaf import CreditFunction, find, from_source
from qllm_jax.tfcaf.loading.source import Source

CHOICE = "choice"  # name of the parameter of `choosing`; checkpoints hold it


def make(spec: Spec, *, function: str = "", scale: str | float = "n_agents") -> Mixer:
    """Mix by the credit function `function` (a library name or a file; empty: the one named as the environment).

    `scale` multiplies weights and bias: "n_agents" is the paper's release (undocumented there), 1 is its Eq. 3.
    The function is checked statically and traced in this process; the gates are for the caller, see
    `qllm_jax.commands.gated`. Raises `TfcafError`, a `UserError`, for a function that breaks the contract.
    """
    factor = resolve_scale(scale, spec.n_agents)
    found = source_of(spec, function)
    return from_credit(from_source(found.text, found.file, spec), factor)


def source_of(spec: Spec, function: str = "") -> Source:
    """Return the text that `make` loads for the option `function`. UserError if there is none."""
    return find(function or spec.name)


def from_credit(credit: CreditFunction, scale: float) -> Mixer:
    """Return the mixer of a loaded credit function. It has no parameters, so online and target network share it."""

    def apply(params: dict, inputs: MixerInputs) -> jax.Array:
        del params
        weights, bias = credit.credit(inputs.fields, inputs.state)
        if credit.igm:  # Definition 1 of paper v1: the gate keeps dQ_tot/dq_i >= 0
            weights = jnp.maximum(weights, 0.0)
        return scale * (weights @ inputs.chosen_q + bias)

    return Mixer(init=lambda key, inputs: {}, apply=apply, sources=(credit.source,))


def from_credits(credits: Sequence[CreditFunction], scale: float) -> Mixer:
    """Return the mixer that chooses among several credit functions, see `choosing`."""
    return choosing([from_credit(credit, scale) for credit in credits])


def choosing(each: Sequence[Mixer]) -> Mixer:
    """One mixer of K without parameters: each run uses the one that its `choice`, a one-hot (K,), marks.

    `choice` is the third argument of `init` and a parameter without a gradient, so it never changes. Under a vmap over
    runs all K mixers are evaluated for all runs.
    """

    def init(key: jax.Array, inputs: MixerInputs, choice: Float[Array, " functions"]) -> Params:
        del key, inputs
        # Copied: an argument that a compiled function returned as it came would be donated with the state.
        return {CHOICE: jnp.array(choice, jnp.float32)}

    def apply(params: dict, inputs: MixerInputs) -> jax.Array:
        return jax.lax.switch(jnp.argmax(params[CHOICE]), [partial(one.apply, {}) for one in each], inputs)

    sources = tuple(source for one in each for source in one.sources)
    return Mixer(init=init, apply=apply, sources=sources)


def resolve_scale(scale: str | float, n_agents: int) -> float:
    """Return the factor for the option `scale`. UserError unless it is "n_agents" or a positive number."""
    if scale == "n_agents":
        return float(n_agents)
    if isinstance(scale, str | bool) or not 0 < scale < float("inf"):
        raise UserError(f"mixer 'tfcaf': scale must be 'n_agents' or a positive number, got {scale!r}")
    return float(scale)
