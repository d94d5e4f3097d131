"""Play of the original rware, as arrays that our warehouse is compared with. Needs rware only when it is called.

`python tests/rware_play.py` writes the turns of tests/envs/rware_turns.npz, which a test without rware reads.
"""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from qllm_envs import Env, make
from qllm_envs._rware.floor import SIZES
from qllm_envs._rware.game import Rules, State, advance

DIFFICULTY = {"easy": 2, "normal": 1, "hard": 0.5}
# Forward most of the time, so that agents meet.
CHANCES = np.array([0.05, 0.6, 0.1, 0.1, 0.15])


class Turn(NamedTuple):
    """One step of rware. Of many, leaves gain a leading axis."""

    state: State
    obs: Any  # (N, O)
    actions: Any  # (N,)
    nth: Any  # index among the shelves not requested that each new request of this step has
    rewards: Any  # (N,)
    done: Any
    state_tp1: State
    obs_tp1: Any


class Chosen:
    """Stands in for the generator of rware in a step: the new request is the `nth` candidate."""

    nth = 0

    def choice(self, candidates: list[Any]) -> Any:
        return candidates[self.nth]


def rules_of(env: Env) -> Rules:
    """Return the checked options of an environment of ours."""
    step: Any = env.step
    return step.args[0]


def peer_of(options: dict[str, Any]) -> Any:
    """Make rware's environment of our options."""
    from rware.warehouse import RewardType, Warehouse

    rows, columns = SIZES[options.get("size", "tiny")]
    layout = options.get("layout")
    count = int(options["n_agents"] * DIFFICULTY[options.get("difficulty", "normal")])
    return Warehouse(
        shelf_columns=options.get("shelf_columns", columns),
        column_height=options.get("column_height", 8),
        shelf_rows=options.get("shelf_rows", rows),
        n_agents=options["n_agents"],
        msg_bits=0,
        sensor_range=options.get("sensor_range", 1),
        request_queue_size=options.get("requests", count),
        max_inactivity_steps=options.get("max_inactivity"),
        max_steps=options.get("horizon", 500),
        reward_type=RewardType[options.get("reward_type", "individual").upper()],
        layout=None if layout is None else "\n".join(layout),
    )


def record(options: dict[str, Any], n_episodes: int, seed: int) -> Turn:
    """Play episodes to their end: a third from a reset, the others from a crowd anywhere or at the goals."""
    rng, turns, peer = np.random.default_rng(seed), [], peer_of(options)
    chosen = Chosen()
    for episode in range(n_episodes):
        peer._np_random = np.random.default_rng(int(rng.integers(2**31)))
        peer.reset()
        if episode % 3:
            crowd(peer, rng, at_goals=episode % 3 == 2)
        peer._np_random = chosen
        last, done = np.full(peer.n_agents, -1), False
        state, obs = state_of(peer, last), observed(peer)
        while not done:
            actions = rng.choice(5, peer.n_agents, p=CHANCES)
            chosen.nth = int(rng.integers(len(peer.shelfs) - peer.request_queue_size))
            _, rewards, done, _, _ = peer.step(actions.tolist())
            state_tp1, obs_tp1 = state_of(peer, actions), observed(peer)
            turns.append(Turn(state, obs, actions, chosen.nth, np.array(rewards), done, state_tp1, obs_tp1))
            state, obs = state_tp1, obs_tp1
    return jax.tree.map(lambda *leaves: np.stack(leaves), *turns)


