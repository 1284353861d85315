"""Shapes and values that the user gives for a model's inputs."""

from __future__ import annotations

import numpy as np
import pytest
from execution import execute
from models import model, perceptron, tensor
from onnx import TensorProto, helper
from tilewright import frontends
from tilewright.errors import ShapeError, UnsupportedError, UsageError


def _two_inputs() -> object:
    node = helper.make_node("Add", ["a", "b"], ["y"])
    return model([node], [tensor("a", ["batch", 3]), tensor("b", ["batch", 3])], [tensor("y", ["batch", 3])])


def test_the_error_gives_the_option_to_add() -> None:
    with pytest.raises(ShapeError) as caught:
        frontends.load(frontends.open(perceptron("batch")))
    assert caught.value.hint == "add --shape x=1x3"


@pytest.mark.parametrize(
    ("dims", "suggestion"),
    [
        (["batch", 3, None, None], "1x3x224x224"),
        ([None, "sequence_length"], "1x128"),
        ([4, "features"], "4xN"),
    ],
)
def test_suggestions(dims: list[int | str | None], suggestion: str) -> None:
    proto = model([helper.make_node("Relu", ["x"], ["y"])], [tensor("x", dims)], [tensor("y", dims)])
    with pytest.raises(ShapeError) as caught:
        frontends.load(frontends.open(proto))
    letters = ", with numbers for letters, or --range N=1..32 for each" if "N" in suggestion else ""
    assert caught.value.hint == f"add --shape x={suggestion}{letters}"


@pytest.mark.parametrize("dim", [-1, 0, -5, "batch", None])
def test_dimensions_that_say_nothing(dim: int | str | None) -> None:
    """Converters write an unknown dimension as -1 or 0 too."""
    proto = perceptron(dim)
    with pytest.raises(ShapeError) as caught:
        frontends.load(frontends.open(proto))
    assert caught.value.details[0].startswith("input 'x' of shape ")
    assert "dimension 0 " in caught.value.details[0]
    assert caught.value.hint == "add --shape x=1x3"
    assert execute(proto, {"x": np.ones((2, 3), np.float32)})[0].shape == (2, 4)


def test_the_error_names_every_place() -> None:
    nodes = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Relu", ["v"], ["w"])]
    proto = model(nodes, [tensor("x", ["n", 3, -1]), tensor("v", None)], [tensor("y", None), tensor("w", None)])
    with pytest.raises(ShapeError) as caught:
        frontends.load(frontends.open(proto))
    assert caught.value.details == (
        "input 'x' of shape [n]x3x?: dimensions 0 ('n'), 2 are unknown",
        "input 'v': the model gives no shape",
    )


def test_a_symbol_with_two_values_names_both_places() -> None:
    with pytest.raises(ShapeError, match=r"5 \(dimension 0 of input 'a'\) and 6 \(dimension 0 of input 'b'\)"):
        frontends.load(frontends.open(_two_inputs()), shapes={"a": (5, 3), "b": (6, 3)})  # type: ignore[arg-type] # a ModelProto


@pytest.mark.parametrize("shape", ["2x3", (2.0, 3), 6, None, (2, "3")])
def test_a_shape_that_is_none(shape: object) -> None:
    with pytest.raises(UsageError, match="whole numbers"):
        frontends.load(frontends.open(perceptron("n")), shapes={"x": shape})  # type: ignore[dict-item] # the point of the test


def test_a_symbol_is_bound_everywhere() -> None:
    imported = frontends.load(frontends.open(_two_inputs()), shapes={"a": (5, 3)})  # type: ignore[arg-type] # a ModelProto
    assert [int(dim) for dim in imported.module["main"].params[1].ty.shape] == [5, 3]


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"a": (5, 3), "b": (6, 3)}, "both 5"),
        ({"a": (5, 4)}, "must be 3"),
        ({"a": (5, 3, 1)}, "3 dimensions"),
        ({"a": (-1, 3)}, "negative"),
    ],
)
def test_shapes_that_do_not_fit(shapes: dict[str, tuple[int, ...]], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        frontends.load(frontends.open(_two_inputs()), shapes=shapes)  # type: ignore[arg-type] # a ModelProto


def test_an_unknown_input() -> None:
    with pytest.raises(UsageError) as caught:
        frontends.load(frontends.open(perceptron()), shapes={"z": (2, 3)})
    assert "'x'" in str(caught.value.hint)


def test_a_given_shape_decides_the_result() -> None:
    x = np.ones((7, 3), np.float32)
    assert execute(perceptron("batch"), {"x": x})[0].shape == (7, 4)


def test_a_shape_computation_folds_with_the_given_shape() -> None:
    """Shape, Gather, Concat, Reshape: the way exporters flatten. Nothing but a reshape may be left."""
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["n"]),
        helper.make_node("Unsqueeze", ["n", "axis"], ["n1"]),
        helper.make_node("Concat", ["n1", "rest"], ["target"], axis=0),
        helper.make_node("Reshape", ["x", "target"], ["y"], name="flat"),
    ]
    weights = {"zero": np.array(0), "axis": np.array([0]), "rest": np.array([-1])}
    proto = model(nodes, [tensor("x", ["n", 2, 3])], [tensor("y", None)], weights)
    main = frontends.load(frontends.open(proto), shapes={"x": (4, 2, 3)}).module["main"]
    bindings = [binding for block in main.body.blocks for binding in block.bindings]
    assert [binding.var.name for binding in bindings][:-1] == ["flat"]
    assert [int(dim) for dim in bindings[0].var.ty.shape] == [4, 6]


def test_a_bound_input_is_a_constant() -> None:
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    node = helper.make_node("Reshape", ["x", "s"], ["y"])
    proto = model([node], [tensor("x", [2, 3]), _int64("s")], [tensor("y", None)])
    with pytest.raises(UnsupportedError) as caught:
        frontends.load(frontends.open(proto))
    assert "--bind" in str(caught.value.hint)
    imported = frontends.load(frontends.open(proto), bindings={"s": np.array([3, 2])})
    assert imported.input_names == ("x",)
    assert np.array_equal(execute(proto, {"x": x, "s": np.array([3, 2])}, bindings=["s"])[0], x.reshape(3, 2))


def test_a_bound_value_of_the_wrong_dtype() -> None:
    with pytest.raises(UsageError, match="float64"):
        frontends.load(frontends.open(perceptron()), bindings={"x": np.ones((2, 3))})


def _int64(name: str) -> object:
    return tensor(name, [2], TensorProto.INT64)
