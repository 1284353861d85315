"""Of a sweep each run takes some of the cases, always the same; `make test-all` takes all."""

from __future__ import annotations

import math
import zlib
from collections import defaultdict

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks as slow all but a part of the cases of a test with `sweep(n)`: the n-th part, of every kind some."""
    sweeps = defaultdict(list)
    for item in items:
        mark = item.get_closest_marker("sweep")
        if mark is not None and item.get_closest_marker("slow") is None:
            sweeps[item.nodeid.partition("[")[0]].append((zlib.crc32(item.name.encode()), item, mark.args[0]))
    for cases in sweeps.values():
        cases.sort(key=lambda case: case[0])
        for _, item, _ in cases[math.ceil(len(cases) / cases[0][2]) :]:
            item.add_marker(pytest.mark.slow)
