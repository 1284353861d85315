"""Models that are odd or inconsistent in structure: each imports as ONNX means it, or ends in an error of ours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from execution import execute
from models import model, tensor
from onnx import TensorProto, helper, numpy_helper
from tilewright import frontends
from tilewright.errors import CompilerError, ModelError, TilewrightError, UnsupportedError, UnsupportedVersionError
from tilewright.frontends.onnx import importer

_X = np.array([-1, 2], np.float32)


def _relu(given: str = "x", made: str = "y", **attributes: Any) -> onnx.NodeProto:
    return helper.make_node("Relu", [given], [made], name="it", **attributes)


def _small(nodes: Sequence[onnx.NodeProto], outputs: Sequence[str] = ("y",), **options: Any) -> onnx.ModelProto:
    return model(nodes, [tensor("x", [2])], [tensor(name, [2]) for name in outputs], **options)


def _changed(change: Callable[[onnx.ModelProto], object], *nodes: onnx.NodeProto) -> onnx.ModelProto:
    weights = {"w": np.ones(2, np.float32)}
    proto = _small(list(nodes) or [helper.make_node("Add", ["x", "w"], ["y"], name="it")], weights=weights)
    change(proto)
    return proto


def _softmax(change: Callable[[onnx.AttributeProto], object]) -> onnx.ModelProto:
    node = helper.make_node("Softmax", ["x"], ["y"], name="it", axis=0)
    change(node.attribute[0])
    return _small([node])


def _branches(then: onnx.GraphProto, otherwise: onnx.GraphProto, outputs: Sequence[str] = ("y",)) -> onnx.ModelProto:
    node = helper.make_node("If", ["c"], list(outputs), name="it", then_branch=then, else_branch=otherwise)
    return _small([node], outputs, weights={"c": np.array(True)})


def _graph(nodes: Sequence[onnx.NodeProto], output: str, *weights: onnx.TensorProto) -> onnx.GraphProto:
    return helper.make_graph(nodes, "branch", [], [tensor(output, [2])], list(weights))


def _function(body: Sequence[onnx.NodeProto], given: int = 1, made: int = 1, **names: list[str]) -> onnx.ModelProto:
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    function = helper.make_function("own", "F", names.get("inputs", ["a"]), names.get("outputs", ["b"]), body, opsets)
    outputs = ["y", "z"][:made]
    call = helper.make_node("F", ["x"] * given, outputs, name="call", domain="own")
    return _small([call], outputs, functions=[function], domains=["own"])


def _set(message: Any, **fields: Any) -> None:
    for name, value in fields.items():
        setattr(message, name, value)


_INCONSISTENT: dict[str, Callable[[], onnx.ModelProto]] = {
    "opset 0": lambda: _small([_relu()], opset=0),
    "a negative opset": lambda: _small([_relu()], opset=-5),
    "an opset of the future": lambda: _small([_relu()], opset=999),
    "no opset": lambda: _changed(lambda proto: proto.ClearField("opset_import")),
    "two opsets": lambda: _changed(lambda proto: proto.opset_import.append(helper.make_opsetid("", 9))),
    "IR version 0": lambda: _changed(lambda proto: _set(proto, ir_version=0)),
    "an IR version of the future": lambda: _changed(lambda proto: _set(proto, ir_version=999)),
    "an unknown operator": lambda: _small([helper.make_node("NoSuchOp", ["x"], ["y"], name="it")]),
    "an unknown attribute": lambda: _small([_relu(bogus=3)]),
    "too many inputs": lambda: _small([helper.make_node("Relu", ["x", "x"], ["y"])]),
    "too many outputs": lambda: _small([helper.make_node("Relu", ["x"], ["y", "z"])]),
    "no inputs": lambda: _small([helper.make_node("Add", ["", ""], ["y"])]),
    "an output without a name": lambda: _small([_relu(made="")], [""]),
    "a node that reads itself": lambda: _small([_relu("y")]),
    "nodes out of order": lambda: _small([_relu("a"), helper.make_node("Abs", ["x"], ["a"])]),
    "an output that nothing computes": lambda: _small([_relu()], ["z"]),
    "a node named as an input": lambda: _small([_relu("x", "x"), _relu()]),
    "an output of another dtype": lambda: model([_relu()], [tensor("x", [2])], [tensor("y", [2], TensorProto.INT64)]),
    "a weight of another dtype": lambda: _changed(
        lambda proto: _set(proto.graph.initializer[0], data_type=TensorProto.INT32)
    ),
    "a weight of dtype 0": lambda: _changed(lambda proto: _set(proto.graph.initializer[0], data_type=0)),
    "a weight of dtype 99": lambda: _changed(lambda proto: _set(proto.graph.initializer[0], data_type=99)),
    "a weight of text": lambda: _changed(lambda proto: _set(proto.graph.initializer[0], data_type=TensorProto.STRING)),
    "a weight without a name": lambda: _changed(lambda proto: _set(proto.graph.initializer[0], name="")),
    "a constant with too few bytes": lambda: _changed(
        lambda proto: _set(proto.graph.node[0].attribute[0].t, raw_data=b"1234"),
        helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(_X)),
        helper.make_node("Add", ["x", "k"], ["y"]),
    ),
    "an input without a type": lambda: _changed(lambda proto: proto.graph.input[0].ClearField("type")),
    "an input of dtype 999": lambda: _changed(lambda proto: _set(proto.graph.input[0].type.tensor_type, elem_type=999)),
    "an attribute without a name": lambda: _softmax(lambda attribute: _set(attribute, name="")),
    "an attribute of no type": lambda: _softmax(lambda attribute: _set(attribute, type=0)),
    "an attribute of the wrong type": lambda: _softmax(
        lambda attribute: _set(attribute, type=onnx.AttributeProto.TENSOR)
    ),
    "an attribute out of range": lambda: _softmax(lambda attribute: _set(attribute, i=-(2**63))),
    "text that is not UTF-8": lambda: _small(
        [helper.make_node("Pad", ["x"], ["y"], pads=[0, 0], mode=b"\xff\xfe\x80")], opset=7
    ),
    "a constant of nothing": lambda: _small([helper.make_node("Constant", [], ["k"]), _relu("k")]),
    "a branch that is no graph": lambda: _small(
        [helper.make_node("If", ["c"], ["y"], then_branch=3, else_branch=4)], weights={"c": np.array(True)}
    ),
    "a branch with too few outputs": lambda: _branches(
        _graph([_relu(made="o")], "o"), _graph([_relu(made="o")], "o"), ["y", "z"]
    ),
    "a branch that redefines a name": lambda: _branches(*[_graph([_relu(made="x")], "x")] * 2),
    "a function that calls itself": lambda: _function([helper.make_node("F", ["a"], ["b"], domain="own")]),
    "a function called with too many inputs": lambda: _function([_relu("a", "b")], given=2),
    "a function called for too many outputs": lambda: _function([_relu("a", "b")], made=2),
    "a function called without its input": lambda: _function([_relu("a", "b")], given=0),
    "a function that lacks its output": lambda: _function([_relu("a", "c")]),
    "an integer that should be a list": lambda: _small(
        [helper.make_node("Conv", ["x", "x"], ["y"], strides=1)],
    ),
    "shapes as floats": lambda: _small(
        [helper.make_node("Reshape", ["x", "s"], ["y"], name="it")], weights={"s": np.array([2.0])}
    ),
    "a range without a step": lambda: _small(
        [helper.make_node("Range", ["w", "w", "w"], ["k"]), _relu("k")], weights={"w": np.array(0.0)}
    ),
}


@pytest.mark.parametrize("make", _INCONSISTENT.values(), ids=_INCONSISTENT.keys())
def test_an_inconsistent_model_is_refused(make: Callable[[], onnx.ModelProto]) -> None:
    with pytest.raises(TilewrightError) as caught:
        frontends.load(frontends.open(make()))
    assert isinstance(caught.value, ModelError | UnsupportedError | UnsupportedVersionError)
    assert not isinstance(caught.value, CompilerError)
    assert "ModelProto" in str(caught.value.where)


def test_the_checker_of_onnx_names_the_node() -> None:
    with pytest.raises(ModelError) as caught:
        frontends.load(frontends.open(_small([helper.make_node("NoSuchOp", ["x"], ["y"], name="it")])))
    assert "Name: it OpType: NoSuchOp" in "".join(caught.value.details)


def _identity(given: str, made: str) -> onnx.NodeProto:
    return helper.make_node("Identity", [given], [made])


@pytest.mark.parametrize(
    ("nodes", "outputs", "expected"),
    [
        ([], ["x"], [_X]),
        ([_relu()], ["x", "y"], [_X, np.maximum(_X, 0)]),
        ([_relu()], ["y", "y"], [np.maximum(_X, 0)]),
        ([_relu()], ["w", "y", "w"], [np.ones(2), np.maximum(_X, 0)]),
        ([_identity("x", "a"), _identity("x", "b")], ["a", "b"], [_X, _X]),
        ([_relu(), _identity("y", "z")], ["z", "y"], [np.maximum(_X, 0)] * 2),
        ([_identity("w", "a"), _identity("w", "b")], ["a", "b", "w"], [np.ones(2)] * 3),
    ],
)
def test_outputs_that_are_inputs_weights_or_each_other(
    nodes: list[onnx.NodeProto], outputs: list[str], expected: list[np.ndarray[Any, Any]]
) -> None:
    proto = _small(nodes, outputs, weights={"w": np.ones(2, np.float32)})
    results = execute(proto, {"x": _X})
    assert len(results) == len(expected)
    for result, reference in zip(results, expected, strict=True):
        np.testing.assert_array_equal(result, reference)


def test_outputs_without_a_type() -> None:
    proto = model([_relu()], [tensor("x", [2])], [onnx.ValueInfoProto(name="y"), onnx.ValueInfoProto(name="x")])
    assert [each.tolist() for each in execute(proto, {"x": _X})] == [[0, 2], [-1, 2]]


def test_an_input_with_a_default_is_a_constant() -> None:
    proto = model(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        [tensor("x", [2]), tensor("w", [2])],
        [tensor("y", [2])],
        {"w": np.ones(2, np.float32)},
    )
    assert frontends.load(frontends.open(proto)).input_names == ("x",)
    assert execute(proto, {"x": _X})[0].tolist() == [0, 3]


def test_branches_have_weights_and_names_of_their_own() -> None:
    five = numpy_helper.from_array(np.full(2, 5, np.float32), "five")
    then = _graph([helper.make_node("Add", ["x", "five"], ["o"])], "o", five)
    assert execute(_branches(then, then), {"x": _X})[0].tolist() == [4, 7]
    alone = _graph([], "five", five)
    assert execute(_branches(alone, alone), {"x": _X})[0].tolist() == [5, 5]


def test_nodes_of_functions_carry_the_names_of_their_calls() -> None:
    body = [helper.make_node("Neg", ["a"], ["n"], name="negated"), helper.make_node("Exp", ["n"], ["b"], name="raised")]
    imported = frontends.load(frontends.open(_function(body)))
    names = [binding.var.name for block in imported.module["main"].body.blocks for binding in block.bindings]
    assert names[:-1] == ["call/negated", "call/raised"]


def test_what_a_function_does_for_nothing_is_not_imported() -> None:
    body = [_relu("a", "b"), helper.make_node("NonZero", ["a"], ["c"])]
    proto = _function(body, outputs=["b", "c"])
    assert execute(proto, {"x": _X})[0].tolist() == [0, 2]


def test_a_default_of_a_function() -> None:
    opsets = [helper.make_opsetid("", 18)]
    leaky = helper.make_node("LeakyRelu", ["a"], ["b"])
    leaky.attribute.add(name="alpha", ref_attr_name="slope", type=onnx.AttributeProto.FLOAT)
    slope = helper.make_attribute("slope", 0.25)
    function = helper.make_function("own", "F", ["a"], ["b"], [leaky], opsets, attribute_protos=[slope])
    for given, expected in (({}, -0.25), ({"slope": 0.5}, -0.5)):
        call = helper.make_node("F", ["x"], ["y"], domain="own", **given)
        proto = _small([call], functions=[function], domains=["own"])
        assert execute(proto, {"x": _X})[0].tolist() == [expected, 2]


def test_all_reasons_at_once() -> None:
    nodes = [
        helper.make_node("Reshape", ["x", "s"], ["a"], name="first"),
        helper.make_node("Reshape", ["x", "s"], ["b"], name="second"),
    ]
    proto = model(
        nodes, [tensor("x", [2]), tensor("s", [1], TensorProto.INT64)], [tensor("a", None), tensor("b", None)]
    )
    with pytest.raises(UnsupportedError) as caught:
        frontends.load(frontends.open(proto))
    assert [line.split(":")[0] for line in caught.value.details] == [
        "node 'first' (Reshape)",
        "node 'second' (Reshape)",
    ]
    assert "--bind" in str(caught.value.hint)


def test_a_long_report_is_cut() -> None:
    nodes = [helper.make_node("Folding", ["x"], [f"n{index}"], domain="nobody") for index in range(400)]
    outputs = [tensor(f"n{index}", None, TensorProto.INT64) for index in range(400)]
    with pytest.raises(UnsupportedError) as caught:
        frontends.load(frontends.open(model(nodes, [tensor("x", [2])], outputs, domains=["nobody"])))
    assert "400 nodes" in caught.value.what
    assert len(caught.value.details) < 30
    assert caught.value.details[-1].endswith("more")


def test_the_definition_that_needs_an_operator_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    known = importer.find_converter
    monkeypatch.setattr(
        importer,
        "find_converter",
        lambda domain, name, opset: None if name == "ReduceMean" else known(domain, name, opset),
    )
    node = helper.make_node("MeanVarianceNormalization", ["x"], ["y"], name="it", axes=[0])
    with pytest.raises(UnsupportedError) as caught:
        frontends.load(frontends.open(_small([node])))
    assert caught.value.details[0].startswith("node 'it' (MeanVarianceNormalization, defined by ReduceMean)")


@pytest.mark.parametrize(
    ("operator", "flag", "shape"),
    [
        ("ReduceSum", "keepdims", (2, 3)),
        ("ReduceMax", "keepdims", (2, 3)),
        ("ArgMin", "keepdims", (2, 3)),
        ("AveragePool", "ceil_mode", (1, 1, 5, 5)),
        ("AveragePool", "count_include_pad", (1, 1, 5, 5)),
        ("Gemm", "transA", (3, 3)),
    ],
)
@pytest.mark.parametrize("value", [2, -1, 1 << 20])
def test_a_flag_that_is_neither_0_nor_1_is_refused(
    operator: str, flag: str, shape: tuple[int, ...], value: int
) -> None:
    """ONNX gives it no meaning, and who reads it as true or as false computes something else."""
    attributes = {flag: value} | ({"kernel_shape": [2, 2]} if operator == "AveragePool" else {})
    given = ["x", "x"] if operator == "Gemm" else ["x"]
    node = helper.make_node(operator, given, ["y"], name="it", **attributes)
    with pytest.raises(ModelError, match=f"{flag} is {value}"):
        frontends.load(frontends.open(model([node], [tensor("x", shape)], [tensor("y", None)])))


@pytest.mark.parametrize(
    ("operator", "weights", "attributes", "reason"),
    [
        ("DepthToSpace", [], {"blocksize": 0}, "blocksize is 0"),
        ("DepthToSpace", [], {"blocksize": 3}, "4 channels are no whole number of blocks of 3x3"),
        ("SpaceToDepth", [], {"blocksize": -1}, "blocksize is -1"),
        ("SpaceToDepth", [], {"blocksize": 3}, "an image of 2x2 is no whole number of blocks of 3x3"),
        ("Cast", [], {"to": 77}, "to is 77, which is no dtype of ONNX"),
        ("RandomNormalLike", [], {"dtype": 77}, "dtype is 77, which is no dtype of ONNX"),
        ("Resize", [np.zeros(0, np.float32), np.float32([1, 1, np.nan, 2])], {}, "a scale is nan"),
        ("InstanceNormalization", [np.ones(3, np.float32)] * 2, {}, "the scale is of shape [3], [4] is needed"),
        ("LpNormalization", [], {"p": 3}, "p is 3; it is 1 or 2"),
        ("DepthToSpace", [], {"blocksize": 2, "mode": "X"}, "mode is 'X'; it is 'DCR' or 'CRD'"),
        ("Cast", [], {"to": 0}, "to is 0, which is no dtype"),
        ("Resize", [np.zeros(0, np.float32), np.float32([1, 1, 0, 2])], {}, "a scale is 0.0"),
        ("Resize", [np.zeros(0, np.float32), np.float32([1, 1, 2])], {}, "3 scales are given for 4 axes"),
        ("Resize", [np.zeros(0, np.float32)] * 2, {}, "neither scales nor sizes are given"),
        (
            "Resize",
            [np.zeros(0, np.float32), np.ones(4, np.float32), np.ones(4, np.int64)],
            {},
            "both scales and sizes are given",
        ),
    ],
)
def test_what_an_operator_has_no_meaning_for(
    operator: str, weights: Sequence[np.ndarray[Any, Any]], attributes: dict[str, int], reason: str
) -> None:
    names = [f"w{number}" for number in range(len(weights))]
    node = helper.make_node(operator, ["x", *names], ["y"], name="it", **attributes)
    given = dict(zip(names, weights, strict=True))
    with pytest.raises(ModelError) as caught:
        frontends.load(frontends.open(model([node], [tensor("x", [1, 4, 2, 2])], [tensor("y", None)], given)))
    assert caught.value.what == reason
