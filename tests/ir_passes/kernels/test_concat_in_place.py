"""concat_in_place: which concatenations go, where the parts are written, and that all of them are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tvm
from relax_models import assert_same_numbers, build, op
from tilewright.annotations import CONCAT
from tilewright.ir_passes import ConcatInPlace, run_passes
from tilewright.ir_passes.core.constants import constant
from tilewright.ir_passes.core.graph import Graph
from tvm import relax, tirx

INPUTS = {"x": (1, 3, 4), "z": (1, 3, 4)}


def legalized(body: Callable[..., Any], inputs: dict[str, Any] = INPUTS) -> tvm.IRModule:
    """call_tir only; concatenations marked with the axis, which is the last."""
    module = relax.transform.AnnotateTIROpPattern()(relax.transform.LegalizeOps()(build(inputs, body)))
    for gvar, function in module.functions_items():
        if isinstance(function, tirx.PrimFunc) and gvar.name_hint.startswith("concatenate"):
            module.update_func(gvar, CONCAT.on(function, len(function.params[-1].shape) - 1))
    return module


def calls(module: tvm.IRModule) -> list[str]:
    return [
        f"{value.op.name[6:]} {value.args[0].name_hint}"
        for _, value in Graph.read(module).bindings
        if isinstance(value, tvm.ir.Call)
    ]


def check(body: Callable[..., Any], expected: list[str], inputs: dict[str, Any] = INPUTS) -> tvm.IRModule:
    before = legalized(body, inputs)
    after = run_passes(before, [ConcatInPlace()]).module
    assert calls(after) == expected
    assert_same_numbers(before, after, tolerance=0)
    return after


def test_parts_are_written_in_place() -> None:
    def body(emit: Any, x: Any, z: Any) -> Any:
        parts = [emit(op.exp(x)), emit(op.tanh(z)), emit(op.exp(z))]
        return emit(op.negative(emit(op.concat(parts, 2))))

    after = check(
        body,
        [
            "call_tir tir_exp_at_0",
            "call_tir_inplace tir_tanh_at_4",
            "call_tir_inplace tir_exp_at_8",
            "call_tir tir_negative",
        ],
    )
    assert {gvar.name_hint for gvar in after.functions} == {
        "main",
        "tir_exp_at_0",
        "tir_exp_at_8",
        "tir_tanh_at_4",
        "tir_negative",
    }


def test_a_result_of_the_model() -> None:
    check(
        lambda emit, x, z: emit(op.concat([emit(op.exp(x)), emit(op.tanh(z))], 2)),
        ["call_tir tir_exp_at_0", "call_tir_inplace tir_tanh_at_4"],
    )


def test_along_another_axis() -> None:
    def body(emit: Any, x: Any, z: Any) -> Any:
        return emit(op.concat([emit(op.exp(x)), emit(op.tanh(z))], 1))

    module = legalized(body)
    for gvar, function in module.functions_items():
        if gvar.name_hint.startswith("concatenate"):
            module.update_func(gvar, CONCAT.on(function, 1))
    after = run_passes(module, [ConcatInPlace()]).module
    assert calls(after) == ["call_tir tir_exp_at_0", "call_tir_inplace tir_tanh_at_3"]
    assert_same_numbers(module, after, tolerance=0)


def test_two_concatenations_take_turns() -> None:
    def body(emit: Any, x: Any, z: Any) -> Any:
        a, b, c, d = (emit(op.exp(x)), emit(op.tanh(x)), emit(op.exp(z)), emit(op.tanh(z)))
        return emit(op.concat([a, d], 2)), emit(op.concat([c, b], 2))

    check(
        body,
        [
            "call_tir tir_exp_at_0",
            "call_tir tir_tanh_at_4",
            "call_tir_inplace tir_exp_at_0",
            "call_tir_inplace tir_tanh_at_4",
        ],
    )


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(lambda emit, x, z: emit(op.concat([emit(op.exp(x)), z], 2)), id="an input of the model"),
        pytest.param(
            lambda emit, x, z: emit(op.concat([emit(op.exp(x)), constant(np.ones((1, 3, 4), "float32"))], 2)),
            id="a constant",
        ),
    ],
)
def test_what_no_kernel_makes_is_copied(body: Callable[..., Any]) -> None:
    assert not ConcatInPlace()(legalized(body)).modified


def test_what_others_read_is_copied() -> None:
    def twice(emit: Any, x: Any, z: Any) -> Any:
        part = emit(op.exp(x))
        return emit(op.concat([part, part], 2))

    def escaping(emit: Any, x: Any, z: Any) -> Any:
        part = emit(op.exp(x))
        return emit(op.concat([part, emit(op.tanh(z))], 2)), part

    def of_two(emit: Any, x: Any, z: Any) -> Any:
        parts = [emit(op.exp(x)), emit(op.tanh(z))]
        return emit(op.concat(parts, 2)), emit(op.concat(parts[::-1], 2))

    def nested(emit: Any, x: Any, z: Any) -> Any:
        whole = emit(op.concat([x, z], 2))
        return emit(op.concat([whole, emit(op.tanh(z))], 2))

    for body in (twice, escaping, of_two, nested):
        assert not ConcatInPlace()(legalized(body)).modified


def test_other_kernels_read_their_window_of_the_whole() -> None:
    def body(emit: Any, x: Any, z: Any) -> Any:
        part, other = emit(op.exp(x)), emit(op.tanh(z))
        before = emit(op.negative(part))
        whole = emit(op.concat([part, other], 2))
        return whole, before, emit(op.abs(other)), emit(op.add(part, other))

    check(
        body,
        [
            "call_tir tir_exp_at_0",
            "call_tir_inplace tir_tanh_at_4",
            "call_tir tir_negative_",
            "call_tir tir_abs_",
            "call_tir add_",
        ],
    )


def test_a_part_is_made_of_another() -> None:
    """The kernel reads one window of the tensor and writes another."""

    def body(emit: Any, x: Any, z: Any) -> Any:
        first = emit(op.exp(x))
        second = emit(op.multiply(first, z))
        return emit(op.negative(emit(op.concat([first, second, emit(op.add(second, first))], 2))))

    check(
        body,
        [
            "call_tir tir_exp_at_0",
            "call_tir_inplace multiply_at_4",
            "call_tir_inplace add_at_8",
            "call_tir tir_negative",
        ],
    )


def test_a_part_is_read_by_a_part_of_another_whole() -> None:
    def body(emit: Any, x: Any, z: Any) -> Any:
        a, b = emit(op.exp(x)), emit(op.tanh(z))
        c, d = emit(op.negative(a)), emit(op.add(a, b))
        return emit(op.concat([a, b], 2)), emit(op.concat([c, d], 1))

    module = legalized(body)
    for gvar, function in module.functions_items():
        if gvar.name_hint == "concatenate1":
            module.update_func(gvar, CONCAT.on(function, 1))
    after = run_passes(module, [ConcatInPlace()]).module
    assert [name for name in calls(after) if "concat" in name] == []
    assert_same_numbers(module, after, tolerance=0)
