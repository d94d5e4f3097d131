"""QLLM (arxiv.org/abs/2504.12961), Eq. 3: Q_tot = sum_i w_i(s) q_i + b(s); w and b are LLM-written code."""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp

from qllm_envs import Spec
from qllm_jax.config import split_control
from qllm_jax.core import choosing
from qllm_jax.errors import UserError
from qllm_jax.mixers import controls
from qllm_jax.mixers.base import Mixer, MixerInputs
from qllm_jax.mixers.controls import Control
from qllm_jax.tfcaf import CreditFunction, from_source
from qllm_jax.tfcaf.loading.lookup import find_for_env


def make(spec: Spec, *, function: str = "", scale: str | float = "n_agents") -> Mixer:
    """Mix by the credit function `function` (a library name or a file; empty: the one named as the environment).

    `function` may end with a control, as in "mpe_spread:shuffled": see controls.py.
    `scale` multiplies weights and bias: "n_agents" is the paper's release (undocumented there), 1 is its Eq. 3.
    The function is checked statically and traced in this process; the gates are for the caller, see
    `qllm_jax.run.gated`. Raises `TfcafError`, a `UserError`, for a function that breaks the contract.
    """
    factor = resolve_scale(scale, spec.n_agents)
    found = find_for_env(spec, function)
    control = split_control(function)[1]
    spoil = controls.find(control) if control else None
    return from_credit(from_source(found.text, found.file, spec), factor, spoil)


def from_credit(credit: CreditFunction, scale: float, control: Control | None = None) -> Mixer:
    """Return the mixer of a loaded credit function, with its credit spoiled by `control` if one is given.

    It learns nothing, so online and target network share it; the parameters of a control are fixed in a run.
    """

    def weights_and_bias(inputs: MixerInputs) -> tuple[jax.Array, jax.Array]:
        weights, bias = credit.credit(inputs.fields, inputs.state)
        if credit.igm:  # Definition 1 of paper v1: the gate keeps dQ_tot/dq_i >= 0
            weights = jnp.maximum(weights, 0.0)
        return weights, bias

    def apply(params: dict, inputs: MixerInputs) -> jax.Array:
        weights, bias = weights_and_bias(inputs)
        if control is None:
            return scale * (weights @ inputs.chosen_q + bias)
        weights, bias = control.apply(params, scale * weights, scale * bias, inputs.state)
        return weights @ inputs.chosen_q + bias

    init = lambda key, inputs: control.init(key, len(inputs.chosen_q)) if control else {}
    scaled = lambda inputs: jax.tree.map(lambda x: scale * x, weights_and_bias(inputs))
    return Mixer(init=init, apply=apply, sources=(credit.source,), credits=(scaled,), programs=(credit.program,))


def from_credits(credits: Sequence[CreditFunction], scale: float) -> Mixer:
    """Return the mixer that chooses among several credit functions, see `choose`."""
    return choose([from_credit(credit, scale) for credit in credits])


def choose(each: Sequence[Mixer]) -> Mixer:
    """One mixer of K that learn nothing: each run uses the one that its `choice`, a one-hot (K,), marks.

    `choice` is the third argument of `init` and a parameter without a gradient, so it never changes. Under a vmap over
    runs all K mixers are evaluated for all runs.
    """

    init = lambda key, inputs, choice: choosing.params_of([one.init(key, inputs) for one in each], choice)
    apply = partial(choosing.call, [one.apply for one in each])
    sources, credits, programs = (choosing.joined(each, field) for field in ("sources", "credits", "programs"))
    return Mixer(init, apply, sources=sources, credits=credits, programs=programs)


def resolve_scale(scale: str | float, n_agents: int) -> float:
    """Return the factor for the option `scale`. UserError unless it is "n_agents" or a positive number."""
    if scale == "n_agents":
        return float(n_agents)
    if isinstance(scale, str | bool) or not 0 < scale < float("inf"):
        raise UserError(f"mixer 'tfcaf': scale must be 'n_agents' or a positive number, got {scale!r}")
    return float(scale)
