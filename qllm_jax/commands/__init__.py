"""Commands: `python -m qllm_jax.X` runs `commands/X.py`.

The modules `qllm_jax/X.py` have the help texts alone, so that --help answers without importing jax.
"""

import importlib
from collections.abc import Callable


def named(name: str) -> Callable[[list[str]], int]:
    """The function of a command. Its module, which imports jax, is imported when the function is called."""
    return lambda arguments: getattr(importlib.import_module(f"{__name__}.{name}"), name)(arguments)
