"""RNN, GRU and LSTM against ONNX Runtime, and against ONNX's own evaluator where ONNX Runtime has no kernel."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import tilewright
from execution import execute
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx_runtime import reference_outputs
from tilewright import frontends
from tilewright.errors import ModelError, UnsupportedError

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
FUNCTIONS = ("Relu", "Tanh", "Sigmoid", "Affine", "LeakyRelu", "ThresholdedRelu", "ScaledTanh", "HardSigmoid", "Elu")
FUNCTIONS += ("Softsign", "Softplus")
WITHOUT_DEFAULTS = ("Affine", "ScaledTanh", "ThresholdedRelu")


def layer(
    op: str,
    sizes: tuple[int, int, int, int],
    given: str = "",
    *,
    direction: str = "forward",
    dtype: str = "float32",
    opset: int = 14,
    constant: bool = True,
    **attributes: Any,
) -> tuple[onnx.ModelProto, dict[str, np.ndarray[Any, Any]]]:
    """A model of one layer of (steps, batch, input, hidden); `given` names its optional inputs: B, L, h, c, P."""
    steps, batch, size, hidden = sizes
    rng = np.random.default_rng(steps + hidden)
    directions, gates = 1 + (direction == "bidirectional"), GATES[op]
    first = attributes.get("layout", 0)

    def normal(*shape: int) -> Any:
        return (rng.standard_normal(shape) * 0.5).astype(dtype)

    def states() -> Any:
        return normal(batch, directions, hidden) if first else normal(directions, batch, hidden)

    values = {
        "X": normal(batch, steps, size) if first else normal(steps, batch, size),
        "W": normal(directions, gates * hidden, size),
        "R": normal(directions, gates * hidden, hidden),
        "B": normal(directions, 2 * gates * hidden),
        "L": rng.integers(1, max(steps, 1) + 1, batch).astype("int32"),
        "h": states(),
        "c": states(),
        "P": normal(directions, 3 * hidden),
    }
    names = ["X", "W", "R", "B", "L", "h", *(["c", "P"] if op == "LSTM" else [])]
    places = [name if name in "XWR" or name in given else "" for name in names]
    outputs = ["Y", "Y_h", *(["Y_c"] if op == "LSTM" else [])]
    node = helper.make_node(op, places, outputs, hidden_size=hidden, direction=direction, **attributes)
    kept = set("WRBP") & set(places) if constant else set()
    inputs = {name: values[name] for name in places if name and name not in kept}
    kinds = {name: helper.np_dtype_to_tensor_dtype(value.dtype) for name, value in values.items()}
    graph = helper.make_graph(
        [node],
        "layer",
        [helper.make_tensor_value_info(name, kinds[name], value.shape) for name, value in inputs.items()],
        [helper.make_tensor_value_info(name, kinds["X"], None) for name in outputs],
        [numpy_helper.from_array(values[name], name) for name in sorted(kept)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9), inputs


def agree(expected: Any, model: onnx.ModelProto, inputs: Any, tolerance: float = 5e-6) -> None:
    outputs = execute(model, inputs)
    for output, reference in zip(outputs, expected, strict=True):
        assert output.shape == reference.shape and output.dtype == reference.dtype
        np.testing.assert_allclose(output.astype("float64"), reference, rtol=tolerance, atol=tolerance)


CASES = [
    layer("LSTM", (5, 3, 7, 24), "BLhcP", direction="bidirectional"),
    layer("LSTM", (4, 2, 5, 13), "B", clip=0.3),
    layer("LSTM", (4, 1, 5, 80), "Bhc", direction="reverse", input_forget=1, clip=0.2, opset=7),
    layer("LSTM", (1, 1, 9, 128), "Bhc"),
    layer("LSTM", (6, 4, 3, 17), "BL", direction="reverse", activations=["HardSigmoid", "Relu", "Softsign"]),
    layer("GRU", (5, 3, 7, 5), "BLh", direction="bidirectional", linear_before_reset=1),
    layer("GRU", (5, 2, 7, 21), "h", direction="reverse", clip=0.4),
    layer("GRU", (5, 8, 7, 48), "BL", opset=7),
    layer("GRU", (3, 2, 2, 3), "B", direction="bidirectional", activations=["Sigmoid", "Tanh", "Elu", "LeakyRelu"]),
    layer("RNN", (4, 6, 3, 1), "BLh", direction="bidirectional"),
    layer("RNN", (3, 5, 4, 31), "B", constant=False),
    layer("LSTM", (3, 5, 4, 31), "BP", constant=False),
]


@pytest.mark.sweep(2)
@pytest.mark.parametrize("case", CASES, ids=range(len(CASES)))
def test_a_layer_agrees_with_onnx_runtime(case: Any) -> None:
    agree(reference_outputs(*case), *case)


@pytest.mark.slow
@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("parameters", [{}, {"activation_alpha": [0.6], "activation_beta": [0.3]}])
def test_every_function(name: str, parameters: Any) -> None:
    if not parameters and name in WITHOUT_DEFAULTS:
        pytest.skip("ONNX Runtime takes 0 for parameters that are not given")
    case = layer("RNN", (3, 2, 4, 19), "B", activations=[name], **parameters)
    agree(reference_outputs(*case), *case)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(60))
def test_random_layers(seed: int) -> None:
    rng = np.random.default_rng(seed)
    op = str(rng.choice(sorted(GATES)))
    sizes = tuple(int(rng.choice(each)) for each in ((1, 2, 3, 7), (1, 2, 3, 5, 8), (1, 3, 8), (1, 2, 5, 24, 33, 48)))
    given = "".join(name for name in "BLhcP" if rng.random() < 0.5)
    attributes: dict[str, Any] = {"direction": str(rng.choice(["forward", "reverse", "bidirectional"]))}
    if op == "GRU":
        attributes["linear_before_reset"] = int(rng.integers(2))
    if op == "LSTM":
        attributes["input_forget"] = int(rng.integers(2))
    if rng.random() < 0.3:
        attributes["clip"] = 0.5
    case = layer(op, sizes, given, constant=bool(rng.random() < 0.7), **attributes)
    agree(reference_outputs(*case), *case, tolerance=2e-5)


@pytest.mark.parametrize(
    ("op", "options", "tolerance"),
    [
        ("LSTM", {"dtype": "float64", "direction": "forward"}, 1e-13),
        ("GRU", {"dtype": "float64", "linear_before_reset": 1}, 1e-13),
        ("LSTM", {"dtype": "float16"}, 2e-3),
        ("RNN", {"dtype": "float16"}, 2e-3),
        ("LSTM", {"layout": 1}, 5e-6),
        ("GRU", {"layout": 1}, 5e-6),
    ],
)
def test_what_onnx_runtime_lacks(op: str, options: Any, tolerance: float) -> None:
    model, inputs = layer(op, (4, 3, 5, 24), "B", **options)
    agree(ReferenceEvaluator(model).run(None, inputs), model, inputs, tolerance)


def test_a_bidirectional_layer_with_the_batch_first_is_one_with_the_steps_first() -> None:
    """ONNX's evaluator knows neither; the layer with the steps first is compared with ONNX Runtime above."""
    model, inputs = layer("LSTM", (4, 3, 5, 24), "BLhcP", direction="bidirectional")
    swapped, _ = layer("LSTM", (4, 3, 5, 24), "BLhcP", direction="bidirectional", layout=1)
    turned = {name: value if name == "L" else value.swapaxes(0, 1) for name, value in inputs.items()}
    for index, value in enumerate(model.graph.initializer):
        swapped.graph.initializer[index].CopyFrom(value)
    every, *last = reference_outputs(model, inputs)
    agree([every.transpose(2, 0, 1, 3), *(each.swapaxes(0, 1) for each in last)], swapped, turned)