def crowd(peer: Any, rng: np.random.Generator, at_goals: bool) -> None:
    """Move the agents of rware close together, many of them with a shelf, at some step of the episode."""
    height, width = peer.grid_size
    center = peer.goals[0] if at_goals else (rng.integers(width), rng.integers(height))
    y, x = np.indices(peer.grid_size).reshape(2, -1)
    away = np.abs(x - center[0]) + np.abs(y - center[1]) + rng.random(x.size) * 2
    cells = np.argsort(away)[: peer.n_agents]
    for agent, cell in zip(peer.agents, rng.permutation(cells), strict=True):
        agent.x, agent.y = int(x[cell]), int(y[cell])
    in_ring = ring(peer, rng) if peer.n_agents >= 4 and rng.random() < 0.3 else []
    at = {(shelf.x, shelf.y): shelf for shelf in peer.shelfs}
    taken = {(agent.x, agent.y) for agent in peer.agents}
    free = [shelf for shelf in (*peer.request_queue, *peer.shelfs) if (shelf.x, shelf.y) not in taken]
    free = list(dict.fromkeys(free))
    for agent in peer.agents:
        agent.has_delivered = peer.reward_type.name == "TWO_STAGE" and bool(rng.random() < 0.3)
        if agent not in in_ring and rng.random() < 0.5 and ((agent.x, agent.y) in at or free):
            shelf = at.get((agent.x, agent.y)) or free.pop(0 if rng.random() < 0.7 else -1)
            agent.carrying_shelf, shelf.x, shelf.y = shelf, agent.x, agent.y
    peer._recalc_grid()
    peer._cur_steps = int(rng.integers(peer.max_steps))
    peer._cur_inactive_steps = int(rng.integers(peer.max_inactivity_steps or 1))


def ring(peer: Any, rng: np.random.Generator) -> list[Any]:
    """Let four agents of rware go round a square, where no other agent stands in it; return them."""
    from rware.warehouse import Direction

    height, width = peer.grid_size
    x, y = int(rng.integers(width - 1)), int(rng.integers(height - 1))
    square = {(x, y): "RIGHT", (x + 1, y): "DOWN", (x + 1, y + 1): "LEFT", (x, y + 1): "UP"}
    if any((agent.x, agent.y) in square for agent in peer.agents[4:]):
        return []
    for agent, ((agent.x, agent.y), way) in zip(peer.agents[:4], square.items(), strict=True):
        agent.dir = Direction[way]
    return peer.agents[:4]


def observed(peer: Any) -> np.ndarray:
    """Observations of all agents. Their numbers are small integers."""
    obs = np.stack([peer._make_obs(agent) for agent in peer.agents])
    assert (obs == obs.astype(np.int16)).all()
    return obs.astype(np.int16)


def state_of(peer: Any, last_action: np.ndarray) -> State:
    """Our state of what rware is in."""
    width = peer.grid_size[1]
    index = lambda shelf: -1 if shelf is None else shelf.id - 1
    load = np.array([index(agent.carrying_shelf) for agent in peer.agents], np.int32)
    grid = peer.grid[1].reshape(-1) - 1  # shelves by cell, carried ones included
    stored = grid[np.flatnonzero(peer.highways.reshape(-1) == 0)]
    numbers: dict[str, Any] = {
        "agent_cell": np.array([agent.y * width + agent.x for agent in peer.agents], np.int32),
        "heading": np.array([agent.dir.value for agent in peer.agents], np.int32),
        "load": load,
        "stored": np.where(np.isin(stored, load), -1, stored).astype(np.int16),
        "delivered": np.array([agent.has_delivered for agent in peer.agents]),
        "request": np.array([index(shelf) for shelf in peer.request_queue], np.int32),
        "last_action": last_action.astype(np.int32),
        "idle": np.int32(peer._cur_inactive_steps),
        "t": np.int32(peer._cur_steps),
    }
    return State(**numbers)


