"""The cost of a parallel loop: measured, and printed as a table."""

from __future__ import annotations

from itertools import chain

import pytest
from tilewright.benchmarks.hand_off import COLUMNS, Cost, main, measure, table
from tilewright.targets.host import available_cores


@pytest.mark.skipif(available_cores() < 2, reason="needs two processors")
def test_two_threads_are_measured() -> None:
    costs = measure([2], 400)[2]

    assert set(costs) == set(COLUMNS)
    assert 0 <= costs["serial"].fastest <= costs["empty"].fastest
    # Milliseconds every time would mean that the workers sleep between the loops of a run; once, that others ran.
    tries = chain([costs], (measure([2], 400)[2] for _ in range(10)))
    assert any(0 < each["together"].fastest < 100_000 for each in tries)


def test_the_table() -> None:
    cost = {name: Cost(10.4, 20) for name in COLUMNS}

    assert table({2: cost, 4: cost}).splitlines()[2:] == [
        "| 2 | 10, 20 | 10, 20 | 10, 20 |",
        "| 4 | 10, 20 | 10, 20 | 10, 20 |",
    ]


def test_more_threads_than_processors_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--threads", str(available_cores() + 1)])
    assert "from 2 to" in capsys.readouterr().err
