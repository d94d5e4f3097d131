"""Work on the host between two chunks: what may change the state of training, and may pause it."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

from qllm_jax.program.experiment import Experiment
from qllm_jax.run.checkpoint import TrainState


class PausedError(Exception):
    """Training has to wait for somebody; the message is what to do."""


class Between(NamedTuple):
    """Work between chunks."""

    interval: int  # env steps between two times
    # (state, print a line, True if training is to stop) -> the state after it, None if it was broken off and nothing is
    # to be kept of it. Raises PausedError.
    work: Callable[[TrainState, Callable[[str], None], Callable[[], bool]], TrainState | None]

    def is_due(self, step: int, step_before: int) -> bool:
        """True if a multiple of the interval lies in (step_before, step], so that a resumed training asks the same."""
        return step // self.interval > step_before // self.interval


# None: nothing to do for this experiment.
Open = Callable[[Experiment, Path], AbstractContextManager[Between | None]]
