"""Verdicts on many candidates, made two at a time while the tests that need them run one by one."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from qllm_jax.tfcaf.verdict import Verdict


def ahead(
    request: pytest.FixtureRequest, verify: Callable[[str], Verdict], argument: str
) -> Iterator[dict[str, Future[Verdict]]]:
    """Verdicts by name of the candidates that `argument` of the selected tests of a module names, two at a time."""
    selected = [item for item in request.session.items if item.path == request.path]
    calls: list[Any] = [getattr(item, "callspec", None) for item in selected]
    names = [call.params[argument] for call in calls if call is not None and argument in call.params]
    with ThreadPoolExecutor(2) as pool:
        yield {name: pool.submit(verify, name) for name in dict.fromkeys(names)}
        pool.shutdown(cancel_futures=True)
