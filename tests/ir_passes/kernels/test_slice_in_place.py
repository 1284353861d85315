"""slice_in_place: which slices go, what their readers read instead, and that the numbers stay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import tvm
from relax_models import assert_same_numbers, build, op
from tilewright import targets
from tilewright.annotations import SLICE
from tilewright.ir_passes import ConcatInPlace, SliceInPlace, run_passes
from tilewright.ir_passes.core.graph import Graph
from tilewright.schedules.legalize import legalize
from tilewright.schedules.templates.table import TEMPLATES
from tilewright.schedules.templates.template import Chooser
from tvm import relax

INPUTS = {"x": (2, 3, 8), "z": (2, 3, 4)}


def legalized(body: Callable[..., Any]) -> tvm.IRModule:
    return legalize(build(INPUTS, body), Chooser(targets.parse("x86_64-linux-gnu", cpu="x86-64-v3"), TEMPLATES))


def cut(emit: Any, x: Any, start: int, stop: int, axis: int = 2) -> Any:
    return emit(op.strided_slice(x, [axis], [start], [stop]))


def called(module: tvm.IRModule) -> list[str]:
    return [
        str(value.args[0].name_hint)
        for _, value in Graph.read(module).bindings
        if isinstance(value, tvm.ir.Call) and isinstance(value.args[0], relax.GlobalVar)
    ]


def check(body: Callable[..., Any], expected: list[str]) -> tvm.IRModule:
    before = legalized(body)
    after = run_passes(before, [SliceInPlace()]).module
    assert called(after) == expected
    assert_same_numbers(before, after, tolerance=0)
    return after


def test_readers_read_the_window() -> None:
    def body(emit: Any, x: Any, z: Any) -> Any:
        left, right = cut(emit, x, 0, 4), cut(emit, x, 4, 8)
        return emit(op.negative(left)), emit(op.multiply(right, z)), emit(op.subtract(left, right))

    check(body, ["tir_negative_", "multiply_", "subtract_"])


def test_several_axes() -> None:
    def body(emit: Any, x: Any, z: Any) -> Any:
        return emit(op.negative(emit(op.strided_slice(x, [0, 2], [1, 3], [2, 6]))))

    check(body, ["tir_negative_"])


def test_a_slice_of_a_slice() -> None:
    def body(emit: Any, x: Any, z: Any) -> Any:
        outer = cut(emit, x, 2, 8)
        return emit(op.negative(cut(emit, outer, 1, 3))), emit(op.exp(cut(emit, outer, 1, 2, axis=1)))

    check(body, ["tir_negative_", "tir_exp_"])


def test_two_slices_by_one_kernel() -> None:
    """Each of its windows is a parameter of its own."""

    def body(emit: Any, x: Any, z: Any) -> Any:
        return (
            emit(op.subtract(cut(emit, x, 0, 4), cut(emit, x, 3, 7))),
            emit(op.subtract(cut(emit, x, 1, 5), cut(emit, x, 2, 6))),
        )

    after = check(body, ["subtract_", "subtract__"])
    assert len(after.functions) == 3


def test_equal_windows_share_a_kernel() -> None:
    def body(emit: Any, x: Any, z: Any) -> Any:
        y = emit(op.exp(x))
        return emit(op.negative(cut(emit, x, 1, 5))), emit(op.negative(cut(emit, y, 1, 5)))

    check(body, ["tir_exp", "tir_negative_", "tir_negative_"])


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(lambda emit, x, z: cut(emit, x, 1, 5), id="a result of the model"),
        pytest.param(lambda emit, x, z: emit(op.reshape(cut(emit, x, 1, 5), (6, 4))), id="read by an alias"),
        pytest.param(
            lambda emit, x, z: emit(op.negative(emit(op.strided_slice(x, [2], [0], [8], [2])))), id="steps of 2"
        ),
    ],
)
def test_what_stays_a_copy(body: Callable[..., Any]) -> None:
    module = relax.transform.RewriteDataflowReshape()(legalized(body))
    assert not SliceInPlace()(module).modified


def test_a_slice_in_a_concatenation() -> None:
    """The concatenation still copies, from where the slice lies."""

    def body(emit: Any, x: Any, z: Any) -> Any:
        return emit(op.negative(emit(op.concat([cut(emit, x, 4, 8), emit(op.exp(z))], 2))))

    before = legalized(body)
    after = run_passes(before, [SliceInPlace(), ConcatInPlace()]).module
    assert called(after) == ["tir_exp", "concatenate_", "tir_negative"]
    assert_same_numbers(before, after, tolerance=0)


def test_a_slice_of_a_part() -> None:
    """A window of a window: the source of the slice lies in a concatenation itself."""

    def body(emit: Any, x: Any, z: Any) -> Any:
        first = emit(op.exp(x))
        second = emit(op.multiply(cut(emit, first, 4, 8), z))
        return emit(op.negative(emit(op.concat([second, first], 2))))

    before = legalized(body)
    after = run_passes(before, [SliceInPlace(), ConcatInPlace()]).module
    assert called(after) == ["tir_exp_at_4", "multiply__at_0", "tir_negative"]
    assert_same_numbers(before, after, tolerance=0)


@pytest.mark.parametrize(
    ("arguments", "starts"),
    [
        (([2], [3], [5]), [0, 0, 3]),
        (([-1], [-5], [2**31 - 1]), [0, 0, 3]),
        (([0, 2], [-9, 1], [1, 99]), [0, 0, 1]),
        (([2], [3], [5], [1]), [0, 0, 3]),
    ],
)
def test_legalization_says_where_a_slice_begins(arguments: Any, starts: list[int]) -> None:
    module = legalized(lambda emit, x, z: emit(op.strided_slice(x, *arguments)))
    (found,) = [SLICE.of(function) for gvar, function in module.functions_items() if str(gvar.name_hint) != "main"]
    assert [int(start) for start in found] == starts
