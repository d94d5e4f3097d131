"""Influence of each argument of a credit function, or of a mixing network, on the credit weights.

Two measures over visited states, with all other arguments held:

- permutation importance (Breiman 2001; Fisher et al. 2019, arxiv.org/abs/1801.01489): the argument's values are
  replaced by those of another visited state. An agent's share is |w_i| / sum_j |w_j|. The change of shares is their
  mean total variation distance, 1/2 sum_i |share'_i - share_i|, from 0 to 1; the change of weights is the mean of
  |w'_i - w_i|.
- sensitivity, of arguments that are floats: mean over states and agents of sum_e |dw_i / de| sd_e over the argument's
  entries e, where sd_e is the standard deviation of an entry over the visited states. It has the unit of a weight.

An argument that is not read has exactly 0 in both. Changed states need not be states that can be visited.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from qllm_envs import Spec
from qllm_jax.mixers.base import MixerInputs

Weights = Callable[[MixerInputs], Float[Array, " agents"]]  # of one sample
FIELDS, STATE, VALUES, ACTIONS = PARTS = ("fields", "state", "values", "actions")
BATCH = 32  # states whose derivatives are in memory at once


class Argument(NamedTuple):
    """A named field, a part of the flat state, the agents' values, or their actions."""

    name: str
    part: str  # one of PARTS
    entries: Bool[np.ndarray, " state"]  # of the flat state; all False for other parts


class Effect(NamedTuple):
    """Effect of one argument on the weights."""

    name: str
    part: str
    shares: float  # permutation: change of shares, from 0 to 1
    weights: float  # permutation: change of weights
    sensitivity: float | None  # None: the argument is not continuous, or a derivative is not finite


class Influence(NamedTuple):
    """Effects of all arguments that are read, largest change of shares first, and of all of them replaced at once."""

    effects: tuple[Effect, ...]
    together: Effect
    n_states: int


def influence(weights: Weights, inputs: MixerInputs, spec: Spec, seed: int = 0) -> Influence:
    """Measure the effect of every argument over M visited states. Leaves of `inputs` are (M, ...), M at least 2.

    Parts of the inputs that no weight depends on are left out. If there is no other, the named fields are listed.
    """
    inputs = jax.tree.map(np.asarray, inputs)
    others = jax.tree.map(lambda x: x[partners(len(inputs.state), seed)], inputs)
    # One program for all: where nothing that is read was replaced, it gives the same bits.
    at = jax.jit(jax.vmap(weights))
    before = np.asarray(at(inputs))
    change = lambda replaced: changes(before, np.asarray(at(exchange(inputs, others, replaced))))
    every = arguments(spec)
    of_part = {part: [each for each in every if each.part == part] for part in PARTS}
    read = [part for part in PARTS if change(of_part[part])[1] > 0] or [FIELDS]
    listed = [each for part in read for each in of_part[part]]
    slopes = sensitivities(weights, inputs, listed)
    effects = [Effect(a.name, a.part, *change([a]), slope) for a, slope in zip(listed, slopes, strict=True)]
    together = Effect("all of them", "", *change(listed), None)
    return Influence(tuple(sorted(effects, key=lambda e: -e.shares)), together, len(inputs.state))


def partners(n_states: int, seed: int) -> np.ndarray:
    """Index of the other state of each state: a random cycle through all of them, so that none is its own."""
    order = np.random.default_rng(seed).permutation(n_states)
    found = np.empty(n_states, np.int64)
    found[order] = np.roll(order, 1)
    return found


def arguments(spec: Spec) -> list[Argument]:
    """List all arguments that a mixer could read. Entries of the flat state that one formula gives are one argument.

    Entries that are a fixed number, such as the silence of agents that cannot speak, are none.
    """
    none = np.zeros(spec.state_dim, bool)
    fields = [Argument(name, FIELDS, none) for name in spec.fields]
    formulas: dict[str, list[int]] = {}
    at = 0
    for block in spec.state_layout:
        for part in block.entries * block.repeats:
            if not part.formula.replace(".", "").isdigit():
                formulas.setdefault(part.formula, []).extend(range(at, at + part.size))
            at += part.size
    if not formulas:
        formulas = {"state": list(range(spec.state_dim))}
    state = [Argument(name, STATE, np.isin(np.arange(spec.state_dim), own)) for name, own in formulas.items()]
    return [*fields, *state, Argument("values of the agents", VALUES, none), Argument("actions", ACTIONS, none)]


def exchange(inputs: MixerInputs, others: MixerInputs, replaced: list[Argument]) -> MixerInputs:
    """Return `inputs` with some arguments from `others`, arrays on the host."""
    parts = {each.part for each in replaced}
    entries = np.any([np.zeros(inputs.state.shape[1], bool), *(each.entries for each in replaced)], axis=0)
    own = others if VALUES in parts else inputs
    return MixerInputs(
        chosen_q=own.chosen_q,
        max_q=own.max_q,
        action=(others if ACTIONS in parts else inputs).action,
        state=np.where(entries[None], others.state, inputs.state),  # pyright: ignore[reportArgumentType]
        fields={**inputs.fields, **{each.name: others.fields[each.name] for each in replaced if each.part == FIELDS}},
    )


def changes(before: Float[np.ndarray, "M agents"], after: Float[np.ndarray, "M agents"]) -> tuple[float, float]:
    """Mean change of shares and of weights."""
    distance = np.abs(shares(after) - shares(before)).sum(1) / 2
    return float(distance.mean()), float(np.abs(after - before).mean())


def shares(weights: Float[np.ndarray, "M agents"]) -> Float[np.ndarray, "M agents"]:
    """|w_i| / sum_j |w_j|; equal shares if all weights are 0."""
    size = np.abs(weights).astype(float)
    sums = size.sum(1, keepdims=True)
    return np.where(sums > 0, size / np.where(sums > 0, sums, 1.0), 1.0 / size.shape[1])


def sensitivities(weights: Weights, inputs: MixerInputs, listed: list[Argument]) -> list[float | None]:
    """Sensitivity to each argument; None where it is not continuous or a derivative is not finite."""
    floats = {name: x for name, x in inputs.fields.items() if jnp.issubdtype(x.dtype, jnp.floating)}
    continuous = {FIELDS: floats, STATE: inputs.state, VALUES: inputs.chosen_q}

    def sizes(own: MixerInputs) -> dict:
        """Mean over agents of |dw_i / de| for each entry e, one sample."""

        def of(x: dict) -> jax.Array:
            changed = own._replace(chosen_q=x[VALUES], state=x[STATE], fields={**own.fields, **x[FIELDS]})
            return weights(changed)

        x = {FIELDS: {name: own.fields[name] for name in floats}, STATE: own.state, VALUES: own.chosen_q}
        return jax.tree.map(lambda slope: jnp.mean(jnp.abs(slope), 0), jax.jacrev(of)(x))

    slope = jax.jit(lambda inputs: jax.lax.map(sizes, inputs, batch_size=BATCH))(inputs)
    scaled = jax.tree.map(lambda s, x: np.mean(np.asarray(s), 0) * np.std(np.asarray(x), 0), slope, continuous)
    return [total(scaled, each) for each in listed]


def total(scaled: dict, argument: Argument) -> float | None:
    """Sum over the entries of an argument; None without derivatives, or with one that is not finite."""
    if argument.part == STATE:
        found = scaled[STATE][argument.entries]
    elif argument.part == FIELDS:
        found = scaled[FIELDS].get(argument.name)
    else:
        found = scaled.get(argument.part)
    return float(np.sum(found)) if found is not None and np.isfinite(found).all() else None
