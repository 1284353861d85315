"""Fixtures of the tests of schedules."""

from __future__ import annotations

import pytest
from kernel_runner import Runner


@pytest.fixture(scope="session")
def run() -> Runner:
    """Runs one operator through legalization and scheduling."""
    return Runner()
