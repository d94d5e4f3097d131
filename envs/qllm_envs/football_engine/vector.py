"""Games of one task in processes of their own, stepped together."""

import multiprocessing as mp
import os
import traceback
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import numpy as np

from qllm_envs.football_engine import game
from qllm_envs.football_engine.game import Game, Outcome
from qllm_envs.football_engine.tasks import LIMIT, n_agents_of


class Worker(NamedTuple):
    """A process and the games that it plays."""

    process: Any
    pipe: Connection
    lanes: range


class Games:
    """Games of one task, `n_games` lanes in `n_processes` processes. Use as a context manager, or call `close`."""

    def __init__(self, task: str, n_games: int, n_processes: int | None = None, limit: int = LIMIT) -> None:
        """Start the processes. ValueError if the engine is missing, a task does not exist, or a number is too small."""
        self.n_agents, self.n_games = n_agents_of(task), n_games
        processes = min(n_games, (os.cpu_count() or 1) if n_processes is None else n_processes)
        if processes < 1:
            raise ValueError(f"football_engine needs at least 1 game in 1 process, got {n_games} and {n_processes}")
        if not game.installed():
            raise ValueError(game.MISSING)
        context = mp.get_context("spawn")  # a fork of a process that runs jax may hang
        self.workers: list[Worker] = []
        for i in range(processes):
            lanes = range(i * n_games // processes, (i + 1) * n_games // processes)
            ours, theirs = context.Pipe()
            process = context.Process(target=serve, args=(theirs, task, len(lanes), limit), daemon=True)
            process.start()
            theirs.close()
            self.workers.append(Worker(process, ours, lanes))

    def __enter__(self) -> "Games":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def reset(self, seeds: dict[int, int]) -> dict[int, np.ndarray]:
        """Start the episode of a seed on each of some lanes; return their observations (N, 115)."""
        return self._ask("reset", seeds)

    def step(self, actions: dict[int, Sequence[int]]) -> dict[int, Outcome]:
        """Play one step on each of some lanes, given the actions (N,) of their agents."""
        return self._ask("step", actions)

    def close(self) -> None:
        """End the processes."""
        for worker in self.workers:
            worker.pipe.close()
        for worker in self.workers:
            worker.process.join(10)
            if worker.process.is_alive():
                worker.process.kill()
        self.workers = []

    def _ask(self, what: str, inputs: dict[int, Any]) -> dict[int, Any]:
        asked = []
        for worker in self.workers:
            own = {lane - worker.lanes.start: inputs[lane] for lane in worker.lanes if lane in inputs}
            if own:
                with suppress(ConnectionError):  # a process that has ended: `received` says so
                    worker.pipe.send((what, own))
                asked.append(worker)
        answers: dict[int, Any] = {}
        for worker in asked:
            answers |= {lane + worker.lanes.start: answer for lane, answer in received(worker).items()}
        return answers


def received(worker: Worker) -> dict[int, Any]:
    """The answer of a process. RuntimeError with its traceback if it failed."""
    try:
        answer = worker.pipe.recv()
    except (EOFError, ConnectionError):
        worker.process.join(10)
        raise RuntimeError(
            f"a process of football_engine ended with exit code {worker.process.exitcode} before it answered"
        ) from None
    if isinstance(answer, str):
        raise RuntimeError(f"a process of football_engine failed:\n{answer}")
    return answer


def serve(pipe: Connection, task: str, n_games: int, limit: int) -> None:
    """Play what is asked for through a pipe until it is closed, or the process that asks has ended."""
    try:
        games = [Game(task, limit) for _ in range(n_games)]
        while True:
            what, inputs = pipe.recv()
            play = {"reset": Game.reset, "step": Game.step}[what]
            pipe.send({i: play(games[i], each) for i, each in inputs.items()})
    except (EOFError, ConnectionError):
        return
    except Exception:
        pipe.send(traceback.format_exc())
