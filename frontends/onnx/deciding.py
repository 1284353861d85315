"""Which input of a model decides a condition, and by which values: what to say where both branches cannot be had."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

from .node import Array

_MOST_NODES = 16  # from an input to a condition


def deciding_values(
    condition: ir.Value, inputs: Collection[ir.Value], opset: int
) -> tuple[str, Mapping[bool, Array | None]] | None:
    """The one input, of one element, that a condition depends on, and values of it that make the condition so.

    Values are those that the model compares with, or their neighbours; None stands for any other one.

    Args:
        condition: a bool.
        inputs: of the model.
        opset: of its nodes.

    Returns:
        The input's name, and a value for each answer; None where several inputs decide, or one in a way not seen.
    """
    path = _Path(inputs)
    if not path.follow(condition) or len(path.reached) != 1:
        return None
    (given,) = path.reached
    if given.dtype is None or given.shape is None or any(size != 1 for size in given.shape):
        return None
    asked = _Question(condition, given, path, opset)
    dtype = given.dtype.numpy()
    numbers = [each.reshape(-1)[0] for each in path.constants.values() if each.size == 1 and each.dtype.kind in "iuf"]
    compared = [np.asarray(each).astype(dtype) for each in (numbers if dtype.kind != "b" else [True, False])]
    beside = [np.asarray(each + step).astype(dtype) for each in compared for step in (1, -1) if dtype.kind != "b"]
    answers = [(each, asked.answer(each)) for each in (*compared, *beside, np.zeros((), dtype))]
    values: dict[bool, Array | None] = {}
    for value, answer in answers:
        if answer is not None:
            values.setdefault(answer, value)
    if set(values) != {True, False}:
        return None
    others = {other for each, other in answers if not any(each == known for known in compared)}
    for answer in (True, False):  # all others
        if others == {answer} and not any(values[answer] == known for known in compared):
            values[answer] = None
    return str(given.name), values


def advice(condition: ir.Value, inputs: Collection[ir.Value], opset: int, sides: tuple[str, str]) -> str | None:
    """What to write so that a condition is known.

    Args:
        sides: what is taken if it is true, and what if it is not.
    """
    found = deciding_values(condition, inputs, opset)
    if found is None:
        return None
    name, values = found
    ways = [
        f"{'another value' if value is None else f'--bind {name}={_text(value)}'} for the '{side}'"
        for side, value in ((side, values[answer]) for side, answer in zip(sides, (True, False), strict=True))
    ]
    return f"the input '{name}' decides: {', '.join(sorted(ways))}"


def _text(value: Array) -> str:
    return f"{value.item():g}" if value.dtype.kind == "f" else str(value.item()).lower()


@dataclass
class _Path:
    """From an input to a condition.

    Attributes:
        inputs: of the model.
        reached: those among them that the condition depends on.
        nodes: in order.
        constants: what the nodes read, by name.
    """

    inputs: Collection[ir.Value]
    reached: set[ir.Value] = field(default_factory=set)
    nodes: list[ir.Node] = field(default_factory=list)
    constants: dict[str, Array] = field(default_factory=dict)

    def follow(self, value: ir.Value) -> bool:
        """Goes back from a value to inputs and constants; whether that is all there is to it."""
        node = value.producer()
        if value in self.inputs:
            self.reached.add(value)
        elif value.const_value is not None:
            self.constants[str(value.name)] = value.const_value.numpy()
        elif node is None or len(self.nodes) == _MOST_NODES or node.domain not in ("", "ai.onnx"):
            return False
        elif node not in self.nodes:
            if not all(self.follow(each) for each in node.inputs if each is not None):
                return False
            if node.op_type == "Constant" and "value" in node.attributes:
                self.constants[str(value.name)] = node.attributes["value"].as_tensor().numpy()
            else:
                self.nodes.append(node)
        return True


class _Question:
    """The nodes between an input and a condition, as a model that answers what a value of the input makes of it."""

    def __init__(self, condition: ir.Value, given: ir.Value, path: _Path, opset: int) -> None:
        self._name, self._shape = str(given.name), (1,) * len(given.shape or ())
        graph = onnx.helper.make_graph(
            [ir.to_proto(node) for node in path.nodes],
            "condition",
            [onnx.helper.make_tensor_value_info(self._name, onnx.TensorProto.UNDEFINED, self._shape)],
            [onnx.helper.make_tensor_value_info(str(condition.name), onnx.TensorProto.BOOL, None)],
            [onnx.numpy_helper.from_array(each, name) for name, each in path.constants.items()],
        )
        self._model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])

    def answer(self, value: Array) -> bool | None:
        """What the condition is; None where that cannot be said."""
        try:
            results: Any = ReferenceEvaluator(self._model).run(None, {self._name: np.broadcast_to(value, self._shape)})
            return bool(np.asarray(results[0]).all())
        except Exception:  # the evaluator raises what it likes of operators and dtypes that it does not know
            return None
