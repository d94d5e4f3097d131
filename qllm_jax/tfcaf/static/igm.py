"""The IGM gate of a source (paper v1, arxiv.org/abs/2504.12961v1): found in its tree, read from its text, set in it.

Texts are parsed in this process: give verified ones only, which a child process has parsed before under the same
limits.
"""

import ast

from qllm_jax.tfcaf.static.vocabulary import ENTRIES

NAME = "IGM"
DEFAULT = True  # agents choose their actions one by one, and that maximizes Q_tot only if no weight is negative


def value(tree: ast.Module, name: str = NAME) -> ast.expr | None:
    """Return the expression that the top level of a source gives to IGM, or to another name, or None."""
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            return getattr(node, "value", None)
    return None


def read(source: str) -> bool:
    """Return the gate of a verified source."""
    found = value(ast.parse(source))
    return found.value is True if isinstance(found, ast.Constant) else DEFAULT


def write(source: str, igm: bool) -> str:
    """Return a verified source with the gate set, and nothing else changed."""
    tree = ast.parse(source)
    found, lines = value(tree), source.split("\n")
    if not isinstance(found, ast.Constant):
        entry = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name in ENTRIES)
        return "\n".join([*lines[: entry.lineno - 1], f"{NAME} = {igm}", "", "", *lines[entry.lineno - 1 :]])
    line = lines[found.lineno - 1].encode()
    changed = line[: found.col_offset] + str(igm).encode() + line[found.end_col_offset :]
    lines[found.lineno - 1] = changed.decode()
    return "\n".join(lines)
