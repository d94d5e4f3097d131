"""The flat state of the paper's signature is described rightly: found by looking, and held against SMAC's definition.

SMAC's is in oxwhirl/smac, smac/env/starcraft2/starcraft2.py, `get_state_agent`, and the order of its state.
"""

import functools
from collections.abc import Iterator
from itertools import islice
from types import MappingProxyType

import numpy as np
import pytest

import qllm_envs
from qllm_jax.generation import flat, sightings
from qllm_jax.generation.meanings import UNKNOWN, ZERO, explain
from qllm_jax.generation.sightings import Seen

pytestmark = pytest.mark.usefixtures("quick_compile")

SIZES = MappingProxyType(
    {"3s_vs_5z": (3, 5, True), "2c_vs_64zg": (2, 64, False)}
)  # agents, enemies with shields or not


@functools.cache
def looked(scenario: str) -> tuple[Seen, Seen, list]:
    """What was seen at first, what was seen in episodes after that, and the meanings that follow from the first."""
    first, both = islice(sightings.look(qllm_envs.make("smax", scenario=scenario)), 2)
    n = len(first.state)
    return first, Seen(both.state[n:], {name: x[n:] for name, x in both.fields.items()}), explain(first)


def smac_layout(n_agents: int, n_enemies: int, shields: bool) -> Iterator[str]:
    place = lambda who, i: [f"({who}_pos[{i}, {axis}] - 16) / 28 if {who}_alive[{i}] else 0" for axis in (0, 1)]
    for i in range(n_agents):
        yield from (f"agent_health[{i}]", f"agent_cooldown[{i}]", *place("agent", i), f"agent_shield[{i}]")
    for k in range(n_enemies):
        yield from (f"enemy_health[{k}]", *place("enemy", k), *([f"enemy_shield[{k}]"] if shields else []))
    for i in range(n_agents):
        yield from (f"1 if last_action[{i}] == {action} else 0" for action in range(6 + n_enemies))


@pytest.mark.parametrize("scenario", SIZES)
def test_every_entry_of_a_battle_is_what_smac_has_there(scenario: str):
    assert [str(meaning) for meaning in looked(scenario)[2]] == list(smac_layout(*SIZES[scenario]))


@pytest.mark.parametrize("scenario", SIZES)
def test_the_meanings_give_the_state_in_other_episodes(scenario: str):
    _, fresh, found = looked(scenario)
    programs = [compile(str(meaning), "meaning", "eval") for meaning in found]
    all_live = fresh.fields["enemy_alive"].all(1) & fresh.fields["agent_alive"].all(1)
    for row in (*np.flatnonzero(all_live)[::100], *np.flatnonzero(~all_live)[::100]):
        arrays = {name: array[row] for name, array in fresh.fields.items()}
        said = [float(eval(program, {}, arrays)) for program in programs]
        np.testing.assert_allclose(fresh.state[row], said, atol=1e-6)


@pytest.mark.parametrize("scenario", SIZES)
def test_everything_that_a_meaning_depends_on_was_seen(scenario: str):
    first = looked(scenario)[0]
    for name in ("agent_alive", "enemy_alive"):
        assert (first.fields[name].sum(0) >= sightings.TIMES).all()
        assert ((~first.fields[name]).sum(0) >= sightings.TIMES).all()
    for health in ("agent_health", "enemy_health"):
        hurt = (first.fields[health] > 0) & (first.fields[health] < 1)
        assert hurt.any(0).all()
    n_enemies = SIZES[scenario][1]
    sent = first.fields["last_action"][:, :, None] == np.arange(-1, 6 + n_enemies)[None, None]
    assert (sent.sum(0) >= sightings.TIMES).all()


def test_no_state_behind_an_end_is_looked_at():
    seen = looked("3s_vs_5z")[0]
    assert seen.fields["enemy_alive"].any(1).all()
    assert seen.fields["agent_alive"].any(1).all()


def test_a_description_is_short():
    agent = "agent_health[k], agent_cooldown[k], {}, agent_shield[k]"
    place = "({0}_pos[k, 0] - 16) / 28 if {0}_alive[k] else 0, ({0}_pos[k, 1] - 16) / 28 if {0}_alive[k] else 0"
    assert list(flat._lines(looked("2c_vs_64zg")[2])) == [
        f"0 to 9, 5 entries for each k from 0 to 1 in turn: {agent.format(place.format('agent'))}",
        f"10 to 201, 3 entries for each k from 0 to 63 in turn: enemy_health[k], {place.format('enemy')}",
        "202 to 271, one for each k from 0 to 69 in turn: 1 if last_action[0] == k else 0",
        "272 to 341, one for each k from 0 to 69 in turn: 1 if last_action[1] == k else 0",
    ]


def test_what_states_can_be_made_of():
    draw = np.random.default_rng(0)
    x, y = draw.normal(size=(2, 500, 2)).astype(np.float32)
    on, kind = draw.random((500, 2)) < 0.5, draw.integers(0, 3, (500, 1), dtype=np.int32)
    made = {
        "0 in all states that were looked at": np.zeros(500),
        "y[1]": y[:, 1],
        "y[1] - x[0]": y[:, 1] - x[:, 0],
        "1 if kind[0] == 2 else 0": kind[:, 0] == 2,
        "1 if kind[0] == 1 and on[1] else 0": (kind[:, 0] == 1) & on[:, 1],
        "2.5 * x[0] + 1": 2.5 * x[:, 0] + 1,
        "x[1] / 3 if on[0] else 0": np.where(on[:, 0], x[:, 1] / np.float32(3), 0),
        "(x[1] + 0.25) / -4": (x[:, 1] + np.float32(0.25)) / -4,
        str(UNKNOWN): x[:, 0] * y[:, 0],
    }
    state = np.stack([column.astype(np.float32) for column in made.values()], 1)
    found = explain(Seen(state, {"y": y, "x": x, "on": on, "kind": kind}))
    assert [str(meaning) for meaning in found] == list(made)
    assert found[0] == ZERO


def test_of_equal_entries_the_first_by_the_order_of_the_spec_gives_the_name():
    column = np.random.default_rng(0).normal(size=(50, 1)).astype(np.float32)
    assert str(explain(Seen(column, {"z": column, "a": column}))[0]) == "z[0]"
