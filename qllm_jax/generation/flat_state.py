"""Paragraph on the flat state, for prompts with the signature of the paper, whose functions get that state alone."""

import textwrap
from collections.abc import Iterator

from qllm_envs import Entries, Spec, StateBlock
from qllm_jax.errors import UserError

WIDTH = 120  # characters of a line
HEAD = "global_state is flat. Its entries are those of named arrays, which your function does not get by name:"
RULE = (
    "In a row of global_state, by index. Formulas are Python; an array, and a list of arrays, fills its entries row by "
    "row, and a number fills each of them:"
)


def describe(spec: Spec, fields: str) -> str:
    """Return the layout of the flat state in words, after `fields`, the text that describes the named arrays.

    `UserError` if the environment declares no layout.
    """
    if not spec.state_layout:
        raise UserError(f"{spec.name} declares no state_layout, which signature=paper needs: choose signature=credit")
    lines, start = [HEAD, fields, *textwrap.wrap(RULE, WIDTH)], 0
    for block in spec.state_layout:
        lines += _block(block, start)
        start += block.width * block.repeats
    return "\n".join(lines)


def paragraph(text: str, indent: str = "") -> str:
    """Return `text` as an item of a list, in lines of at most `WIDTH` characters."""
    first, rest = f"{indent}- ", f"{indent}  "
    return textwrap.fill(
        text, WIDTH, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )


def _block(block: StateBlock, start: int) -> Iterator[str]:
    if not block.letter:
        yield from (paragraph(text) for text in _entries(block.entries, start))
        return
    width, last = block.width, start + block.width * block.repeats - 1
    turns = f"{start} to {last}: for each {block.letter} from 0 to {block.repeats - 1} in turn"
    base = f"{start} + " if start else ""
    if width == 1:
        yield paragraph(f"{turns}, one entry, at index {base}{block.letter}:")
        yield paragraph(block.entries[0].formula, "  ")
        return
    yield paragraph(f"{turns}, {width} entries from index {base}{width} * {block.letter} on, counted from there:")
    yield from (paragraph(text, "  ") for text in _entries(block.entries, 0, "+"))


def _entries(entries: tuple[Entries, ...], start: int, sign: str = "") -> Iterator[str]:
    for part in entries:
        stop = start + part.size
        yield f"{sign}{start}{f' to {sign}{stop - 1}' if part.size > 1 else ''}: {part.formula}"
        start = stop
