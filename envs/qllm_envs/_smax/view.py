"""Views of a battle: SMAC's observation, state and available actions, and the state by name.

n units, N allies, E enemies, F features of a unit.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from qllm_envs._smax import units
from qllm_envs._smax.scenarios import MAP_SIZE
from qllm_envs._smax.state import FIRST_ATTACK, Force, Rules, State, force
from qllm_envs.core import Entries, StateBlock, View

FIRST_MOVE = 2
SIGHT, REACH = 9.0, 6.0  # SMAC's for every unit, between centers
STEP_ASIDE = 1.0  # a move is available if the point this far ahead is on the map
STATE_SCALE = 28.0  # the width of SMAC's maps that counts in its state
HEADINGS = np.array([[0, 1], [0, -1], [1, 0], [-1, 0]], np.float32)  # north, south, east, west


def view(rules: Rules, state: State) -> View:
    now = force(rules, state)
    dx, dy = (now.pos[None, :, axis] - now.pos[: rules.scenario.n_allies, None, axis] for axis in (0, 1))  # (N, n)
    dist = jnp.sqrt(dx * dx + dy * dy)
    can = available(rules, now, dist)
    return View(
        obs=_obs(rules, now, can, (dist, dx, dy)),
        avail=can,
        state=_flat_state(rules, state, now),
        fields=_fields(rules, state, now),
    )


def available(rules: Rules, now: Force, dist: Float[Array, "agents n"]) -> Bool[Array, "agents actions"]:
    n = rules.scenario.n_allies
    alive = now.alive[:n, None]  # (N, 1)
    ahead = now.pos[:n, None] + STEP_ASIDE * HEADINGS[None]  # (N, 4, 2)
    walks = ((ahead >= 0) & (ahead < MAP_SIZE)).all(-1)
    shoots = (dist[:, n:] <= REACH) & now.alive[None, n:]
    return jnp.concatenate([~alive, alive, alive & walks, alive & shoots], -1)


def _obs(rules: Rules, now: Force, can: Bool[Array, "agents actions"], apart: tuple[Array, ...]) -> Array:
    """Observations (N, 4 + E F + (N - 1) F + F), zeros for a dead agent and for units dead or out of sight."""
    n = rules.scenario.n_allies
    sees = (apart[0] < SIGHT) & now.alive[:n, None] & now.alive[None]  # (N, n)
    first = jnp.concatenate([jnp.ones((n, n), bool), can[:, FIRST_ATTACK:]], -1)
    where = jnp.stack([first.astype(jnp.float32), *(length / SIGHT for length in apart)], -1)  # (N, n, 4)
    ally, enemy = (_condition(rules, now, team) for team in (0, 1))
    tell = lambda part, what: jnp.concatenate([part, jnp.broadcast_to(what[None], (n, *what.shape))], -1)
    enemies = jnp.where(sees[:, n:, None], tell(where[:, n:], enemy), 0.0)
    allies = jnp.where(sees[:, :n, None], tell(where[:, :n], ally), 0.0)
    others = np.array([[j for j in range(n) if j != i] for i in range(n)], int).reshape(n, n - 1)
    allies = allies[np.arange(n)[:, None], others]  # (N, N-1, F)
    own = jnp.where(now.alive[:n, None], ally, 0.0)
    moves = can[:, FIRST_MOVE:FIRST_ATTACK].astype(jnp.float32)
    return jnp.concatenate([moves, enemies.reshape(n, -1), allies.reshape(n, -1), own], -1)


def _condition(rules: Rules, now: Force, team: int) -> Float[Array, "units features"]:
    """Health, shield if any unit of the team may have one, and one-hot type if a team has several types."""
    part = slice(None, rules.scenario.n_allies) if team == 0 else slice(rules.scenario.n_allies, None)
    columns = [now.health[part, None]]
    if rules.shields[team]:
        columns.append(now.shield[part, None])
    if rules.kinds:
        columns.append((now.types[part, None] == np.array(rules.kinds)[None]).astype(jnp.float32))
    return jnp.concatenate(columns, -1)


def _flat_state(rules: Rules, state: State, now: Force) -> Float[Array, " state"]:
    """Allies, enemies, last actions; zeros for the dead. `layout` declares the same."""
    n = rules.scenario.n_allies
    pos = (now.pos - MAP_SIZE / 2) / STATE_SCALE
    ally, enemy = (_condition(rules, now, team) for team in (0, 1))
    allies = jnp.concatenate([ally[:, :1], weapon(rules, state, now)[:, None], pos[:n], ally[:, 1:]], -1)
    enemies = jnp.concatenate([enemy[:, :1], pos[n:], enemy[:, 1:]], -1)
    last = jax.nn.one_hot(state.last_action, rules.n_actions)  # zeros where it is -1
    parts = jnp.where(now.alive[:n, None], allies, 0.0), jnp.where(now.alive[n:, None], enemies, 0.0), last
    return jnp.concatenate([part.reshape(-1) for part in parts])


def layout(rules: Rules) -> tuple[StateBlock, ...]:
    """Layout of the flat state, as `_flat_state` builds it."""
    n, e = rules.scenario.n_allies, rules.scenario.n_enemies
    ally, enemy = _unit_entries(rules, 0), _unit_entries(rules, 1)
    last = f"[1 if last_action[i] == a else 0 for a in range({rules.n_actions})]"
    return (
        StateBlock((ally[0], Entries("agent_cooldown[i]", 1), *ally[1:]), "i", n),
        StateBlock(enemy, "k", e),
        StateBlock((Entries(last, rules.n_actions),), "i", n),
    )


def _unit_entries(rules: Rules, team: int) -> tuple[Entries, ...]:
    """Layout of a unit: health, position, and shield and one-hot type as in `_condition`."""
    name, i = (("agent", "i"), ("enemy", "k"))[team]
    pos = f"({name}_pos[{i}] - {MAP_SIZE / 2:g}) / {STATE_SCALE:g} if {name}_alive[{i}] else 0"
    kinds, same = len(rules.kinds), f"{name}_alive[{i}] and {name}_type[{i}] == t"
    shield = (Entries(f"{name}_shield[{i}]", 1),) if rules.shields[team] else ()
    types = (Entries(f"[1 if {same} else 0 for t in range({kinds})]", kinds),) if kinds else ()
    return (Entries(f"{name}_health[{i}]", 1), Entries(pos, 2), *shield, *types)


def weapon(rules: Rules, state: State, now: Force) -> Float[Array, " agents"]:
    """Cooldowns as shares of SMAC's scale, which depends on the type of the unit."""
    n = rules.scenario.n_allies
    whole = units.SMAC_COOLDOWN * rules.world.time_per_step  # seconds
    return state.cooldown[:n] / jnp.array(whole, jnp.float32)[now.types[:n]]


def _fields(rules: Rules, state: State, now: Force) -> dict[str, Array]:
    """Arrays that `qllm_envs._smax.spec` describes. Those of a dead unit are 0, except for its last action and type."""
    n = rules.scenario.n_allies
    fields = {}
    for team, name, part in ((0, "agent", slice(None, n)), (1, "enemy", slice(n, None))):
        alive = now.alive[part]
        fields[f"{name}_pos"] = jnp.where(alive[:, None], now.pos[part], 0.0)
        fields[f"{name}_health"] = now.health[part]
        if rules.shields[team]:
            fields[f"{name}_shield"] = now.shield[part]
        if team == 0:
            fields["agent_cooldown"] = jnp.where(alive, weapon(rules, state, now), 0.0)
        if rules.kinds:
            kinds = jnp.array(rules.kinds)
            fields[f"{name}_type"] = (kinds[None] == now.types[part, None]).argmax(-1).astype(jnp.int32)
        fields[f"{name}_alive"] = alive
    return fields | {"last_action": state.last_action.astype(jnp.int32)}
