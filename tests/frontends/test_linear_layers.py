"""Which layers integers may compute, what they read before it was moved, and by which names Relax knows them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import tilewright
from pruned_network import OTHER_READERS
from small_models import model, node
from tilewright import frontends
from tilewright.errors import ModelError
from tilewright.frontends.layer_parts import BY_ITSELF, DISTURBANCE, disturbed, layers_by_themselves
from tilewright.frontends.linear_layers import computed_before, linear_layers, products_of_tensors
from tilewright.frontends.replaced_weights import with_weights
from tilewright.frontends.taps import exposed

RNG = np.random.default_rng(2)
W = {
    "w": RNG.standard_normal((8, 3, 3, 3)).astype("f4"),
    "b": RNG.standard_normal(8).astype("f4"),
    "v": RNG.standard_normal((16, 128)).astype("f4"),
    "c": RNG.standard_normal(16).astype("f4"),
    "u": RNG.standard_normal((16, 16)).astype("f4"),
}


def network(**changes: Any) -> onnx.ModelProto:
    return model(
        [
            node("Conv", ["x", "w", "b"], "y", "conv+1"),
            node("Relu", ["y"], "r", "relu"),
            node("Transpose", ["r"], "t", "turn", perm=[0, 2, 3, 1]),
            node("Flatten", ["t"], "f", "flat"),
            node("Gemm", ["f", "v", "c"], "g", "dense", transB=1, **changes),
            node("MatMul", ["g", "u"], "m", ""),
            node("MatMul", ["m", "m"], "z", "no weights"),
        ],
        {"x": ("float32", (16, 3, 6, 6))},
        {"z": ("float32", (16, 16))},
        W,
    )


def test_layers_and_what_they_read() -> None:
    found = linear_layers(frontends.open(network()))
    rows = [(each.name, each.hint, each.source, each.root, each.bias, each.column) for each in found]
    assert rows == [
        ("conv+1", "conv_1", "x", "x", "b", 0),
        ("dense", "dense", "f", "r", "c", 0),
        ("m", "MatMul_m", "g", "g", "", 1),
    ]
    # What is added is not the initializer where that has a factor, nor a bias of the product where this has one.
    for changes in ({"alpha": 2.0}, {"beta": 0.5}):
        assert [each.bias for each in linear_layers(frontends.open(network(**changes)))] == ["b", "", ""]
    assert [each.name for each in linear_layers(frontends.open(network(transA=1)))] == ["conv+1", "m"]


@pytest.mark.parametrize("read", OTHER_READERS)
def test_a_bias_that_others_read_is_not_the_layers_own(read: Any) -> None:
    proto = network()
    read(proto, "b")
    assert [each.bias for each in linear_layers(frontends.open(proto))] == ["", "c", ""]


def test_products_of_two_tensors() -> None:
    nodes = [
        node("Transpose", ["x"], "t", "turn"),
        node("MatMul", ["x", "t"], "y", "both"),
        node("MatMul", ["y", "u"], "z", "weights"),
        node("Cast", ["z"], "i", "whole", to=onnx.TensorProto.INT32),
        node("MatMul", ["i", "i"], "j", "integers"),
    ]
    made = model(nodes, {"x": ("float32", (16, 5))}, {"j": ("int32", (16, 16))}, {"u": W["u"]})
    (found,) = products_of_tensors(frontends.open(made))
    assert (found.name, found.reads, found.output, found.weights) == ("both", {"x": "x", "t": "x"}, "y", "")


def test_what_is_computed_of_constants_is_no_tensor_of_a_product() -> None:
    nodes = [
        node("MatMul", ["x", "u"], "y", "first"),
        node("Transpose", ["u"], "t", "turn"),
        node("Reshape", ["t", "shape"], "s", "reshape"),
        node("MatMul", ["y", "s"], "z", "tied"),
        node("MatMul", ["t", "u"], "v", "constant"),
        node("MatMul", ["z", "v"], "w", "folded"),
    ]
    constants = {"u": W["u"], "shape": np.array([16, 16])}
    opened = frontends.open(model(nodes, {"x": ("float32", (4, 16))}, {"w": ("float32", (4, 16))}, constants))
    assert not products_of_tensors(opened)
    assert [each.name for each in linear_layers(opened)] == ["first"]


def test_layers_that_compute_the_same() -> None:
    nodes = [
        node("MatMul", ["x", "u"], "a", "one"),
        node("MatMul", ["x", "u"], "b", "two"),
        node("Softmax", ["a"], "c", "three", axis=1),
        node("Softmax", ["b"], "d", "four", axis=1),
        node("Softmax", ["b"], "e", "five", axis=0),
        node("Sum", ["c", "d", "e"], "y", "six"),
    ]
    opened = frontends.open(model(nodes, {"x": ("float32", (4, 16))}, {"y": ("float32", (4, 16))}, {"u": W["u"]}))
    assert computed_before(opened) == {"two": "one", "four": "three"}


def test_the_names_that_relax_knows_them_by() -> None:
    imported = frontends.load(frontends.open(network()))
    assert imported.tensors["r"] == ("relu", "turn", "flat") and imported.tensors["x"] == ("x",)
    assert imported.layers["m"] == "MatMul_m" and imported.layers["conv+1"] == "conv_1"


def test_layers_by_themselves_and_disturbed_make_up_the_model() -> None:
    opened = frontends.open(network())
    layers = linear_layers(opened)
    names = [name for layer in layers for name in (layer.source, layer.output)]
    x = RNG.standard_normal((16, 3, 6, 6)).astype("f4")
    inner = [name for name in names if name != "x"]
    values = {"x": x} | tilewright.compile(exposed(opened, inner), threads=1).run({"x": x})

    alone = tilewright.compile(layers_by_themselves(opened, layers, values), threads=1)
    results = alone.run({spec.name: values[spec.name] for spec in alone.inputs})
    for layer in layers:
        np.testing.assert_allclose(results[layer.output + BY_ITSELF], values[layer.output], rtol=2e-5, atol=2e-5)

    pushed = tilewright.compile(disturbed(opened, ["g"], values), threads=1)
    m = (values["g"] + 1) @ W["u"]
    z = pushed.run({"x": x, "g" + DISTURBANCE: np.ones_like(values["g"])})["z"]
    np.testing.assert_allclose(z, m @ m, rtol=1e-4, atol=1e-3)


def test_weights_are_replaced_by_those_of_the_same_kind() -> None:
    opened = frontends.open(network())
    changed = with_weights(opened, {"c": np.zeros(16, "f4")})
    kept = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in changed.proto.graph.initializer}
    assert not kept["c"].any() and np.array_equal(kept["w"], W["w"])
    for name, array in (("q", np.zeros(1)), ("c", np.zeros(15, "f4")), ("c", np.zeros(16))):
        with pytest.raises(ModelError, match="weights"):
            with_weights(opened, {name: array})
