"""TensorFlow Lite files against what LiteRT computed from them, which `tflite_models/make.py` recorded beside them."""

from __future__ import annotations

import contextlib
import struct
from pathlib import Path

import numpy as np
import onnx
import pytest
import tilewright
from tilewright import frontends
from tilewright.errors import ModelError, TilewrightError, UnsupportedOperatorError
from tilewright.frontends.tflite.schema import OPERATORS

MODELS = Path(__file__).parent / "tflite_models"
# Of the largest |value|; of integers, units: LiteRT's own kernels round means and exponentials by other steps.
TOLERANCE = {"float32": 1e-6, "float16": 1e-6, "range": 1e-5, "int8": 1.0}
EXACT = "network_int8"  # whose every rounding is the same


@pytest.mark.parametrize("name", sorted(path.stem for path in MODELS.glob("*.tflite")))
def test_against_litert(name: str) -> None:
    recorded = np.load(MODELS / f"{name}.npz")
    model = tilewright.compile(MODELS / f"{name}.tflite", threads=1)
    kind = name.rpartition("_")[2]
    for sample in range(4):
        results = model.run({model.inputs[0].name: recorded[f"{sample}/input"]})
        assert f"{sample}/{len(results)}" not in recorded
        for index, result in enumerate(results.values()):
            expected = recorded[f"{sample}/{index}"]
            assert (result.shape, result.dtype) == (expected.shape, expected.dtype)
            largest = 1.0 if kind == "int8" else float(np.abs(expected).max())
            limit = 0 if name == EXACT else TOLERANCE[kind] * largest
            np.testing.assert_allclose(result.astype(np.float64), expected.astype(np.float64), rtol=0, atol=limit)


def test_nodes_are_named_after_layers() -> None:
    names = [node.name for node in frontends.open(MODELS / "network_int8.tflite").proto.graph.node]
    for layer in ("first", "pointwise", "joined", "pooled", "dense"):
        assert any(f"/{layer}" in name for name in names), names
    assert not any(name.startswith("StatefulPartitionedCall") for name in names)


def test_what_only_moves_stays_integers() -> None:
    graph = frontends.open(MODELS / "moves_int8.tflite").proto.graph
    moving = [node for node in graph.node if node.op_type in ("Slice", "Transpose", "Concat", "Reshape")]
    dequantized = {node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    assert len(moving) >= 5 and dequantized
    assert not any(name in dequantized for node in moving for name in node.input)


def test_an_operator_that_is_not_supported_is_named(tmp_path: Path) -> None:
    """The number of an operator is changed in the file to that of one that has no converter."""
    data = (MODELS / "network_float32.tflite").read_bytes()
    path = tmp_path / "changed.tflite"
    path.write_bytes(_with_operator(data, "SOFTMAX", "SVDF"))
    with pytest.raises(UnsupportedOperatorError, match="1 nodes") as caught:
        frontends.open(path)
    assert "SVDF" in caught.value.details[0]
    assert caught.value.hint


def _with_operator(data: bytes, old: str, new: str) -> bytes:
    from tilewright.frontends.tflite.flatbuffer import root

    changed = bytearray(data)
    for code in root(data).tables(1):
        for field in (0, 3):
            at = code._field(field)
            if at is not None and data[at] == OPERATORS.index(old):
                changed[at] = OPERATORS.index(new)
    return bytes(changed)


@pytest.mark.parametrize("content", [b"", b"x", b"\x10\0\0\0TFL3", b"\x10\0\0\0ONNX" + bytes(100)])
def test_no_such_file_says_so(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="not a TensorFlow Lite model"):
        frontends.open(path)
    with pytest.raises(ModelError, match="cannot be read"):
        frontends.open(tmp_path / "none.tflite")


def test_damage_anywhere_raises_our_errors_only(tmp_path: Path) -> None:
    """Bytes flipped and files cut at random: it may still be a model, or be refused, and nothing else."""
    original = (MODELS / "network_int8.tflite").read_bytes()
    rng = np.random.default_rng(3)
    path = tmp_path / "damaged.tflite"
    refused = 0
    for trial in range(200):
        damaged = bytearray(original)
        for position in rng.integers(0, len(damaged), rng.integers(1, 8)):
            damaged[position] = rng.integers(0, 256)
        path.write_bytes(damaged[: rng.integers(len(damaged))] if trial % 4 == 0 else damaged)
        try:
            frontends.open(path)
        except TilewrightError:
            refused += 1
    assert 40 < refused < 200


def test_the_export_is_onnx_that_others_read() -> None:
    onnx.checker.check_model(frontends.open(MODELS / "network_float32.tflite").proto, full_check=True)


@pytest.mark.parametrize("name", ["network_float32", "moves_float32"])
def test_sizes_that_are_zero_raise_our_errors_only(name: str, tmp_path: Path) -> None:
    """Strides, lengths, offsets, and what else is a small number, one after the other."""
    original = (MODELS / f"{name}.tflite").read_bytes()
    words = np.frombuffer(original[: len(original) // 4 * 4], "<i4")
    path = tmp_path / "damaged.tflite"
    for place in np.flatnonzero((words > 0) & (words < 64)):
        path.write_bytes(original[: 4 * place] + bytes(4) + original[4 * place + 4 :])
        with contextlib.suppress(TilewrightError):
            frontends.open(path)


@pytest.mark.parametrize("shared", ["names", "tensors"])
def test_a_file_whose_parts_are_all_the_same_ends_soon(shared: str, tmp_path: Path) -> None:
    """100,000 tensors of one name; with a long one, they would have far more text than the file has bytes."""
    text = b"n" * (300_000 if shared == "names" else 4)
    count = 100_000
    path = tmp_path / "shared.tflite"
    path.write_bytes(_with_tensors(text, count))
    if shared == "names":
        with pytest.raises(ModelError, match="not a TensorFlow Lite model") as caught:
            frontends.open(path)
        assert "overlap" in caught.value.details[0]
    else:
        graph = frontends.open(path).proto.graph
        assert graph.input[0].name == f"nnnn_{count}"


def _with_tensors(name: bytes, count: int) -> bytes:
    """A model without nodes whose tensors are all in one place of the file; the last one is its input and output."""
    vtables = struct.pack("<5Hxx5Hxx6H", 10, 8, 0, 0, 4, 10, 16, 4, 8, 12, 12, 8, 0, 0, 0, 4)
    model, graph, numbers = 44, 60, 76
    tensors = numbers + 8
    tensor = tensors + 4 + 4 * count
    graphs = struct.pack("<iIII", model - 8, 4, 1, 4)  # the model's table, and its graphs
    places = struct.pack("<iIII", graph - 20, tensors - graph - 4, numbers - graph - 8, numbers - graph - 12)
    vector = (
        struct.pack("<3I", 1, count - 1, count) + (tensor - tensors - 4 - 4 * np.arange(count)).astype("<u4").tobytes()
    )
    last = struct.pack("<iII", tensor - 32, 4, len(name)) + name
    return struct.pack("<I", model) + b"TFL3" + vtables + graphs + places + vector + last
