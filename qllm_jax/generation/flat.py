"""The flat state in words: for the paper's signature, whose function gets that state."""

import textwrap
from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

from qllm_envs import Env
from qllm_jax.errors import UserError
from qllm_jax.generation.meanings import meanings
from qllm_jax.generation.terms import Meaning

MAX_ENTRIES = 600  # a description of more would be most of the prompt
WIDTH = 120


class Pattern(NamedTuple):
    """A block of entries that comes `times` times, with numbers that stay (step 0) or grow by 1."""

    block: list[Meaning]
    steps: list[tuple[int, ...]]
    times: int


def describe(env: Env, fields: str) -> str:
    """The flat state in the terms of the named arrays that `fields` describes. `UserError` where it is too large."""
    size = env.spec.state_dim
    if size > MAX_ENTRIES:
        raise UserError(
            f"signature=paper describes the flat state entry by entry, and {env.spec.name} has {size} (at most "
            f"{MAX_ENTRIES}): choose signature=credit, or fewer agents"
        )
    head = "global_state is flat. Its entries are those of named arrays, which your function does not get by name:"
    lines = (paragraph(line) for line in _lines(meanings(env)))
    return "\n".join([head, fields, "In a row of global_state, by index:", *lines])


def paragraph(text: str) -> str:
    """`text` as an item of a list, in lines that a person can read."""
    return textwrap.fill(f"- {text}", WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _lines(entries: list[Meaning]) -> Iterator[str]:
    start = listed = 0  # entries from `listed` to `start` belong to no pattern
    while start < len(entries):
        pattern = _pattern(entries[start:])
        if pattern is None:
            start += 1
            continue
        yield from _list(entries, listed, start)
        listed = start + len(pattern.block) * pattern.times
        yield f"{start} to {listed - 1}, {_repeated(pattern)}"
        start = listed
    yield from _list(entries, listed, start)


def _list(entries: list[Meaning], start: int, end: int) -> Iterator[str]:
    for _, run in groupby(range(start, end), key=lambda i: entries[i].group):
        indices = list(run)
        first, last = indices[0], indices[-1]
        texts = dict.fromkeys(str(entries[i]) for i in indices)
        yield f"{first}: {', '.join(texts)}" if first == last else f"{first} to {last}: {', '.join(texts)}"


def _pattern(entries: list[Meaning]) -> Pattern | None:
    """The block that comes most often from the first entry on, and of such blocks the longest.

    Plain meanings alone are no pattern: they are easier to read one by one.
    """
    n_plain = next((i for i, entry in enumerate(entries) if not entry.plain), len(entries))
    found = None
    for width in range(n_plain + 1, len(entries) // 2 + 1):
        block = entries[:width]
        steps = _steps(block, entries[width : 2 * width])
        times = 1
        while steps and entries[times * width : (times + 1) * width] == _moved(block, steps, times):
            times += 1
        if times > 1 and (found is None or times >= found.times):
            found = Pattern(block, steps, times)
    return found


def _steps(block: list[Meaning], after: list[Meaning]) -> list[tuple[int, ...]]:
    """How numbers grow from a block to the next; empty if nothing grows, or if they are of different kinds."""
    if any(was.text != now.text for was, now in zip(block, after, strict=True)):
        return []
    numbers = ((was.numbers, now.numbers) for was, now in zip(block, after, strict=True))
    steps = [tuple(b - a for a, b in zip(*pair, strict=True)) for pair in numbers]
    return steps if {by for step in steps for by in step} in ({1}, {0, 1}) else []


def _moved(block: list[Meaning], steps: list[tuple[int, ...]], times: int) -> list[Meaning]:
    grown = lambda numbers, step: tuple(number + times * by for number, by in zip(numbers, step, strict=True))
    return [entry._replace(numbers=grown(entry.numbers, step)) for entry, step in zip(block, steps, strict=True)]


def _repeated(pattern: Pattern) -> str:
    """A block with k in place of what grows."""
    pairs = [list(zip(entry.numbers, step, strict=True)) for entry, step in zip(*pattern[:2], strict=True)]
    base = min(number for entry in pairs for number, step in entry if step)
    named = lambda number, step: _from(base, number) if step else str(number)
    texts = (
        entry.text.format(*(named(*pair) for pair in numbers))
        for entry, numbers in zip(pattern.block, pairs, strict=True)
    )
    width = len(pattern.block)
    size = "one" if width == 1 else f"{width} entries"
    return f"{size} for each k from {base} to {base + pattern.times - 1} in turn: {', '.join(texts)}"


def _from(base: int, number: int) -> str:
    return "k" if number == base else f"k + {number - base}"
