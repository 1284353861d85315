"""Branches go whole: the sum at their end becomes its other operand."""

from __future__ import annotations

from typing import Any

import pytest
from relax_models import assert_same_ir, build, op, weights
from tilewright.errors import CutError
from tilewright.ir_passes.compression.drop_branches import DropBranches
from tilewright.ir_passes.core.sources import join


def residual_network(*, dropped: bool = False) -> Any:
    """A convolution, a residual block of two with a gate, another convolution."""

    def body(emit: Any, x: Any) -> Any:
        stem = emit(op.nn.conv2d(x, weights(8, 3, 1, 1)), "stem")
        if not dropped:
            inner = emit(op.nn.conv2d(stem, weights(4, 8, 3, 3), padding=1), "inner")
            biased = emit(op.add(inner, weights(4, 1, 1)), "inner")
            outer = emit(op.nn.conv2d(biased, weights(8, 4, 1, 1)), "outer")
            gate = emit(op.sigmoid(emit(op.mean(outer, [2, 3], keepdims=True), "squeeze")), "gate")
            stem = emit(op.add(stem, emit(op.multiply(outer, gate), "scale")), "sum")
        active = emit(op.nn.relu(stem), "relu")
        return emit(op.nn.conv2d(active, weights(2, 8, 1, 1)), "last")

    return build({"x": (1, 3, 4, 4)}, body)


@pytest.mark.parametrize("node", ["inner", "outer", "gate", "squeeze"])
def test_a_node_takes_its_whole_branch_along(node: str) -> None:
    result = DropBranches((node,))(residual_network())

    assert result.modified
    assert_same_ir(result.module, residual_network(dropped=True))


def test_several_nodes_of_a_branch_are_one_drop() -> None:
    assert_same_ir(DropBranches(("inner", "outer"))(residual_network()).module, residual_network(dropped=True))


def test_a_node_in_no_branch_becomes_its_operand() -> None:
    def body(emit: Any, x: Any) -> Any:
        return emit(op.nn.relu(emit(op.nn.conv2d(x, weights(3, 3, 1, 1)), "layer")), "relu")

    def expected(emit: Any, x: Any) -> Any:
        return emit(op.nn.relu(x), "relu")

    inputs = {"x": (1, 3, 4, 4)}

    assert_same_ir(DropBranches(("layer",))(build(inputs, body)).module, build(inputs, expected))


def test_nested_branches_go_with_the_innermost_sum() -> None:
    def network(kept: bool) -> Any:
        def body(emit: Any, x: Any) -> Any:
            inner = emit(op.nn.conv2d(x, weights(3, 3, 1, 1)), "first")
            if kept:
                inner = emit(op.add(inner, emit(op.tanh(inner), "branch")), "inner_sum")
            return emit(op.add(x, inner), "outer_sum")

        return build({"x": (1, 3, 4, 4)}, body)

    assert_same_ir(DropBranches(("branch",))(network(True)).module, network(False))


@pytest.mark.parametrize("node", ["stem", "sum"])
def test_what_the_network_cannot_do_without_is_refused(node: str) -> None:
    with pytest.raises(CutError, match="in no residual branch"):
        DropBranches((node,))(residual_network())


def test_other_functions_nodes_are_left_to_them() -> None:
    module = residual_network()

    assert DropBranches(("elsewhere",))(module).module is module


@pytest.mark.parametrize("in_a_branch", [True, False])
def test_the_bias_of_a_layer_ends_no_branch(in_a_branch: bool) -> None:
    def network(kept: bool) -> Any:
        def body(emit: Any, x: Any) -> Any:
            if kept:
                product = emit(op.nn.conv2d(x, weights(3, 3, 1, 1)), "layer")
                biased = emit(op.add(product, weights(1, 3, 1, 1)), join(["layer", "bias"]))
                x = emit(op.add(x, biased), "sum") if in_a_branch else biased
            return emit(op.nn.relu(x), "relu")

        return build({"x": (1, 3, 4, 4)}, body)

    assert_same_ir(DropBranches(("layer",))(network(True)).module, network(False))
