"""An exporter's fault is named with its first node; names of layers and outputs. No framework is needed for that."""

from __future__ import annotations

import sys

import numpy as np
import onnx
import onnx.reference
import pytest
from models import perceptron
from onnx import helper
from tilewright import frontends
from tilewright.errors import ModelError, TilewrightWarning, ToolError
from tilewright.frontends.export_check import check_export
from tilewright.frontends.graph_names import name_outputs
from tilewright.frontends.pytorch.names import name_layers
from tilewright.frontends.request import framework
from tilewright.frontends.taps import exposed

X = np.random.default_rng(0).standard_normal((2, 3)).astype(np.float32)


def values(opened: frontends.OpenedModel) -> dict[str, np.ndarray]:
    """Every value inside the model as ONNX's reference computes it: what a framework would say."""
    names = [output for node in opened.proto.graph.node for output in node.output]
    everything = exposed(opened, names).proto
    return dict(zip(names, onnx.reference.ReferenceEvaluator(everything).run(names, {"x": X}), strict=True))


def test_the_same_function_passes() -> None:
    pytest.importorskip("onnxruntime")
    opened = frontends.open(perceptron())
    check_export(opened, {"x": X}, {"y": values(opened)["y"]}, dict, "the exporter")


def test_another_function_is_refused_with_the_first_node_that_differs() -> None:
    pytest.importorskip("onnxruntime")
    opened = frontends.open(perceptron())
    right = values(opened)
    wrong = {name: value if name == "h" else value + 1 for name, value in right.items()}
    with pytest.raises(ModelError, match="another function") as caught:
        check_export(opened, {"x": X}, {"y": wrong["y"]}, lambda: wrong, "the exporter")
    assert "first value that differs: node 'with+bias' (Add), value 's'" in str(caught.value)


def test_without_onnxruntime_a_warning_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.warns(TilewrightWarning, match="is not checked"):
        check_export(frontends.open(perceptron()), {"x": X}, {"y": X}, dict, "the exporter")


def test_a_framework_that_is_missing_names_the_extra() -> None:
    with pytest.raises(ToolError, match="PyTorch models need") as caught:
        framework("no_such_framework", "pytorch", "PyTorch models")
    assert caught.value.hint == "pip install 'tilewright[pytorch]'"


def test_nodes_get_their_modules_names() -> None:
    def node(op_type: str, output: str, scopes: list[str], kinds: list[str], *inputs: str) -> onnx.NodeProto:
        made = helper.make_node(op_type, list(inputs) or ["x"], [output], name=f"node_{output}")
        for key, value in (("name_scopes", scopes), ("class_hierarchy", kinds)):
            made.metadata_props.add(key=f"pkg.torch.onnx.{key}", value=repr(value))
        return made

    weight = onnx.numpy_helper.from_array(np.zeros((1, 1, 1, 1), np.float32), "stem.conv.weight")
    nodes = [
        node(
            "Conv",
            "a",
            ["", "stem", "stem.bn", "batch_norm"],
            ["Net", "Stem", "nn.BatchNorm2d", "aten"],
            "x",
            weight.name,
        ),
        node("MatMul", "b", ["", "head", "head.fc", "linear"], ["Net", "Head", "nn.Linear", "aten"]),
        node("MatMul", "c", ["", "head", "head.fc", "linear_1"], ["Net", "Head", "nn.Linear", "aten"]),
        node("Relu", "d", ["", "relu"], ["Net", "aten"]),
        helper.make_node("Relu", ["x"], ["e"], name="/layer/Relu"),
    ]
    model = helper.make_model(helper.make_graph(nodes, "g", [], [], [weight]))
    name_layers(model)
    found = [each.name for each in model.graph.node]
    assert found == ["stem.conv/Conv", "head.fc/MatMul", "head.fc/MatMul_2", "relu", "layer/Relu"]


def test_outputs_are_renamed_wherever_they_are_read() -> None:
    inner = helper.make_graph([helper.make_node("Relu", ["mul"], ["z"])], "then", [], [])
    nodes = [
        helper.make_node("Mul", ["x", "x"], ["mul"]),
        helper.make_node("If", ["c"], ["chosen"], then_branch=inner, else_branch=inner),
    ]
    outputs = [helper.make_tensor_value_info(name, 1, [2]) for name in ("mul", "chosen")]
    model = helper.make_model(helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", 1, [2])], outputs))
    name_outputs(model, ["logits", "x"])
    assert [each.name for each in model.graph.output] == ["logits", "x_out"]
    assert model.graph.node[1].attribute[0].g.node[0].input[0] == "logits"
