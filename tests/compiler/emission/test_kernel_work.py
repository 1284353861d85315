"""What the signature says of a kernel's work: bytes that must move, each once, and operations."""

from __future__ import annotations

import numpy as np
import pytest
import tilewright
from onnx import ModelProto
from small_models import model, node
from tilewright.compiler.emission.graph import GraphCall
from tilewright.compiler.emission.kernel_work import least_bytes

FLOAT = 4


def work(proto: ModelProto) -> tuple[int, int]:
    """FLOPs and bytes of the only kernel of a model."""
    (kernel,) = tilewright.compile(proto, threads=1).signature.kernels
    return kernel.flops, kernel.bytes


def test_element_wise_work() -> None:
    proto = model(
        [
            node("Add", ["x", "z"], "a", "add"),
            node("Exp", ["a"], "b", "exp"),
            node("Mul", ["b", "z"], "y", "mul"),
        ],
        {"x": ("float32", (3, 40)), "z": ("float32", (40,))},
        {"y": ("float32", (3, 40))},
    )

    assert work(proto) == (3 * 120, (120 + 40 + 120) * FLOAT)


def test_moving_is_no_arithmetic() -> None:
    proto = model(
        [node("Transpose", ["x"], "y", "transpose", perm=[1, 0])],
        {"x": ("float32", (6, 7))},
        {"y": ("float32", (7, 6))},
    )

    assert work(proto) == (0, 2 * 42 * FLOAT)


def test_choosing_is_no_arithmetic() -> None:
    proto = model(
        [node("Concat", ["x", "z"], "y", "join", axis=1)],
        {"x": ("float32", (9, 16)), "z": ("float32", (9, 8))},
        {"y": ("float32", (9, 24))},
    )

    assert work(proto) == (0, 2 * 9 * 24 * FLOAT)


def test_a_slice_reads_its_part() -> None:
    proto = model(
        [node("Slice", ["x", "starts", "ends", "axes"], "y", "slice")],
        {"x": ("float32", (50, 10))},
        {"y": ("float32", (50, 3))},
        {"starts": np.array([2]), "ends": np.array([5]), "axes": np.array([1])},
    )

    assert work(proto) == (0, 2 * 150 * FLOAT)


def test_a_table_counts_the_rows_that_are_read() -> None:
    proto = model(
        [node("Gather", ["table", "ids"], "y", "gather")],
        {"ids": ("int64", (5,))},
        {"y": ("float32", (5, 16))},
        {"table": np.random.default_rng(0).random((1000, 16), np.float32)},
    )

    assert work(proto) == (0, 5 * 8 + 2 * 5 * 16 * FLOAT)


@pytest.mark.parametrize("rows", [3, 400])
def test_products_count_both_operands_once(rows: int) -> None:
    weights = np.random.default_rng(0).random((48, 32), np.float32)
    proto = model(
        [node("MatMul", ["x", "w"], "y", "product")],
        {"x": ("float32", (rows, 48))},
        {"y": ("float32", (rows, 32))},
        {"w": weights},
    )

    # 32 columns are whole tiles, so that packing adds nothing to the weights.
    assert work(proto) == (2 * rows * 48 * 32, (rows * 48 + 48 * 32 + rows * 32) * FLOAT)


def test_a_tensor_passed_twice_counts_once() -> None:
    different = GraphCall("product", (0, 1), (2,), ("a",))
    same = GraphCall("product", (0, 0), (2,), ("b",))

    assert least_bytes([different], {"product": (100, 80, 7)}) == {"product": 187}
    assert least_bytes([different, same], {"product": (100, 80, 7)}) == {"product": 107}
