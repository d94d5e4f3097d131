"""Ctrl-C and SIGTERM in training: the chunk in flight ends, then a checkpoint is written.

Python runs a signal's handler when the main thread comes back from XLA, which after a compilation can take minutes. So
a thread reads the signals as they arrive: it answers at once, and ends the process where the handler cannot.

A program that calls `train` as a library, in whatever thread, keeps its own handlers.
"""

import os
import signal
import sys
import threading
from typing import Any

from qllm_jax import process

SIGNALS = (signal.SIGINT, signal.SIGTERM)
PATIENCE_S = 2.0  # for the handler of a second Ctrl-C
ANSWER = "stopping after the step in flight, which is long if it compiles; Ctrl-C again stops at once"


class Interrupt:
    """A request to stop, by Ctrl-C or SIGTERM, after the chunk in flight. A second Ctrl-C stops at once.

    Nothing is requested, and no handler is touched, outside of a command and of the main thread, which alone gets
    signals.
    """

    def __init__(self, answer: str = ANSWER) -> None:
        """Take over both signals in a command. `answer` is printed at the first one."""
        self.requested = False
        self._handled = threading.Event()  # the handler of a second Ctrl-C runs, or all is over
        self._answer_text, self._listens = answer, process.owns_signals()
        if not self._listens:
            return
        self._old = {s: signal.signal(s, self._request) for s in SIGNALS}
        reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        self._old_writer = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        threading.Thread(target=self._answer, args=(reader,), daemon=True).start()

    def _request(self, number: int, frame: Any) -> None:
        del frame
        if self.requested and number == signal.SIGINT:
            self._handled.set()
            raise KeyboardInterrupt
        self.requested = True

    def _answer(self, reader: int) -> None:
        """Answer the signals that the pipe `reader` gives, one byte each, until it is closed."""
        has_answered = False
        with open(reader, "rb", buffering=0) as arrived:
            while numbers := arrived.read(1):
                if numbers[0] not in SIGNALS:
                    continue
                if not has_answered:
                    print(f"\n{self._answer_text}", file=sys.stderr, flush=True)
                elif numbers[0] == signal.SIGINT and not self._handled.wait(PATIENCE_S):
                    # The newest checkpoint and the logs are as kill -9 leaves them: whole.
                    print("stopped", file=sys.stderr, flush=True)
                    os._exit(130)
                has_answered = True

    def close(self) -> None:
        """Restore the signal handlers that were there before."""
        self._handled.set()
        if not self._listens:
            return
        signal.set_wakeup_fd(self._old_writer)
        os.close(self._writer)
        for number, handler in self._old.items():
            signal.signal(number, handler)
