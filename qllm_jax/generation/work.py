"""Work of this machine within the limits of a generation: gates, and short trainings with their compilation."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from qllm_jax.llm import transcript as transcripts
from qllm_jax.llm.client import Client, spent, time_limit_reached
from qllm_jax.llm.types import StoppedError


@contextmanager
def device_work(client: Client, work: str) -> Iterator[Callable[[], None]]:
    """Record the seconds of the body as work of this kind, also if it is broken off.

    The value is a function that raises `StoppedError` at a limit on time, to be called between the parts of the work.
    Raises `StoppedError` at once if the longest work of this kind so far would not fit.
    """
    records, limit = client.transcript.records, client.budget.max_device_seconds
    used = spent(records, client.llm.price).device_s
    longest = max((r["device_s"] for r in records if r["kind"] == "device" and r["work"] == work), default=0.0)
    if limit is not None and used + longest > limit:
        raise StoppedError(f"max_device_seconds={limit:g} would be exceeded ({used:,.0f} are used)")
    began = time.monotonic()

    def check() -> None:
        now_used = used + time.monotonic() - began
        if reason := time_limit_reached(client.budget, now_used, transcripts.elapsed_s(client.transcript)):
            raise StoppedError(reason)

    try:
        check()
        yield check
    finally:
        transcripts.append(client.transcript, "device", work=work, device_s=round(time.monotonic() - began, 3))
