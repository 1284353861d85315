"""Metrics, those that are known and users' own, and the energy that Linux tells of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tilewright.compiler.evaluation.energy import Meter, counters
from tilewright.compiler.evaluation.metrics import metric_of, relative_error, stacked
from tilewright.errors import DataError, UsageError

REFERENCE = {"y": np.eye(4, dtype=np.float32)}
OTHER = {"y": np.eye(4, dtype=np.float32)[[0, 1, 2, 2]]}


def test_what_is_known() -> None:
    top1 = metric_of(None)

    assert top1(OTHER, None, REFERENCE) == 75.0
    assert top1(OTHER, np.array([0, 1, 2, 2]), REFERENCE) == 100.0
    assert metric_of("cosine")(REFERENCE, None, REFERENCE) == pytest.approx(100)
    assert metric_of("cosine")(OTHER, None, REFERENCE) == pytest.approx(75)
    assert metric_of("snr")(OTHER, None, REFERENCE) == pytest.approx(10 * np.log10(4 / 2))
    assert metric_of("snr")(REFERENCE, None, REFERENCE) == 200.0
    assert relative_error(OTHER, REFERENCE) == pytest.approx(np.sqrt(2 / 4))
    assert stacked([{"y": np.float32(1)}, {"y": np.float32(2)}])["y"].tolist() == [1, 2]
    with pytest.raises(UsageError, match="4 rows, and there are 3 labels"):
        top1(OTHER, np.arange(3), REFERENCE)


def test_users_functions(tmp_path: Path) -> None:
    file = tmp_path / "score.py"
    file.write_text(
        "def mean(outputs): return outputs['y'].mean()\n"
        "def right(outputs, labels): return (outputs['y'].argmax(1) == labels).mean()\n"
        "def nothing(outputs): return float('nan')\n"
        "def fails(outputs): return outputs['z']\n"
        "def leaves(outputs): raise SystemExit(3)\n"
    )

    assert metric_of(f"{file}:mean")(OTHER, None, REFERENCE) == 0.25
    given = metric_of(lambda outputs: float(next(iter(outputs.values())).size))
    assert given(OTHER, None, REFERENCE) == next(iter(OTHER.values())).size and "lambda" in given.name
    assert metric_of(f"{file}:right")(OTHER, np.array([0, 1, 2, 3]), REFERENCE) == 0.75
    for name, said in (
        ("nothing", "no finite number"),
        ("fails", "KeyError"),
        ("leaves", "SystemExit: 3"),
        ("none", "no such function"),
    ):
        with pytest.raises(UsageError, match=said):
            metric_of(f"{file}:{name}")(OTHER, None, REFERENCE)
    with pytest.raises(UsageError, match="takes labels"):
        metric_of(f"{file}:right")(OTHER, None, REFERENCE)
    with pytest.raises(UsageError, match="no such metric"):
        metric_of("top5")
    with pytest.raises(DataError, match="does not exist"):
        metric_of(f"{tmp_path}/none.py:f")


def test_functions_change_copies_of_what_they_are_given() -> None:
    labels = np.arange(4)

    def shuffles(outputs: dict[str, np.ndarray], labels: np.ndarray) -> float:
        outputs.pop("y").sort()
        labels[:] = 0
        return 1.0

    outputs = {"y": REFERENCE["y"].copy()}
    metric_of(shuffles)(outputs, labels, REFERENCE)
    np.testing.assert_equal(outputs, REFERENCE)
    np.testing.assert_array_equal(labels, np.arange(4))


@pytest.mark.parametrize("label", [np.nan, -1, 4, 0.5])
def test_labels_are_classes(label: float) -> None:
    with pytest.raises(DataError, match=rf"1 of 4 labels, {label} among them, are none of the 4 classes"):
        metric_of(None)(OTHER, np.array([0, 1, label, 2]), REFERENCE)
    metric_of(None)(OTHER, np.array([0.0, 1.0, 3.0, 2.0]), REFERENCE)


def test_files_of_metrics_that_leave_the_program(tmp_path: Path) -> None:
    file = tmp_path / "leaves.py"
    file.write_text("raise SystemExit(3)")
    with pytest.raises(UsageError, match="cannot be run: SystemExit: 3"):
        metric_of(f"{file}:f")


def test_energy_is_counted_where_it_may_be_read(tmp_path: Path) -> None:
    for number, name in enumerate(("package-0", "dram", "package-1")):
        folder = tmp_path / f"intel-rapl:{number}"
        folder.mkdir()
        (folder / "name").write_text(f"{name}\n")
        (folder / "max_energy_range_uj").write_text("1000000\n")
        (folder / "energy_uj").write_text("900000\n")
    found = counters(tmp_path)
    meter = Meter(found)

    assert [each.path.name for each in found] == ["intel-rapl:0", "intel-rapl:2"]
    assert meter.joules() == 0
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("100000\n")  # it began again
    assert meter.joules() == pytest.approx(0.2)
    assert counters(tmp_path / "none") == [] and Meter([]).joules() is None
