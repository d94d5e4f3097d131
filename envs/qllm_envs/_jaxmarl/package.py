"""Names of jaxmarl 0.2.0 that `smax` and `jaxmarl` use, imported without the two lines that jaxmarl prints."""

import builtins
import contextlib
import sys
from collections.abc import Iterator
from typing import Any

# Said wherever JaxRobotarium, a part of jaxmarl that PyPI does not have, is missing: jaxmarl/environments/__init__.py.
SAID = ("Importing submoduled environments...", "Submoduled environments not found. Skipping import.")


@contextlib.contextmanager
def without_its_lines() -> Iterator[None]:
    """Leave out the lines `SAID` of what is printed, and put stdout and stderr back afterwards.

    Redirecting stdout would not do: jaxmarl/environments/mabrax/mabrax_env.py sets both to those of the process, which
    is why they are put back, as a notebook has its own.
    """
    python: Any = builtins
    before = python.print, sys.stdout, sys.stderr
    python.print = lambda *values, **options: (
        None if " ".join(map(str, values)) in SAID else before[0](*values, **options)
    )
    try:
        yield
    finally:
        python.print, sys.stdout, sys.stderr = before


with without_its_lines():
    import jaxmarl
    from jaxmarl import environments
    from jaxmarl.environments import spaces
    from jaxmarl.environments.overcooked import overcooked_layouts
    from jaxmarl.environments.overcooked.common import OBJECT_TO_INDEX
    from jaxmarl.environments.overcooked_v2 import overcooked_v2_layouts
    from jaxmarl.environments.overcooked_v2.common import OvercookedActionsEnum as OvercookedV2Actions
    from jaxmarl.environments.smax.smax_env import MAP_NAME_TO_SCENARIO, SMAX
    from jaxmarl.environments.smax.smax_env import Scenario as SmaxScenario
    from jaxmarl.environments.smax.smax_env import State as SmaxState

__all__ = [
    "MAP_NAME_TO_SCENARIO",
    "OBJECT_TO_INDEX",
    "SMAX",
    "OvercookedV2Actions",
    "SmaxScenario",
    "SmaxState",
    "environments",
    "jaxmarl",
    "overcooked_layouts",
    "overcooked_v2_layouts",
    "spaces",
]
