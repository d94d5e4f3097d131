"""QLLM (arxiv.org/abs/2504.12961), Eq. 3: Q_tot = sum_i w_i(s) q_i + b(s); w and b are LLM-written code."""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from qllm_envs import Spec, outside
from qllm_jax.config import split_control
from qllm_jax.core.types import Params
from qllm_jax.errors import UserError
from qllm_jax.mixers import controls
from qllm_jax.mixers.base import Mixer, MixerInputs
from qllm_jax.mixers.controls import Control
from qllm_jax.tfcaf import CreditFunction, find, from_source
from qllm_jax.tfcaf.loading.source import Source

CHOICE = "choice"  # name of the parameter of `choosing`; checkpoints hold it


def make(spec: Spec, *, function: str = "", scale: str | float = "n_agents") -> Mixer:
    """Mix by the credit function `function` (a library name or a file; empty: the one named as the environment).

    `function` may end with a control, as in "mpe_spread:shuffled": see controls.py.
    `scale` multiplies weights and bias: "n_agents" is the paper's release (undocumented there), 1 is its Eq. 3.
    The function is checked statically and traced in this process; the gates are for the caller, see
    `qllm_jax.run.gated`. Raises `TfcafError`, a `UserError`, for a function that breaks the contract.
    """
    factor = resolve_scale(scale, spec.n_agents)
    check_has_function(spec, function)
    control = split_control(function)[1]
    spoil = controls.find(control) if control else None
    found = source_of(spec, function)
    return from_credit(from_source(found.text, found.file, spec), factor, spoil)


def source_of(spec: Spec, function: str = "") -> Source:
    """Return the text that `make` loads for the option `function`. UserError if there is none."""
    check_has_function(spec, function)
    return find(split_control(function)[0] or spec.name)


def check_has_function(spec: Spec, function: str) -> None:
    """UserError if `function` is the name of an environment from outside, of which the library has none."""
    if function in ("", spec.made_by) and outside.parse(spec.made_by):
        raise UserError(
            f"environment {spec.made_by!r} has no credit function in the library: give algo.mixer.function=FILE.py, "
            "which python -m qllm_jax.generate writes, or another method, such as algo=matched_qmix"
        )


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
    """Return the mixer that chooses among several credit functions, see `choosing`."""
    return choosing([from_credit(credit, scale) for credit in credits])


def choosing(each: Sequence[Mixer]) -> Mixer:
    """One mixer of K that learn nothing: each run uses the one that its `choice`, a one-hot (K,), marks.

    `choice` is the third argument of `init` and a parameter without a gradient, so it never changes. Under a vmap over
    runs all K mixers are evaluated for all runs.
    """

    def init(key: jax.Array, inputs: MixerInputs, choice: Float[Array, " functions"]) -> Params:
        # Copied: an argument that a compiled function returned as it came would be donated with the state.
        params = {CHOICE: jnp.array(choice, jnp.float32)}
        own = {str(i): one.init(key, inputs) for i, one in enumerate(each)}
        return params | {i: fixed for i, fixed in own.items() if fixed}

    def apply(params: dict, inputs: MixerInputs) -> jax.Array:
        branches = [partial(one.apply, params.get(str(i), {})) for i, one in enumerate(each)]
        return jax.lax.switch(jnp.argmax(params[CHOICE]), branches, inputs)

    together = lambda name: tuple(part for one in each for part in getattr(one, name))
    credits_ = together("credits")
    return Mixer(init, apply, sources=together("sources"), credits=credits_, programs=together("programs"))


def resolve_scale(scale: str | float, n_agents: int) -> float:
    """Return the factor for the option `scale`. UserError unless it is "n_agents" or a positive number."""
    if scale == "n_agents":
        return float(n_agents)
    if isinstance(scale, str | bool) or not 0 < scale < float("inf"):
        raise UserError(f"mixer 'tfcaf': scale must be 'n_agents' or a positive number, got {scale!r}")
    return float(scale)
