"""Probe states: the states that a credit function is tried on, of rollouts and at the corners of the fields' ranges.

No probe leaves the range of its field, and fields of whole numbers stay whole: a function answers for the states that
its environment describes and for no others.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

LARGE = 1e3  # what a field without a bound is tried with: values must be finite there
REACH = 2.0  # times what rollouts show of such a field: up to there gradients must be finite, too
N_RANDOM = 60
MAX_SPIKES = 1000  # of one array
MAX_VALUES = 16  # of a field of whole numbers, whose entries are tried to be all alike

States = dict[str, np.ndarray]  # name -> (P, ...): P states


class Box(NamedTuple):
    """Range of one array of a state. All have its shape and are finite."""

    low: np.ndarray
    high: np.ndarray
    whole: np.ndarray  # True: whole numbers only
    near: np.ndarray  # largest magnitude in rollouts, at least 1

    @property
    def usual(self) -> tuple[np.ndarray, np.ndarray]:
        """Return lowest and highest values, with `REACH` in place of missing bounds."""
        low = np.where(self.low <= -LARGE, -REACH * self.near, self.low)
        return low, np.where(self.high >= LARGE, REACH * self.near, self.high)

    def fit(self, values: np.ndarray) -> np.ndarray:
        """Bring `values` (..., *shape) into the range."""
        return np.clip(np.where(self.whole, np.rint(values), values), self.low, self.high).astype(np.float32)


def box(low: float, high: float, seen: np.ndarray) -> Box:
    """Return the box of a field from its bounds, which may be infinite, and its values in rollouts (R, ...)."""
    shape = seen.shape[1:]
    whole = np.full(shape, len(seen) > 0 and bool((seen == np.rint(seen)).all()))
    return _box(np.full(shape, low), np.full(shape, high), whole, seen)


def flat_box(seen: np.ndarray, bounded: bool) -> Box:
    """Return the box of the flat state (S,): the range of each number in rollouts, or any if fields have no bounds.

    It holds zeros always, since the paper's own check is a state of zeros.
    """
    whole = (seen == np.rint(seen)).all(0) & (len(seen) > 0)
    low, high = seen.min(0, initial=0.0), seen.max(0, initial=0.0)
    if not bounded:
        low, high = np.full_like(low, -np.inf), np.full_like(high, np.inf)
    return _box(low, high, whole, seen)


def _box(low: np.ndarray, high: np.ndarray, whole: np.ndarray, seen: np.ndarray) -> Box:
    near = np.maximum(np.abs(seen).max(0, initial=0.0), 1.0)
    return Box(np.maximum(low, -LARGE).astype(np.float32), np.minimum(high, LARGE).astype(np.float32), whole, near)


def states(boxes: dict[str, Box], seen: States, notable: States, phrases: Sequence[str]) -> tuple[States, list[str]]:
    """Return all probe states (P, ...) and, for each, a phrase that follows "on a state".

    States of rollouts come first, then those that good play reaches, which have their own phrases.
    """
    draw = np.random.default_rng(0)
    n_seen = len(next(iter(seen.values())))
    made = [({name: values[i] for name, values in seen.items()}, "of a rollout") for i in range(n_seen)]
    made += [({name: values[i] for name, values in notable.items()}, phrase) for i, phrase in enumerate(phrases)]
    made += [
        ({name: boxes[name].fit(values) for name, values in state.items()}, phrase)
        for state, phrase in _corners(boxes, seen, draw)
    ]
    stacked = {name: np.stack([state[name] for state, _ in made]).astype(np.float32) for name in boxes}
    return stacked, [phrase for _, phrase in made]


def are_usual(boxes: dict[str, Box], states: States) -> np.ndarray:
    """True (P,) for states (P, ...) that have all numbers in their usual range."""
    inside = np.ones(len(next(iter(states.values()))), bool)
    for name, box in boxes.items():
        low, high = box.usual
        inside &= ((states[name] >= low) & (states[name] <= high)).reshape(len(inside), -1).all(-1)
    return inside


def are_reached(states: States, reached: int) -> np.ndarray:
    """True (P,) for states (P, ...) whose numbers all lie between those of the first `reached` states."""
    inside = np.ones(len(next(iter(states.values()))), bool)
    for values in states.values() if reached else ():
        flat = values.reshape(len(values), -1)
        inside &= ((flat >= flat[:reached].min(0)) & (flat <= flat[:reached].max(0))).all(-1)
    return inside


def spikes(boxes: dict[str, Box]) -> tuple[States, list[str]]:
    """Return states in which one number is the largest or smallest of all, as argmax and argmin depend on it."""
    made = []
    for name, box in boxes.items():
        rows = np.linspace(0, box.low.size - 1, min(box.low.size, MAX_SPIKES)).astype(int)
        for bound in (box.low, box.high):
            spiked = np.zeros((len(rows), box.low.size))
            spiked[np.arange(len(rows)), rows] = bound.reshape(-1)[rows]
            zeros = {other: np.zeros((len(rows), *its.low.shape)) for other, its in boxes.items()}
            made.append(zeros | {name: spiked.reshape(len(rows), *box.low.shape)})
    joined = {name: boxes[name].fit(np.concatenate([state[name] for state in made])) for name in boxes}
    return joined, ["in which one number stands out"] * len(next(iter(joined.values())))


def _corners(boxes: dict[str, Box], seen: States, draw: np.random.Generator) -> Iterator[tuple[States, str]]:
    fill = lambda value: {name: np.full(box.low.shape, value) for name, box in boxes.items()}
    yield fill(0.0), "in which every number is 0, or as near to it as its range allows"
    yield fill(1.0), "in which every number is 1, or as near to it as its range allows"
    yield {name: box.low for name, box in boxes.items()}, "in which every number is the smallest of its range"
    yield {name: box.high for name, box in boxes.items()}, "in which every number is the largest of its range"
    for _ in range(N_RANDOM):
        yield {name: _random(box, draw) for name, box in boxes.items()}, "of random numbers in the fields' ranges"
    if len(next(iter(seen.values()))):
        for _ in range(N_RANDOM // 5):
            yield {name: _shuffled(values, draw) for name, values in seen.items()}, "of numbers from different rollouts"
    for _ in range(N_RANDOM // 5):
        state = {name: np.where(draw.random(box.low.shape) < 0.5, box.low, box.high) for name, box in boxes.items()}
        yield state, "in which every number is the smallest or the largest of its range"
    for name, box in boxes.items():
        one = lambda value, name=name: _base(boxes, seen, draw) | {name: np.broadcast_to(value, boxes[name].low.shape)}
        yield one(0.0), f"in which `{name}` is 0, or as near to it as its range allows"
        yield one(box.low), f"in which `{name}` is as small as its range allows"
        yield one(box.high), f"in which `{name}` is as large as its range allows"
    for name, box in boxes.items():
        base = _base(boxes, seen, draw)
        for value in _whole_values(box):
            alike = np.broadcast_to(value, box.low.shape)
            phrase = f"in which every number of `{name}` is {value}, or as near to it as its range allows"
            yield base | {name: alike}, phrase
    yield from _coincidences(boxes, seen, draw)


def _whole_values(box: Box) -> range:
    """Return the values of a field of whole numbers, if they are few: symbols, levels, actions, cells of a grid."""
    if not (box.whole.size > 1 and box.whole.all()):
        return range(0)
    values = range(int(box.low.min()), int(box.high.max()) + 1)
    return values if len(values) <= MAX_VALUES else range(0)


def _coincidences(boxes: dict[str, Box], seen: States, draw: np.random.Generator) -> Iterator[tuple[States, str]]:
    """Yield coincidences: rows of a field that are equal to each other, or to those of another field."""
    for name, box in boxes.items():
        base = _base(boxes, seen, draw)
        if box.low.ndim and box.low.shape[0] > 1:
            equal = np.broadcast_to(base[name][:1], base[name].shape)
            yield base | {name: equal}, f"in which all rows of `{name}` are equal"
        for other, its in boxes.items():
            width = box.low.shape[-1:]
            if other == name or not width or its.low.shape[-1:] != width:
                continue
            rows, source = base[name].reshape(-1, *width).copy(), base[other].reshape(-1, *width)
            n = min(len(rows), len(source))
            rows[:n] = source[:n]
            copied = rows.reshape(box.low.shape)
            yield base | {name: copied}, f"in which `{name}` and `{other}` are in the same places"


def _base(boxes: dict[str, Box], seen: States, draw: np.random.Generator) -> States:
    """Return a state of the rollouts, or a random one."""
    n_seen = len(next(iter(seen.values())))
    if not n_seen:
        return {name: _random(box, draw) for name, box in boxes.items()}
    i = int(draw.integers(n_seen))
    return {name: values[i] for name, values in seen.items()}


def _random(box: Box, draw: np.random.Generator) -> np.ndarray:
    low, high = box.usual
    return np.asarray(draw.uniform(low, high))


def _shuffled(seen: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Draw each number from a rollout of its own."""
    flat = seen.reshape(len(seen), -1)
    return flat[draw.integers(len(flat), size=flat.shape[1]), np.arange(flat.shape[1])].reshape(seen.shape[1:])
