"""QLLM (arxiv.org/abs/2504.12961), Eq. 3: Q_tot = sum_i w_i(s) q_i + b(s); w and b are LLM-written code."""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp

from qllm_envs import Spec
from qllm_jax.errors import UserError
from qllm_jax.mixers.base import Mixer, MixerInputs
from qllm_jax.tfcaf import CreditFunction, from_source, gates
from qllm_jax.tfcaf.loader import find


def make(spec: Spec, *, function: str = "", scale: str | float = "n_agents") -> Mixer:
    """Mix by the credit function `function` (a library name or a file; empty: the one named as the environment).

    `scale` multiplies weights and bias: "n_agents" is the paper's release (undocumented there), 1 is its Eq. 3.
    Loads nothing that has not passed the gates: a function without a stored pass is verified first. `TfcafError`, which
    is a `UserError`, says why it is refused.
    """
    factor = resolve_scale(scale, spec.n_agents)
    found = find(function or spec.name)
    gates.require(found.text, found.file, spec)
    return from_credit(from_source(found.text, found.file, spec), factor)


def from_credit(credit: CreditFunction, scale: float) -> Mixer:
    """The mixer of a loaded credit function. It has no parameters, so online and target network share it."""

    def apply(params: dict, inputs: MixerInputs) -> jax.Array:
        del params
        weights, bias = credit.credit(inputs.fields, inputs.state)
        if credit.igm:  # Definition 1 of paper v1: the gate keeps dQ_tot/dq_i >= 0
            weights = jnp.maximum(weights, 0.0)
        return scale * (weights @ inputs.chosen_q + bias)

    return Mixer(init=lambda key, inputs: {}, apply=apply, source=credit.source)


def from_credits(credits: Sequence[CreditFunction], scale: float) -> Mixer:
    """The mixer of several credit functions: each run uses the one that its parameter `choice`, a one-hot (K,), marks.

    `choice` gets no gradient and so never changes. Under a vmap over runs all functions are evaluated for all runs.
    """
    each = [from_credit(credit, scale).apply for credit in credits]

    def apply(params: dict, inputs: MixerInputs) -> jax.Array:
        return jax.lax.switch(jnp.argmax(params["choice"]), [partial(one, {}) for one in each], inputs)

    return Mixer(init=lambda key, inputs: {"choice": jnp.eye(len(each))[0]}, apply=apply)


def resolve_scale(scale: str | float, n_agents: int) -> float:
    """The number behind the `scale` option. UserError unless it is "n_agents" or a positive number."""
    if scale == "n_agents":
        return float(n_agents)
    if isinstance(scale, str | bool) or not 0 < scale < float("inf"):
        raise UserError(f"mixer 'tfcaf': scale must be 'n_agents' or a positive number, got {scale!r}")
    return float(scale)
