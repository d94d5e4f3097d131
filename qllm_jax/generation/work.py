"""Work of this machine within the limits of a generation: gates, and short trainings with their compilation."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from qllm_jax.llm import transcript as transcripts
from qllm_jax.llm.client import Client, spent, time_limit_reached
from qllm_jax.llm.types import StoppedError

BROKEN_OFF = "broken_off"


@contextmanager
def device_work(client: Client, work: str) -> Iterator[Callable[[], None]]:
    """Record the seconds of the body as work of this kind, also if it is broken off, which is recorded, too.

    The value is a function that raises `StoppedError` at a limit on time, to be called between the parts of the work.
    Raises `StoppedError` at once if the longest work of this kind so far would not fit.
    """
    records, limit = client.transcript.records, client.budget.max_device_seconds
    used = spent(records, client.llm.price).device_s
    of_kind = [record for record in records if record["kind"] == "device" and record["work"] == work]
    # Work that was broken off says nothing about how long it takes.
    longest = max((record["device_s"] for record in of_kind if not record.get(BROKEN_OFF)), default=0.0)
    if limit is not None and used + longest > limit:
        needed = f"{used:,.1f} s are used, and {work} take up to {longest:,.1f} s"
        raise StoppedError(f"max_device_seconds={limit:g} would be exceeded: {needed}")
    began, fields = time.monotonic(), {BROKEN_OFF: True}

    def check() -> None:
        now_used = used + time.monotonic() - began
        if reason := time_limit_reached(client.budget, now_used, transcripts.elapsed_s(client.transcript)):
            raise StoppedError(reason)

    try:
        check()
        yield check
        fields = {}
    finally:
        device_s = round(time.monotonic() - began, 3)
        transcripts.append(client.transcript, "device", work=work, device_s=device_s, **fields)
