"""The picture of a battle: who lives, with what shares of health and shield, and who attacks whom."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from qllm_envs import Scene, make
from qllm_envs._smax.enemies import Memory
from qllm_envs._smax.scene import COLORS, HEALTH, SHIELD, SHOTS
from qllm_envs.core import Bar

# Stalkers 0 to 2 and zealots 3 to 7: stalker 1 and zealot 7 are dead, zealot 3 touches stalker 0, others are far off.
PLACES = [[10, 10], [11, 20], [14, 14], [11.25, 10], [14, 18], [20, 20], [25, 20], [12, 12]]


@functools.cache
def task(opponent):
    return make("smax", scenario="3s_vs_5z", opponent=opponent, fidelity="smax")


def drawn(opponent: str, **changes) -> Scene:
    """SMAX's numbers: pools of 160 and 150, of which shields are 80 and 50. Stalker 0 lost 40, zealot 3 lost 100."""
    env = task(opponent)
    pool = jnp.array([120.0, 0, 160, 50, 150, 150, 150, 0])
    last = jnp.array([6, 0, 10], jnp.int8)  # on zealots 3 and 7; the latter is dead now
    state = env.reset(jax.random.key(0))._replace(pos=jnp.array(PLACES, jnp.float32), pool=pool, last_action=last)
    return env.scene(state._replace(**changes))


def test_the_living_are_shown_with_what_they_have_left():
    scene = drawn("attack_move")
    units = {shape.center: shape for shape in scene.shapes if shape.kind == "circle"}
    assert sorted(units) == sorted(tuple(place) for i, place in enumerate(PLACES) if i not in (1, 7))
    assert [shape.label for shape in units.values() if shape.agent is not None] == ["0", "2"]
    assert units[10, 10].bars == (Bar(0.5, SHIELD), Bar(1.0, HEALTH))
    wounded = units[11.25, 10]
    assert (wounded.bars, wounded.color) == ((Bar(0.0, SHIELD), Bar(0.5, HEALTH)), COLORS[1])
    rings = [shape for shape in scene.shapes if shape.kind == "ring"]
    assert [(ring.center, ring.radius, ring.color) for ring in rings] == [
        ((10, 10), 6.0, COLORS[0]),
        ((14, 14), 6.0, COLORS[0]),
    ]
    assert scene.bounds == (8.0, 8.0, 27.0, 22.0)


def shots(scene: Scene) -> list[tuple]:
    """Numbers of who shoots at whom, by their places."""
    number = lambda place: int(np.abs(np.array(PLACES) - place).sum(-1).argmin())
    assert all(line.color == SHOTS[number(line.start) >= 3] for line in scene.lines)
    return [(number(line.start), number(line.end)) for line in scene.lines]


def test_lines_lead_to_targets():
    assert shots(drawn("attack_move")) == [(0, 3), (2, 7), (3, 0)]
    # SMAX counts targets from the last agent on. The dead aim at nobody.
    memory = Memory(jnp.zeros((5, 2)), jnp.array([-1, 0, -1, 2, 0], jnp.int8))
    assert shots(drawn("heuristic", memory=memory)) == [(0, 3), (2, 7), (4, 2), (6, 0)]
    assert shots(drawn("attack_move", last_action=jnp.full(3, -1, jnp.int8))) == [(3, 0)]
