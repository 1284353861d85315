"""tried_values: indices that are equal are found to be, also where TVM cannot prove it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tilewright
import tvm
from tilewright.compiler.lowering.tried_values import are_equal
from tvm import tirx

MODELS = Path(__file__).parents[2] / "models"


def index_of_lines() -> tuple[Any, Any, Any, Any]:
    """Row 18 a + 6 b + c of images of 9 x 9 pixels, taken apart; the same in one; c; and what knows their bounds."""
    analyzer = tvm.sym.Analyzer()
    a, b, c = (tirx.Var(name, "int64") for name in "abc")
    for variable, extent in ((a, 9), (b, 3), (c, 6)):
        analyzer.bind(variable, tvm.ir.Range(0, extent))

    def whole(number: int) -> Any:
        return tirx.IntImm("int64", number)

    line = a * whole(2) + tirx.floordiv(b * whole(6) + c, whole(9))
    image = tirx.floordiv(a * whole(18) + b * whole(6) + c, whole(81))
    column = tirx.floormod(b * whole(6) + c, whole(9))
    apart = image * whole(1296) + tirx.floormod(line, whole(9)) * whole(144) + column * whole(16)
    return apart, (a * whole(18) + b * whole(6) + c) * whole(16), c, analyzer


def test_what_cannot_be_proved_is_tried() -> None:
    apart, joined, c, analyzer = index_of_lines()
    assert not analyzer.can_prove_equal(apart, joined)  # else there would be no need
    assert are_equal(apart, joined, analyzer)
    assert not are_equal(apart, joined + c, analyzer)


def test_too_many_values_are_not_tried() -> None:
    apart, joined, _, _ = index_of_lines()
    assert not are_equal(apart, joined, tvm.sym.Analyzer())  # nothing is known of the variables


@pytest.mark.parametrize("threads", [1, 2])
def test_a_tile_of_whole_lines_compiles_for_matrix_units(threads: int, tmp_path: Path) -> None:
    source = MODELS / "resnet_bottleneck.onnx"
    options = {"target": "x86_64-linux-gnu", "cpu": "sapphirerapids", "threads": threads, "precision": "bf16"}
    try:
        tilewright.compile(source, output=tmp_path / "m.so", jobs=1, **options)  # type: ignore[arg-type]  # a table of options
    except tilewright.errors.UnsupportedTargetError:
        assert (tmp_path / "m.so").exists()  # it is only not for this machine
