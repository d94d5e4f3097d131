"""Influence of arguments on weights, for functions whose answer is known by hand."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from samples import ENV, sample

from qllm_envs import Entries, Field, Spec, StateBlock
from qllm_jax import mixers
from qllm_jax.mixers import MixerInputs
from qllm_jax.mixers.influence import ACTIONS, FIELDS, STATE, VALUES, Effect, influence, partners, shares

N, M = 4, 200
FIELD = Field((N,), "made up", "none", -1.0, 1.0)
SPEC = Spec(
    name="made up",
    n_agents=N,
    n_actions=3,
    obs_dim=1,
    state_dim=3 * N,
    horizon=1,
    fields={"near": FIELD, "far": FIELD, "on": FIELD},
    action_names=("a", "b", "c"),
    reward="none",
    source="tests",
    task="made_up",
    state_layout=(StateBlock((Entries("near[i]", 1), Entries("far[i]", 1), Entries("0", 1)), "i", N),),
)


def states() -> MixerInputs:
    """M states in which one agent at a time is on, each equally often."""
    draw = np.random.default_rng(0).normal
    on = jnp.asarray(np.arange(M)[:, None] % N == np.arange(N))
    state, q = (jnp.asarray(draw(size=(M, size)), jnp.float32) for size in (3 * N, N))
    fields = {name: jnp.asarray(draw(size=(M, N)), jnp.float32) for name in ("near", "far")}
    return MixerInputs(q, q, jnp.asarray(np.arange(M * N).reshape(M, N) % 3), state, {**fields, "on": on})


def effects(weights: Callable[[MixerInputs], jax.Array]) -> dict[str, Effect]:
    found = influence(weights, states(), SPEC)
    assert found.n_states == M
    assert [effect.shares for effect in found.effects] == sorted((e.shares for e in found.effects), reverse=True)
    return {effect.name: effect for effect in (*found.effects, found.together)}


def test_a_field_that_is_ignored_has_exactly_zero_and_the_one_that_is_read_has_all():
    found = effects(lambda inputs: jnp.exp(inputs.fields["near"]))
    assert found["far"][2:] == (0.0, 0.0, 0.0)
    assert found["on"][2:4] == (0.0, 0.0)
    near, together = found["near"], found["all of them"]
    assert near[2:4] == together[2:4]
    assert near.shares > 0.1
    assert set(found) == {"near", "far", "on", "all of them"}  # neither the flat state nor values are read


def test_permutation_of_who_is_on_by_hand():
    inputs = states()
    found = effects(lambda inputs: 2.0 * inputs.fields["on"])
    before = np.asarray(inputs.fields["on"], float)
    moved = np.abs(before[partners(M, 0)] - before).sum(1) / 2  # 0 or 1: another agent, or the same
    assert found["on"].shares == pytest.approx(moved.mean())
    assert moved.mean() == pytest.approx(1 - 1 / N, abs=0.1)
    assert found["on"].weights == pytest.approx(2.0 * moved.mean() * 2 / N)
    assert found["on"].sensitivity is None  # not continuous
    assert found["near"].sensitivity == 0.0


def test_sensitivity_of_linear_weights_is_the_slope_times_the_deviation():
    inputs = states()
    found = effects(lambda inputs: 10.0 + 3.0 * inputs.fields["near"] - inputs.fields["far"][::-1])
    deviation = {name: np.asarray(inputs.fields[name]).std(0).mean() for name in ("near", "far")}
    assert found["near"].sensitivity == pytest.approx(3.0 * deviation["near"], rel=1e-5)
    assert found["far"].sensitivity == pytest.approx(deviation["far"], rel=1e-5)


def test_parts_of_the_flat_state_are_entries_of_one_formula():
    found = effects(lambda inputs: jnp.exp(inputs.state[::3]))  # entries 0, 3, 6, 9: near[i]
    assert {name: effect.part for name, effect in found.items()} == {
        "near[i]": STATE, "far[i]": STATE, "all of them": "",
    }  # fmt: skip
    assert found["far[i]"][2:] == (0.0, 0.0, 0.0)
    assert found["near[i]"].shares == found["all of them"].shares > 0


def test_values_and_actions_are_listed_if_they_are_read():
    found = effects(lambda inputs: jnp.exp(inputs.chosen_q) + inputs.action)
    assert {effect.part for effect in found.values()} == {VALUES, ACTIONS, ""}
    assert found["actions"].sensitivity is None


def test_weights_that_depend_on_nothing_list_the_fields_with_zeros():
    found = effects(lambda inputs: jnp.ones_like(inputs.chosen_q))
    assert {effect.part for effect in found.values()} == {FIELDS, ""}
    assert all(effect.shares == effect.weights == 0 for effect in found.values())


def test_a_derivative_that_is_not_finite_gives_no_sensitivity():
    found = effects(lambda inputs: jnp.sqrt(jnp.maximum(inputs.fields["near"], 0.0)))
    assert found["near"].sensitivity is None
    assert found["near"].weights > 0


def test_no_state_is_its_own_partner():
    found = partners(7, seed=3)
    assert sorted(found) == list(range(7))
    assert (found != np.arange(7)).all()


def test_shares_of_zeros_are_equal_and_signs_do_not_count():
    np.testing.assert_allclose(shares(np.zeros((1, 4))), np.full((1, 4), 0.25))
    np.testing.assert_allclose(shares(np.array([[-3.0, 1.0]])), [[0.75, 0.25]])


@pytest.mark.thorough
def test_qmix_reads_the_flat_state_and_its_own_values_and_qplex_its_actions_too():
    inputs = jax.tree.map(lambda *x: jnp.stack(x), *map(sample, range(8)))
    inputs = inputs._replace(max_q=inputs.max_q + 1.0, action=jnp.arange(48).reshape(8, 6) % 5)
    parts = {}
    for name, sizes in (("qmix", {"embed_dim": 2, "hypernet_dim": 4}), ("qplex", {"adv_layers": 1, "heads": 1})):
        mixer = mixers.make(name, ENV.spec, **sizes)
        params = jax.jit(mixer.init)(jax.random.key(1), jax.tree.map(lambda x: x[0], inputs))
        found = influence(lambda x: mixers.slopes(mixer, params, x), inputs, ENV.spec)  # noqa: B023
        parts[name] = {effect.part for effect in found.effects}
    assert parts == {"qmix": {STATE, VALUES}, "qplex": {STATE, ACTIONS}}
