"""Seconds in which this machine works: recorded also where work is broken off, and limited over all processes."""

from pathlib import Path

import pytest

from qllm_jax.generation.work import device_work
from qllm_jax.llm import transcript
from qllm_jax.llm.client import Budget, Client
from qllm_jax.llm.types import Llm, StoppedError


def client(lines: transcript.Transcript, folder: Path, **limits: float) -> Client:
    ask = lambda request, folder, seconds: pytest.fail("no request is made")
    return Client(Llm("m", {}, ask), lines, Budget(**limits), folder, lambda line: None)  # pyright: ignore


def works(lines: transcript.Transcript) -> list[str]:
    return [record["work"] for record in lines.records if record["kind"] == "device"]


def test_work_that_is_broken_off_is_recorded(tmp_path: Path):
    with transcript.opened(tmp_path / transcript.NAME) as lines:
        with pytest.raises(KeyboardInterrupt), device_work(client(lines, tmp_path), "gates"):
            raise KeyboardInterrupt
        assert works(lines) == ["gates"]
        assert lines.records[0]["device_s"] >= 0
        # How long it would have taken is not known: it is tried again where only that much is left.
        transcript.append(lines, "device", work="short trainings", device_s=50.0, broken_off=True)
        with device_work(client(lines, tmp_path, max_device_seconds=55.0), "short trainings"):
            pass
        assert "broken_off" not in lines.records[-1]


def test_a_limit_is_checked_before_and_within_the_work(tmp_path: Path):
    with transcript.opened(tmp_path / transcript.NAME) as lines:
        transcript.append(lines, "device", work="gates", device_s=2.0)
        transcript.append(lines, "device", work="short trainings", device_s=50.0)
        with device_work(client(lines, tmp_path, max_device_seconds=55.0), "gates") as check:
            check()
        transcript.append(lines, "device", work="short trainings", device_s=2.0, broken_off=True)
        sentence = r"^max_device_seconds=55 would be exceeded: 54.0 s are used, and short trainings take up to 50.0 s$"
        with (
            pytest.raises(StoppedError, match=sentence),
            device_work(client(lines, tmp_path, max_device_seconds=55.0), "short trainings"),
        ):
            pytest.fail("as much as before does not fit")
        assert works(lines) == ["gates", "short trainings", "gates", "short trainings"]
        with (
            pytest.raises(StoppedError, match=r"^max_minutes=1e-09 is reached$"),
            device_work(client(lines, tmp_path, max_minutes=1e-9), "other") as check,
        ):
            pytest.fail("no time is left")


def test_work_that_just_fits_is_done(tmp_path: Path):
    with transcript.opened(tmp_path / transcript.NAME) as lines:
        transcript.append(lines, "device", work="gates", device_s=50.0)
        with device_work(client(lines, tmp_path, max_device_seconds=100.0), "gates"):
            pass
        assert works(lines) == ["gates", "gates"]
