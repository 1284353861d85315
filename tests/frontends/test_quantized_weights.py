"""Products with weights of a few bits against ONNX Runtime: its own packed form, and pairs of ONNX's."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx
import pytest
import tilewright
from execution import execute
from models import model, tensor
from onnx import helper
from onnx_runtime import reference_outputs
from tilewright.errors import ModelError, UnsupportedError

MICROSOFT = "com.microsoft"
RNG = np.random.default_rng(3)


def packed_model(
    rows: int,
    depth: int,
    columns: int,
    bits: int,
    block: int,
    *,
    zeros: bool = True,
    bias: bool = False,
    changed: Mapping[str, int] = MappingProxyType({}),
) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """A model of one MatMulNBits."""
    blocks, bytes_of_block = -(-depth // block), block * bits // 8
    given = {
        "b": RNG.integers(0, 256, (columns, blocks, bytes_of_block)).astype("uint8"),
        "s": RNG.uniform(0.01, 0.05, (columns * blocks,)).astype("float32"),
    }
    names = ["x", "b", "s"]
    if zeros:
        given["z"] = RNG.integers(0, 256, (columns * -(-blocks * bits // 8),)).astype("uint8")
    if bias:
        given["bias"] = RNG.standard_normal(columns).astype("float32")
    names += ["z" if zeros else "", "", "bias"] if bias else ["z"] if zeros else []
    attributes = {"K": depth, "N": columns, "bits": bits, "block_size": block, **changed}
    node = helper.make_node("MatMulNBits", names, ["y"], domain=MICROSOFT, **attributes)
    made = model([node], [tensor("x", (1, rows, depth))], [tensor("y", (1, rows, columns))], given, 21)
    made.opset_import.append(helper.make_opsetid(MICROSOFT, 1))
    return made, {"x": RNG.standard_normal((1, rows, depth)).astype("float32")}


@pytest.mark.parametrize(
    ("rows", "depth", "columns", "bits", "block", "options"),
    [
        (1, 128, 48, 4, 32, {}),
        (3, 96, 40, 4, 32, {"zeros": False, "bias": True}),
        (2, 100, 24, 4, 16, {}),
        (1, 128, 80, 8, 64, {}),
        (40, 64, 24, 4, 16, {}),
    ],
)
def test_packed_weights(rows: int, depth: int, columns: int, bits: int, block: int, options: dict[str, bool]) -> None:
    made, inputs = packed_model(rows, depth, columns, bits, block, **options)
    (expected,), (actual,) = reference_outputs(made, inputs), execute(made, inputs)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=2e-6 * np.abs(expected).max())


def test_the_library_has_the_packed_bytes() -> None:
    made, _ = packed_model(1, 2048, 256, 4, 128)
    library = tilewright.compile(made)
    floats, weights = 2048 * 256 * 4, 2048 * 256 // 2
    assert weights <= library.signature.weights_bytes < weights * 1.2 < floats


def test_damaged_weights_are_refused() -> None:
    for changed in ({"K": 64}, {"N": 7}, {"bits": 3}, {"block_size": 0}):
        made, _ = packed_model(1, 128, 48, 4, 32, changed=changed)
        with pytest.raises(ModelError):
            tilewright.compile(made)
    made, _ = packed_model(1, 128, 48, 4, 32, changed={"weight_prepacked": 1})
    with pytest.raises(UnsupportedError, match="packed for one processor"):
        tilewright.compile(made)
