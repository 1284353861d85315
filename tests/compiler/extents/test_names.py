"""Dimensions as exporters name them: by words, and by sums of words, each or the whole of which may be a range."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import tilewright
from tilewright.errors import ShapeError, UsageError

from ...support.ranged_calls import assert_right
from ...support.small_models import model, node

_SUM = "past_sequence_length + sequence_length"


def _attended(
    total: str, new: int | str = "sequence_length", past: int | str = "past_sequence_length"
) -> onnx.ModelProto:
    """What is new and what was before, joined, with a mask of all: dimensions as optimum names them."""
    nodes = [
        node("Concat", ["before", "x"], "all", "joined", axis=1),
        node("Unsqueeze", ["mask", "last"], "column", "column"),
        node("Mul", ["all", "column"], "masked", "masked"),
        node("ReduceSum", ["masked", "one"], "y", "summed", keepdims=0),
    ]
    inputs = {
        "before": ("float32", ("batch_size", past, 6)),
        "x": ("float32", ("batch_size", new, 6)),
        "mask": ("float32", ("batch_size", total)),
    }
    numbers = {"last": np.array([2]), "one": np.array([1])}
    return model(nodes, inputs, {"y": ("float32", ("batch_size", 6))}, numbers)


def _inputs(batch: int, past: int, new: int) -> dict[str, Any]:
    generator = np.random.default_rng(past)
    shapes = {"before": (batch, past, 6), "x": (batch, new, 6), "mask": (batch, past + new)}
    return {name: generator.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.mark.parametrize("total", [_SUM, "past_sequence_length+sequence_length"])
def test_a_sum_of_two_ranges(total: str) -> None:
    ranges = {"batch_size": (1, 2), "past_sequence_length": (1, 7), "sequence_length": (1, 4)}
    proto = _attended(total)
    compiled = tilewright.compile(proto, ranges=ranges, threads=1)
    for sizes in ((1, 1, 1), (2, 7, 4), (1, 7, 1), (2, 3, 2)):
        assert_right(compiled, proto, _inputs(*sizes))


def test_names_of_shapes_are_known_in_sums() -> None:
    """Who gives shapes to some inputs says what the model's names mean in those of others."""
    shapes = {"before": (1, "P", 6), "x": (1, "2*S", 6)}
    proto = _attended(_SUM)
    compiled = tilewright.compile(proto, shapes=shapes, ranges={"P": (1, 7), "S": (1, 3)}, threads=1)
    assert [str(each) for each in compiled.inputs][-1] == "mask: float32[1xP + 2 * S]"
    for past, new in ((1, 2), (7, 6), (4, 4)):
        assert_right(compiled, proto, _inputs(1, past, new))


@pytest.mark.parametrize(("total", "new"), [("past_sequence_length + 1", 1), (_SUM, "sequence_length")])
def test_a_whole_sum_is_one_range(total: str, new: int | str) -> None:
    """Of one new token; what was before is what is left of the sum."""
    proto = _attended(total, new)
    shapes = {"x": (1, 1, 6)}
    compiled = tilewright.compile(proto, shapes=shapes, ranges={total: (2, 9)}, threads=1)
    (dimension,) = compiled.signature.dimensions
    assert dimension.name.startswith("past_sequence_length_") and " " not in dimension.name
    assert [spec.sizes[1] for spec in compiled.inputs if spec.name != "x"] == [f"{dimension.name} + -1", dimension.name]
    for past in (1, 8, 5):
        assert_right(compiled, proto, _inputs(1, past, 1))


@pytest.mark.parametrize(
    ("ranges", "says", "hint"),
    [
        (
            {"batch_size": (1, 2), "past_sequence_length": (1, 7), "sequence_length": (1, 4), _SUM: (2, 11)},
            "is what its parts make",
            "leave that range out",
        ),
        ({"batch_size": (1, 2), _SUM: (2, 11)}, "inputs have dimensions without a size", "past_sequence_length=1..32"),
        ({"batch_size": (1, 2), "sequence_length": (1, 4)}, "without a size", "add --range past_sequence_length=1..32"),
    ],
)
def test_sums_and_parts_of_sums(ranges: dict[str, tuple[int, int]], says: str, hint: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        tilewright.compile(_attended(_SUM), ranges=ranges, threads=1)
    assert hint in str(caught.value.hint)


def test_a_dimension_that_a_model_has_fixed() -> None:
    with pytest.raises(ShapeError, match="dimension 1 of input 'x' is 4 in the model") as caught:
        tilewright.compile(_attended(_SUM, new=4), shapes={"x": (1, "S", 6)}, ranges={"S": (1, 4)}, threads=1)
    assert "torch.export.Dim" in str(caught.value.hint)


def test_points_in_names_and_sums_of_fixed_sizes() -> None:
    proto = _attended("past.len + seq.len", new="seq.len", past="past.len")
    compiled = tilewright.compile(proto, shapes={"before": (2, 3, 6), "x": (2, 4, 6)}, threads=1)
    assert compiled.inputs[-1].shape == (2, 7)
    ranges = {"seq.len": (1, 4), "past.len": (1, 7), "batch_size": (1, 2)}
    ranged = tilewright.compile(proto, ranges=ranges, threads=1)
    assert [each.name for each in ranged.signature.dimensions] == ["seq_len", "past_len", "batch_size"]
    assert_right(ranged, proto, _inputs(2, 5, 3))


def test_a_name_that_no_input_has_lists_those_that_there_are() -> None:
    with pytest.raises(UsageError, match="no input has a dimension 'seq'") as caught:
        tilewright.compile(_attended(_SUM), ranges={"batch_size": (1, 2), "seq": (1, 4)}, threads=1)
    assert "'past_sequence_length'" in str(caught.value.hint) and f"'{_SUM}'" in str(caught.value.hint)
