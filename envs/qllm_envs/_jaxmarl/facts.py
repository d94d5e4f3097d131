"""Facts of JaxMARL's environments: names of actions, lengths of episodes, and arrays of their states."""

import math
from typing import Any, NamedTuple

MOVES = ("none", "left", "right", "down", "up")  # in the order of the particle world


class Known(NamedTuple):
    """Description of an array of JaxMARL's state."""

    meaning: str
    unit: str = "as in JaxMARL"
    low: float = -math.inf
    high: float = math.inf


def mpe_actions(env: Any) -> tuple[str, ...]:
    """Names of the moves of the particle world."""
    del env
    return MOVES


def speaker_actions(env: Any) -> tuple[str, ...]:
    """Names of actions that are messages of the speaker and moves of the listener."""
    del env
    says = tuple(f"say {i} (speaker)" for i in range(3))
    return tuple(
        f"{says[i]} or {move} (listener)" if i < len(says) else f"{move} (listener)" for i, move in enumerate(MOVES)
    )


def reference_actions(env: Any) -> tuple[str, ...]:
    """Names of actions that are a move and a message."""
    return tuple(f"{move} and say {message}" for message in range(env.dim_c) for move in MOVES)


def smax_actions(env: Any) -> tuple[str, ...]:
    """Names of a unit's actions."""
    return ("north", "east", "south", "west", "stop", *(f"attack enemy {i}" for i in range(env.num_enemies)))


def nav_actions(env: Any) -> tuple[str, ...]:
    """Names of a robot's pairs of speeds."""
    del env
    return tuple(f"speed {v:g} turn {w:g}" for v in (0, 0.5, 1) for w in (0.5, 0.25, 0, -0.25, -0.5))


def hanabi_horizon(env: Any) -> int:
    """Return a bound of the length of a game: cards played or discarded, and hints for all tokens there can be."""
    cards = int(env.deck_size) - env.num_agents * env.hand_size + env.num_agents
    return 2 * cards + env.max_info_tokens + env.num_colors


