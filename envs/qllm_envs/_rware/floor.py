"""Floor plans of the robotic warehouse: from numbers of shelves, or drawn. NumPy alone.

A cell has the number y * width + x; x counts columns from the left and y rows from the top.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

SIZES = {"tiny": (1, 3), "small": (2, 3), "medium": (2, 5), "large": (3, 5)}  # rows and columns of shelf blocks
MAX_CELLS = 2**15 - 1  # a state keeps the cells of shelves as int16


class Floor(NamedTuple):
    """A floor plan. All static, and hashable."""

    width: int
    height: int
    storage: tuple[int, ...]  # (K,) cells in which shelves start and may be put down, rising; all others are highway
    goals: tuple[int, ...]  # (G,) cells, in the order in which deliveries are looked for

    @property
    def n_cells(self) -> int:
        return self.width * self.height

    @property
    def n_shelves(self) -> int:
        """K, one for each storage cell."""
        return len(self.storage)

    def pos(self, cells: Iterable[int]) -> np.ndarray:
        """(x, y) of cells, float32 (M, 2)."""
        x_y = [(cell % self.width, cell // self.width) for cell in cells]
        return np.array(x_y, np.float32).reshape(-1, 2)

    @property
    def index_of_storage(self) -> np.ndarray:
        """(cells,) int32: number of each storage cell, -1 for highways."""
        index = np.full(self.n_cells, -1, np.int32)
        index[list(self.storage)] = np.arange(self.n_shelves)
        return index


def from_numbers(rows: int, columns: int, column_height: int) -> Floor:
    """Return `rows` x `columns` blocks of shelves, each 2 wide and `column_height` high, with highways around them.

    Two goals lie in the middle of the last row; the cells above them, as high as a block, are kept free for queues.
    """
    height, width = (column_height + 1) * rows + 2, 3 * columns + 1
    y, x = np.indices((height, width))
    in_the_middle = (x == width // 2 - 1) | (x == width // 2)
    queue = in_the_middle & (y > height - (column_height + 3))
    highway = (x % 3 == 0) | (y % (column_height + 1) == 0) | (y == height - 1) | queue
    goals = (height - 1) * width + np.array([width // 2 - 1, width // 2])
    return Floor(width, height, _cells(~highway), tuple(goals.tolist()))


def from_drawing(lines: Iterable[str]) -> Floor:
    """Return the floor that is drawn line by line: x a shelf, . a highway, g a goal. ValueError says what is wrong."""
    drawn = [line.strip().replace(" ", "").lower() for line in lines]
    if not drawn or not drawn[0] or any(len(line) != len(drawn[0]) for line in drawn):
        raise ValueError("lines of one length, one a row")
    wrong = sorted(set("".join(drawn)) - set("gx."))
    if wrong:
        raise ValueError(f"the signs x (shelf), . (highway) and g (goal) alone, not {wrong[0]!r}")
    signs = np.array([list(line) for line in drawn])
    if not (signs == "g").any():
        raise ValueError("at least one goal (g)")
    return Floor(len(drawn[0]), len(drawn), _cells(signs == "x"), _cells(signs == "g"))


def _cells(mask: np.ndarray) -> tuple[int, ...]:
    return tuple(np.flatnonzero(mask).tolist())
