"""Common part of games in which agents answer to signs and the state alone tells whose answer counts.

Axis letter: N agents.
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from qllm_envs import options
from qllm_envs.core import Entries, Field, Key, Scene, Shape, StateBlock

AGENT, SIGN, MARK = 0.27, 0.13, 0.09  # radius of an agent, half the sides of its sign and of its mark, in cells
FRAME = 0.47  # half the side of the frame of an agent that counts
COUNTS, RIGHT, WRONG, PLAIN = "gold", "tab:green", "tab:red", "lightgray"
MEANINGS = {COUNTS: "its action counts", PLAIN: "symbol", RIGHT: "right", WRONG: "wrong"}
KEY = tuple(Key("square", color, text) for color, text in MEANINGS.items())


def capped(env: str, option: str, value: int, high: int, most: str) -> int:
    """An integer from 1 to `high`. ValueError says what `high` is, in the words of `most`."""
    checked = options.integer(env, option, value, low=1)
    if checked > high:
        raise ValueError(f"{env}: {option} must be at most {most}, {high}, got {value!r}")
    return checked


def chosen(key: jax.Array, n: int, count: int) -> Bool[Array, " n"]:
    """Mark `count` of n agents, all subsets equally likely. The key is consumed."""
    score, index = jax.random.uniform(key, (n,)), jnp.arange(n)
    # Agents with one score stand in the order of their indices, so that there are always `count`.
    ahead = (score[None] > score[:, None]) | ((score[None] == score[:, None]) & (index[None] < index[:, None]))
    return ahead.sum(1) < count


def drawn(key: jax.Array, n: int, symbols: int, active: int) -> tuple[Int[Array, " n"], Bool[Array, " n"]]:
    """Draw a symbol for each of n agents, and mark those on duty. The key is consumed."""
    key_symbol, key_duty = jax.random.split(key)
    return jax.random.randint(key_symbol, (n,), 0, symbols, jnp.int32), chosen(key_duty, n, active)


def right(symbol: Int[Array, " n"], actions: Int[Array, " n"], n_actions: int) -> Bool[Array, " n"]:
    """True for agents whose action is the right answer to their symbol: action `symbol` modulo `n_actions`."""
    return actions == symbol % n_actions


def rule(symbols: int, actions: int) -> str:
    """Sentence that says which answers are right."""
    answer = "action k" if symbols <= actions else f"action k modulo {actions}"
    return f"The right answer to symbol k is {answer}, for all agents and at all times."


def symbol_field(n: int, symbols: int) -> Field:
    """Describe the symbols of a game that draws them anew for each step."""
    meaning = "the symbol of each agent in this step, entry i for agent i; drawn anew for each step, all equally likely"
    return Field((n,), meaning, "number of a symbol", 0.0, symbols - 1.0)


def rows(n: int, flag: str, symbols: int, *more: Entries) -> StateBlock:
    """Layout of a flat state with a row for each agent: its entry of the field `flag`, its symbol one-hot, `more`."""
    return StateBlock(
        (Entries(f"{flag}[i]", 1), Entries(f"[symbol[i] == k for k in range({symbols})]", symbols), *more), "i", n
    )


def cells(n: int) -> list[tuple[float, float]]:
    """Centers of cells for n agents, row by row from the top left, in a grid that is as square as can be."""
    columns = math.ceil(math.sqrt(n))
    return [(float(i % columns), -float(i // columns)) for i in range(n)]


def agent_shapes(
    index: int, center: tuple[float, float], sign: str, counts: bool, marks: Sequence[tuple[str, str]]
) -> list[Shape]:
    """Shapes of one agent: a frame if it counts, the agent by number, its sign above it, marks below.

    A mark is a pair of color and label; marks stand side by side.
    """
    x, y = center
    frame = [Shape("square", center, FRAME, COUNTS, "")] if counts else []
    body = Shape("circle", center, AGENT, "tab:blue", str(index), agent=index)
    top = Shape("square", (x + 0.3, y + 0.3), SIGN, PLAIN, sign)
    below = [
        Shape("square", (x - 0.35 + 2.2 * MARK * j, y - 0.35), MARK, color, label)
        for j, (color, label) in enumerate(marks)
    ]
    return [*frame, body, top, *below]


def scene(n: int, shapes: Sequence[Shape], clock: tuple[int, int] | None = None) -> Scene:
    """Return the picture of n cells with `shapes`. A clock, as steps passed and steps in all, stands above them."""
    columns = math.ceil(math.sqrt(n))
    passed, length = clock or (0, 0)
    width = columns / max(length, columns)  # of a step of the clock
    hands = [
        Shape("square", (width * (j + 0.5) - 0.5, 0.75), 0.4 * min(width, 0.5), COUNTS if j <= passed else PLAIN, "")
        for j in range(length)
    ]
    bounds = (-0.6, 0.4 - columns, columns - 0.4, 1.0 if clock else 0.6)
    return Scene((*hands, *shapes), bounds, key=KEY)
