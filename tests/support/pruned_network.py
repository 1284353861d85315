"""A network that loses channels and weights in tests, and samples of its inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from small_models import model, node


def array(*shape: int) -> Any:
    scale = np.sqrt(max(1, int(np.prod(shape[1:])))) if len(shape) > 1 else 10.0
    return (np.random.default_rng([5, *shape]).standard_normal(shape) / scale).astype(np.float32)


def network() -> onnx.ModelProto:
    """A bias in the node, one in a batch norm, one behind a product; what layers read is of few dimensions."""
    return model(
        [
            node("Conv", ["x", "w0", "b0"], "c0", "stem", pads=[1, 1, 1, 1]),
            node("Relu", ["c0"], "r0", "relu0"),
            node("Conv", ["r0", "w1"], "c1", "middle", pads=[1, 1, 1, 1]),
            node("BatchNormalization", ["c1", "scale", "shift", "mean", "variance"], "n1", "norm"),
            node("Relu", ["n1"], "r1", "relu1"),
            node("GlobalAveragePool", ["r1"], "g", "pool"),
            node("Flatten", ["g"], "f", "flat"),
            node("Gemm", ["f", "w2", "b2"], "h", "hidden", transB=1),
            node("Relu", ["h"], "r2", "relu2"),
            node("MatMul", ["r2", "w3"], "m", "head"),
            node("Add", ["m", "b3"], "y", "bias"),
        ],
        {"x": ("float32", (1, 2, 6, 6))},
        {"y": ("float32", (1, 4))},
        {
            "w0": array(16, 2, 3, 3),
            "b0": array(16),
            "w1": array(32, 16, 3, 3),
            "w2": array(32, 32),
            "b2": array(32),
            "w3": array(32, 4),
            "b3": array(4),
            "scale": 1 + array(32),
            "shift": array(32),
            "mean": array(32),
            "variance": (1 + array(32) ** 2).astype(np.float32),
        },
    )


def samples(count: int = 48) -> list[dict[str, Any]]:
    return [
        {"x": np.random.default_rng(seed).standard_normal((1, 2, 6, 6)).astype(np.float32)} for seed in range(count)
    ]


def told(stage: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


def residual_network() -> onnx.ModelProto:
    """Three residual branches: the second adds little; biases are in a node, in a batch norm, behind a product."""
    ones = np.ones(16, np.float32)
    return model(
        [
            node("Conv", ["x", "w0", "b0"], "c0", "stem", pads=[1, 1, 1, 1]),
            node("Relu", ["c0"], "r0", "relu0"),
            node("Conv", ["r0", "w1"], "c1", "one", pads=[1, 1, 1, 1]),
            node("BatchNormalization", ["c1", "scale1", "shift1", "mean1", "ones1"], "n1", "norm1"),
            node("Add", ["n1", "r0"], "s1", "sum1"),
            node("Relu", ["s1"], "r1", "relu1"),
            node("Conv", ["r1", "w2", "b2"], "c2", "inner"),
            node("Relu", ["c2"], "r2", "relu2"),
            node("Conv", ["r2", "w3"], "c3", "two"),
            node("BatchNormalization", ["c3", "scale3", "shift3", "mean3", "ones3"], "n3", "norm3"),
            node("Add", ["r1", "n3"], "s2", "sum2"),
            node("GlobalAveragePool", ["s2"], "g", "pool"),
            node("Flatten", ["g"], "f", "flat"),
            node("MatMul", ["f", "w4"], "m", "three"),
            node("Add", ["m", "b4"], "a", "added"),
            node("Add", ["f", "a"], "s3", "sum3"),
            node("Gemm", ["s3", "w5", "b5"], "y", "head"),
        ],
        {"x": ("float32", (1, 2, 6, 6))},
        {"y": ("float32", (1, 4))},
        {
            "w0": array(16, 2, 3, 3),
            "b0": array(16),
            "w1": array(16, 16, 3, 3),
            "w2": array(32, 16, 1, 1),
            "b2": array(32),
            "w3": array(16, 32, 1, 1),
            "w4": array(16, 16),
            "b4": array(16),
            "w5": array(16, 4),
            "b5": array(4),
            "scale1": ones,
            "scale3": 0.05 * ones,
            **{f"{name}{number}": array(16) for name in ("shift", "mean") for number in (1, 3)},
            **{f"ones{number}": ones for number in (1, 3)},
        },
    )


def _named_as_output(proto: onnx.ModelProto, name: str) -> None:
    dims = next(tensor.dims for tensor in proto.graph.initializer if tensor.name == name)
    proto.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, dims))


def _read_by_a_node(proto: onnx.ModelProto, name: str) -> None:
    proto.graph.node.append(_reader(name))


def _read_in_a_branch(proto: onnx.ModelProto, name: str) -> None:
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.array(True), f"{name}/condition"))
    proto.graph.node.append(_branching(name, _reader(name)))


def _read_in_a_nested_branch(proto: onnx.ModelProto, name: str) -> None:
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.array(True), f"{name}/condition"))
    proto.graph.node.append(_branching(name, _branching(name, _reader(name))))


def _reader(name: str, operator: str = "Neg") -> onnx.NodeProto:
    return node(operator, [name], f"{name}/read", f"{operator} {name}")


def _branching(name: str, inner: onnx.NodeProto) -> onnx.NodeProto:
    """An If of a node, and of another one that reads the same."""
    output = onnx.helper.make_tensor_value_info(f"{name}/read", onnx.TensorProto.FLOAT, None)
    branches = {
        key: onnx.helper.make_graph([each], key, [], [output])
        for key, each in (("then_branch", inner), ("else_branch", _reader(name, "Abs")))
    }
    return node("If", [f"{name}/condition"], f"{name}/read", f"if {name}", **branches)


# What makes others read weights of a model, in place: they are not a layer's alone then.
OTHER_READERS = (_read_by_a_node, _read_in_a_branch, _read_in_a_nested_branch, _named_as_output)
