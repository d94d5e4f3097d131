"""Several processes, on one host or on many, that train the groups of one run as one job.

Groups need nothing of each other: what the processes share is a folder, and the coordination service of
`jax.distributed`, through which they find their numbers and wait for each other. Its state is kept apart from JAX's
global one: so each process has a backend of its own devices alone, no program can span two processes, and a checkpoint
is written without asking the others (orbax saves one checkpoint per job, all processes at once). JAX has no public name
for that; this module alone uses the private one.
"""

import atexit
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from jax._src.distributed import State

from qllm_jax.config import HostsConfig
from qllm_jax.errors import UserError

WAIT_MS = 14 * 24 * 3600 * 1000  # for the slowest process; one that dies is noticed within two minutes
KEYS = ("coordinator", "processes", "process")


class Job(NamedTuple):
    """This process among those of its job."""

    process: int = 0
    processes: int = 1
    service: Any = None  # the client of the coordination service

    @property
    def leads(self) -> bool:
        """Whether this process makes the folder and writes the results of all."""
        return self.process == 0


def join(settings: HostsConfig) -> Job:
    """Join the job that is asked for, before any device is used. UserError when there is none, or half of one."""
    given = {key: getattr(settings, key) for key in KEYS if getattr(settings, key) is not None}
    if not settings.auto and not given:
        return Job()
    if settings.auto and given:
        raise UserError(f"hosts.auto=true finds out by itself what hosts.{next(iter(given))} says: give one of the two")
    if not settings.auto and len(given) < len(KEYS):
        missing = ", ".join(f"hosts.{key}" for key in KEYS if key not in given)
        raise UserError(f"a job of several processes needs {missing}, too; or hosts.auto=true")
    state = State()
    try:
        # Also chooses this process's accelerator where a cluster starts one process for each of a host.
        state.initialize(settings.coordinator, settings.processes, settings.process)
    except (ValueError, RuntimeError) as error:
        hint = "; JAX knows SLURM, Open MPI and Kubernetes" if settings.auto else ""
        raise UserError(f"this process cannot join its job: {str(error).splitlines()[0]}{hint}") from error
    atexit.register(state.shutdown)  # the service waits for all of them before it ends
    return Job(state.process_id, state.num_processes or 1, state.client)


def groups_of(job: Job, n_groups: int) -> range:
    """The groups that this process trains: every `processes`-th."""
    return range(job.process, n_groups, job.processes)


@contextmanager
def together(job: Job, name: str) -> Iterator[None]:
    """What all processes do before any goes on. If it fails in one, it fails in all: UserError in the others."""
    if job.processes == 1:
        yield
        return
    failure = ""
    try:
        yield
    except BaseException as error:
        failure = str(error) or type(error).__name__
        raise
    finally:
        said = exchanged(job, name, failure)
    if failed := [f"process {i}: {sentence}" for i, sentence in enumerate(said) if sentence]:
        raise UserError(f"another process of the job failed; {'; '.join(failed)}")


def exchanged(job: Job, name: str, text: str) -> list[str]:
    """What each process of the job says at the point `name`. Waits for all of them; Ctrl-C ends the process."""
    job.service.key_value_set(f"qllm_jax/{name}/{job.process}", text)
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)  # no Python code runs while the service is waited for
    try:
        job.service.wait_at_barrier(f"qllm_jax/{name}", WAIT_MS)
    finally:
        signal.signal(signal.SIGINT, before)
    return [job.service.blocking_key_value_get(f"qllm_jax/{name}/{i}", WAIT_MS) for i in range(job.processes)]
