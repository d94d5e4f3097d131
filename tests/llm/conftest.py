"""Clients of servers on loopback in tests."""

import pytest
from asking import KEY


@pytest.fixture
def loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask no proxy, and hold the key of `asking`."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("TEST_KEY", KEY)