_STEP = Known("steps taken since the start", "step", 0)
_EVER = "half the side of the starting square"
MPE = {
    "p_pos": Known("centers (x, y), a row for each agent and then for each landmark", _EVER),
    "p_vel": Known("velocities (vx, vy), a row for each agent and then for each landmark", f"{_EVER}, a second"),
    "c": Known("last message of each agent, a row for each agent; zeros for one that says nothing"),
    "step": _STEP,
}
SPEAKER = {
    **MPE,
    "c": Known("last message of each agent as one-hot, a row for each agent; the listener's is zeros", "0 or 1", 0, 1),
    "goal": Known("index of the goal landmark, which only the speaker sees", "index of a landmark", 0, 2),
}
REFERENCE = {
    **MPE,
    "c": Known("last message of each agent as one-hot, a row for each agent", "0 or 1", 0, 1),
    "goal": Known(
        "goal landmark of each agent, entry i for agent i, which only the other agent sees", "index of a landmark", 0, 2
    ),
}
SWITCH = {
    "bulb_state": Known("True if the light is on", "true or false", 0, 1),
    "agent_in_room": Known("index of the agent in the room, whose action counts", "index of an agent", 0),
    "has_been": Known("1 for each agent that has acted in the room, entry i for agent i", "0 or 1", 0, 1),
    "step": _STEP,
}
_TYPES = "0 marine, 1 marauder, 2 stalker, 3 zealot, 4 zergling, 5 hydralisk"
_UNITS = "entry i for agent i, then the enemies"
SMAX = {
    "unit_positions": Known(
        "positions (x, y) of all units, row i for agent i, then the enemies; a dead unit stays where it died",
        "map unit",
    ),
    "unit_alive": Known(f"True for living units, {_UNITS}", "true or false", 0, 1),
    "unit_teams": Known(f"team of each unit, 0 agents, 1 enemies, {_UNITS}", "number of a team", 0, 1),
    "unit_health": Known(f"health points of each unit, {_UNITS}; at most 0 for a dead one", "point"),
    "unit_types": Known(f"type of each unit, {_UNITS}: {_TYPES}", "number of a type", 0),
    "unit_weapon_cooldowns": Known(
        f"time until each unit's weapon can fire again, {_UNITS}; below 0: it can", "second"
    ),
    "prev_movement_actions": Known(f"last move (x, y) of each unit, {_UNITS}", "direction"),
    "prev_attack_actions": Known(f"last attack of each unit as JaxMARL numbers it, {_UNITS}", "number of an action"),
    "enemy_policy_state_default_target": Known("point (x, y) to which each enemy walks if it sees nobody", "map unit"),
    "enemy_policy_state_last_attacked_enemy": Known("target that each enemy keeps to, as JaxMARL numbers it; -1: none"),
    "step": _STEP,
}
_BIT = ("0 or 1", 0, 1)
_CARDS = "colors, ranks"
HANABI = {
    "deck": Known(f"cards of the deck in order, one-hot (cards, {_CARDS}); zeros for a dealt one", *_BIT),
    "seat_order": Known("agent on each seat", "index of an agent", 0),
    "discard_pile": Known(f"discarded cards in order, one-hot (cards, {_CARDS})", *_BIT),
    "fireworks": Known(f"cards played ({_CARDS}): 1 up to the rank reached in each color", *_BIT),
    "player_hands": Known(f"hands, one-hot (seats, cards, {_CARDS}); zeros for a missing card", *_BIT),
    "info_tokens": Known("information tokens that are left, as that many leading ones", *_BIT),
    "life_tokens": Known("life tokens that are left, as that many leading ones", *_BIT),
    "card_knowledge": Known(
        "1 for each kind (color * ranks + rank) that hints leave possible for a card, (seats, cards, kinds)", *_BIT
    ),
    "colors_revealed": Known("colors told of each card, one-hot (seats, cards, colors)", *_BIT),
    "ranks_revealed": Known("ranks told of each card, one-hot (seats, cards, ranks)", *_BIT),
    "cur_player_idx": Known("seat whose turn it is, one-hot", *_BIT),
    "score": Known("sum of the rewards so far", "card"),
    "step": _STEP,
}
_THINGS = "1 empty, 2 wall, 3 onion, 4 onion pile, 5 plate, 6 plate pile, 7 goal, 8 pot, 9 soup on a plate, 10 agent"
OVERCOOKED = {
    "agent_pos": Known("cell (x, y) of each agent, y downwards", "cell", 0),
    "agent_dir": Known("direction (x, y) that each agent faces", "direction", -1, 1),
    "agent_dir_idx": Known("direction that each agent faces: 0 up, 1 down, 2 right, 3 left", "index", 0, 3),
    "agent_inv": Known(f"thing that each agent carries: {_THINGS}", "number of a thing", 0, 10),
    "goal_pos": Known("cells (x, y) of the goals, where soups are delivered", "cell", 0),
    "pot_pos": Known("cells (x, y) of the pots", "cell", 0),
    "wall_map": Known("True for cells that nobody can enter, (rows, columns)", "true or false", 0, 1),
    "maze_map": Known(
        f"the kitchen with a border of walls, (rows, columns, 3): first number {_THINGS}; third number of a pot: 23 "
        "empty, 22 and 21 with one and two onions, 20 down to 1 cooking, 0 ready",
        "number",
        0,
        255,
    ),
    "step": _STEP,
}
OVERCOOKED_V2 = {
    "agents_pos_x": Known("column of each agent", "cell", 0),
    "agents_pos_y": Known("row of each agent, from the top", "cell", 0),
    "agents_dir": Known("direction that each agent faces: 0 up, 1 down, 2 right, 3 left", "index", 0, 3),
    "agents_inventory": Known(
        "thing that each agent carries, as bits: 1 plate, 2 cooked, then two bits for the count of each ingredient; 0: "
        "nothing",
        "bits",
        0,
    ),
    "grid": Known(
        "the kitchen, (rows, columns, 3): static thing (0 empty, 1 wall, 4 goal, 5 pot, 6 recipe indicator, 7 button, "
        "9 plate pile, from 10 ingredient piles), thing on it as bits, and time left of a pot or indicator",
        "number",
    ),
    "recipe": Known(
        "recipe of the episode, as bits: from bit 2 on two bits for the count of each ingredient", "bits", 0
    ),
    "new_correct_delivery": Known("True after a step with a right delivery", "true or false", 0, 1),
    "step": _STEP,
}
COIN = {
    "red_pos": Known("cell of agent 0, the red one", "cell", 0, 2),
    "blue_pos": Known("cell of agent 1, the blue one", "cell", 0, 2),
    "red_coin_pos": Known("cell of the red coin", "cell", 0, 2),
    "blue_coin_pos": Known("cell of the blue coin", "cell", 0, 2),
    "outer_t": Known("inner episodes done", "episode", 0),
    "step": Known("steps taken since the start of the inner episode", "step", 0),
}
NAV = {
    "pos": Known("position (x, y) of each agent", "meter"),
    "theta": Known("heading of each agent", "radian"),
    "vel": Known("speed and turning speed of each agent", "meter and radian, a second"),
    "goal": Known("goal (x, y) of each agent", "meter"),
    "goal_reached": Known("True for agents that have reached their goal", "true or false", 0, 1),
    "move_term": Known("True for agents that have collided", "true or false", 0, 1),
    "map_data": Known("1 for cells with an obstacle, (rows, columns)", "0 or 1", 0, 1),
    "rew_lambda": Known("weight of an agent's own reward against the mean of all", "share", 0, 1),
    "step": _STEP,
}