@pytest.mark.filterwarnings("ignore")  # a machine without bfloat16 computes in float32
@pytest.mark.parametrize(("precision", "tolerance"), [("fp16", 2e-3), ("bf16", 3e-2)])
def test_the_product_with_the_input_may_be_narrower(precision: str, tolerance: float) -> None:
    model, inputs = layer("LSTM", (5, 2, 64, 64), "Bhc", direction="bidirectional")
    outputs = tilewright.compile(model, threads=1, precision=precision).run(inputs)
    for output, expected in zip(outputs.values(), reference_outputs(model, inputs), strict=True):
        np.testing.assert_allclose(output, expected, rtol=tolerance, atol=tolerance)


def test_sequences_of_no_steps_leave_the_state() -> None:
    model, inputs = layer("LSTM", (0, 2, 3, 4), "Bhc")
    outputs = execute(model, inputs)
    assert outputs[0].shape == (0, 1, 2, 4)
    np.testing.assert_array_equal(outputs[1], inputs["h"])
    np.testing.assert_array_equal(outputs[2], inputs["c"])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"hidden_size": 5}, ModelError, "input 1 is of shape"),
        ({"direction": "sideways"}, ModelError, "'sideways' is none of"),
        ({"direction": "bidirectional"}, ModelError, "weights are for 1 directions"),
        ({"activations": ["Tanh"]}, ModelError, "has 1 activations, and needs 3"),
        ({"activations": ["Sigmoid", "Affine", "Tanh"]}, UnsupportedError, "'affine' has no parameters"),
        ({"activations": ["Sigmoid", "Tanh", "Cosine"]}, UnsupportedError, "'cosine' is not supported"),
    ],
)
def test_a_layer_that_cannot_be_is_refused(change: Any, error: type[Exception], message: str) -> None:
    model, _ = layer("LSTM", (2, 2, 3, 4), "B")
    (node,) = model.graph.node
    for name, value in change.items():
        kept = [attribute for attribute in node.attribute if attribute.name != name]
        del node.attribute[:]
        node.attribute.extend([*kept, helper.make_attribute(name, value)])
    with pytest.raises(error, match=message):
        frontends.load(frontends.open(model))
