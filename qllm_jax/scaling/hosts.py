"""Jobs: several processes, on one host or on many, that train the groups of one run.

Groups are independent. The processes share a folder and the coordination service of `jax.distributed`, which numbers
them and lets them wait for each other. The service's state is separate from JAX's global one, so that each process
sees its own devices alone, no program spans two processes, and each process writes its own checkpoints (orbax would
write one per job, all processes at once). JAX has no public name for that state; only this module uses the private one.
"""

import atexit
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, NamedTuple

from jax._src.distributed import State

from qllm_jax.config import HostsConfig
from qllm_jax.errors import UserError
from qllm_jax.run.interrupt import Interrupt

MAX_WAIT_MS = 14 * 24 * 3600 * 1000  # for the slowest process; the service notices a dead one within two minutes
# Its end would end the others before they have written their checkpoints, at once if it is process 0.
WAITING = "waiting for the other processes of the job; Ctrl-C again ends this one, and them without a checkpoint"
KEYS = ("coordinator", "processes", "process")


class Job(NamedTuple):
    """The processes of a job, and which of them this one is."""

    process: int = 0  # index of this process
    processes: int = 1
    service: Any = None  # the client of the coordination service

    @property
    def is_leader(self) -> bool:
        """True for the process that makes the folder and writes the results of all."""
        return self.process == 0


def join(settings: HostsConfig) -> Job:
    """Join the job of `hosts`, before any device is used. UserError for incomplete keys or an unknown job."""
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
    """Indices of the groups that this process trains: every `processes`-th."""
    return range(job.process, n_groups, job.processes)


@contextmanager
def synchronized(job: Job, name: str) -> Iterator[None]:
    """Wait at the end until all processes have done this step. If it fails in one, it is a UserError in the others."""
    if job.processes == 1:
        yield
        return
    failure = ""
    try:
        yield
    except BaseException as error:
        failure = str(error) or type(error).__name__
        # Said now: the exchange waits until the others, which may train for hours, have come to its end.
        sentence = f"error in process {job.process} of the job: {failure}; it waits for the others"
        print(sentence, file=sys.stderr, flush=True)
        raise
    finally:
        failures = exchange(job, name, failure)
    if failed := [f"process {i}: {message}" for i, message in enumerate(failures) if message]:
        raise UserError(f"another process of the job failed; {'; '.join(failed)}")


def exchange(job: Job, name: str, text: str) -> list[str]:
    """Send `text` to all processes and return the texts of all, under a name for this step.

    A second Ctrl-C ends the process. The first, which a terminal sends to all of a job, does not: the others stop too.
    """
    job.service.key_value_set(f"qllm_jax/{name}/{job.process}", text)
    with closing(Interrupt(WAITING)):
        job.service.wait_at_barrier(f"qllm_jax/{name}", MAX_WAIT_MS)
    return [job.service.blocking_key_value_get(f"qllm_jax/{name}/{i}", MAX_WAIT_MS) for i in range(job.processes)]