def events(rules: Rules, turns: Turn) -> dict[str, Any]:
    """Events that are easy to get wrong, as arrays that are True in turns that show them."""
    width, floor = rules.floor.width, rules.floor
    cell, cell_tp1, loaded = turns.state.agent_cell, turns.state_tp1.agent_cell, turns.state.load >= 0
    way = np.array([-width, width, -1, 1])[turns.state.heading]
    forward = turns.actions == 1
    target = np.where(forward, cell + way, -1)
    heads = target[:, :, None] == cell[:, None]  # (turns, N, N)
    moved = cell != cell_tp1
    others = ~np.eye(cell.shape[1], dtype=bool)
    follows = heads & moved[:, :, None] & moved[:, None] & others
    # A ring: agents that come back to themselves; two never do, as they cannot swap.
    steps, ring = follows, np.zeros(moved.shape, bool)
    for _ in range(1, cell.shape[1]):
        steps = (steps[:, :, :, None] & follows[:, None]).any(2)
        ring |= np.diagonal(steps, axis1=1, axis2=2)
    rivals = forward[:, :, None] & (target[:, :, None] == target[:, None]) & others
    stands = np.concatenate([turns.state.stored, np.full((len(target), 1), -1)], 1)  # the last is for highways
    shelf = np.take_along_axis(stands, floor.index_of_storage[np.clip(target, 0, floor.n_cells - 1)], 1) >= 0
    on_goal = np.isin(cell_tp1, floor.goals)
    paid = turns.rewards > 0
    put_down = (turns.state.load >= 0) & (turns.state_tp1.load < 0)
    toggles = turns.actions == 4
    changed = (turns.state.request != turns.state_tp1.request).sum(1)
    return {
        "face each other": heads & heads.swapaxes(1, 2) & others,
        "follow": follows,
        "loaded follow loaded": follows & loaded[:, :, None] & loaded[:, None],
        "turn in a ring": ring,
        "two head for one cell and one gets it": rivals & moved[:, :, None],
        "nobody gets a cell": rivals & ~moved[:, :, None] & ~moved[:, None],
        "loaded is stopped by a shelf": loaded & shelf & ~moved & ~heads.any(2),
        "loaded is stopped by a shelf with an agent": loaded & shelf & ~moved & (heads & ~loaded[:, None]).any(2),
        "goes under a shelf": ~loaded & shelf & moved,
        "walks into the border": forward & ~moved & ~heads.any(2) & ~shelf & ~rivals.any(2),
        "lift": toggles & ~loaded & (turns.state_tp1.load >= 0),
        "lift nothing": toggles & ~loaded & (turns.state_tp1.load < 0),
        "put down": put_down,
        "put down in vain": toggles & loaded & ~put_down,
        "deliver": paid & on_goal,
        "two requests change": changed > 1,
        "wait on a goal and deliver": paid & on_goal & ~moved,
    }


# Of a record that a test without rware compares: many agents, so that ties and long queues are frequent.
KEPT = {"n_agents": 6, "reward_type": "two_stage", "difficulty": "easy", "horizon": 60}
PATH = Path(__file__).parent / "envs" / "rware_turns.npz"


def keep(per_event: int = 12) -> None:
    """Write turns of rware that show each event, and those in which the order of a Python set decides."""
    rules = rules_of(make("rware", **KEPT))
    turns = record(KEPT, 150, seed=0)
    shown = events(rules, turns).values()
    chosen = [np.flatnonzero(what.reshape(len(what), -1).any(1))[:per_event] for what in shown]
    by_edges = jax.vmap(lambda state, actions, nth: advance(rules._replace(tables=()), state, actions, nth)[0])
    nth = np.repeat(turns.nth[:, None], len(rules.floor.goals), 1)
    plain = jax.jit(by_edges)(turns.state, turns.actions, nth)
    of_sets = (np.asarray(plain.agent_cell) != turns.state_tp1.agent_cell).any(1)
    index = np.unique(np.concatenate([*chosen, np.flatnonzero(of_sets)[: 4 * per_event]]))
    leaves = jax.tree.leaves(jax.tree.map(lambda leaf: leaf[index], turns))
    np.savez_compressed(PATH, *leaves)
    print(f"{len(index)} turns, {int(of_sets[index].sum())} of them decided by a set")


def kept() -> Turn:
    """Return the turns that `keep` wrote."""
    with np.load(PATH) as file:
        leaves = [file[f"arr_{i}"] for i in range(len(file.files))]
    blank = State(*State._fields)  # pyright: ignore[reportArgumentType]
    return jax.tree.unflatten(jax.tree.structure(Turn(blank, 0, 0, 0, 0, 0, blank, 0)), leaves)


if __name__ == "__main__":
    keep()
