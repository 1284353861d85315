"""The picture: what its bars are, and that the same measurements give the same file."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_engines import fake_engine, measured, table
from tilewright.benchmarks.engines.engine import BFLOAT16
from tilewright.benchmarks.measurement import WRONG
from tilewright.benchmarks.plot import Bar, bars, draw

TABLE = table(
    fake_engine("tilewright", ours=True),
    fake_engine("onnxruntime"),
    fake_engine("tvm"),
    fake_engine("openvino-bf16", precision=BFLOAT16),
)
RESULTS = [
    measured("tilewright", 1.0, 2.0, 1.0),
    measured("onnxruntime", 1.0, 3.0, 0.5),
    measured("tvm", 50.0),
    measured("openvino-bf16", 0.5),
    measured("tilewright", 1.0, threads=2),
    measured("onnxruntime", 1.0, threads=2, state=WRONG),
    measured("tvm", 9.0, threads=2),
    measured("tvm", 9.0, model="without-own"),
]


def test_bars_are_times_over_tilewrights() -> None:
    assert bars(RESULTS, TABLE) == [
        Bar("net", 1, "onnxruntime", 1.0, 0.75, 1.25),
        Bar("net", 1, "tvm", 50.0, 50.0, 50.0),
        Bar("net", 2, "tvm", 9.0, 9.0, 9.0),
    ]


@pytest.mark.parametrize("suffix", [".svg", ".png"])
def test_the_same_measurements_give_the_same_file(tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("matplotlib")
    first, second = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    assert draw(first, RESULTS, TABLE, "Some CPU") and draw(second, RESULTS, TABLE, "Some CPU")
    assert first.read_bytes() == second.read_bytes() and first.stat().st_size > 1000
    assert sorted(each.name for each in tmp_path.iterdir()) == [first.name, second.name]


def test_nothing_to_draw(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    assert not draw(tmp_path / "a.svg", RESULTS[:1], TABLE, "Some CPU")
    assert list(tmp_path.iterdir()) == []
