"""A random graph in the making: every value is known, so that each operator gets inputs that it takes.

Each node is run by ONNX Runtime as it is added. What it refuses, or what gives numbers that nobody can compare (not
finite, huge), is not added: `Unfit` is raised and the generator tries another operator.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper
from reference import run_unoptimised

Array = npt.NDArray[Any]
Fits = Callable[[Array], bool]

# Widths that no vector length divides, and some that all do.
WIDTHS = (1, 2, 3, 4, 5, 7, 8, 16, 17, 24, 31, 32, 48, 64, 80, 112, 240, 600)
CHANNELS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 16, 17, 24, 32, 40, 48)
FLOATS = ("float32", "float16", "float64")
INTEGERS = ("int64", "int32", "int8", "uint8", "int16", "uint32")

_MOST_ELEMENTS = 6000
_LARGEST = {"float16": 500.0, "float32": 1e4, "float64": 1e4}
_LARGEST_INTEGER = 1 << 30


class Unfit(Exception):  # noqa: N818  # no error: the generator goes on with another operator
    """This operator cannot be added here."""


@dataclass
class Draft:
    """A graph so far.

    Attributes:
        rng: where every choice comes from.
        opset: of the standard operators.
        dtype: what its floats are.
        values: every tensor on the sample inputs, by name.
        inputs, constants: the names of the leaves.
        parameters: constants that are no data (axes, sizes, scales): they must stay what they are.
    """

    rng: np.random.Generator
    opset: int
    dtype: str
    values: dict[str, Array] = field(default_factory=dict)
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)
    constants: list[str] = field(default_factory=list)
    parameters: set[str] = field(default_factory=set)

    # Choices

    def one_of(self, choices: Sequence[Any]) -> Any:
        """Any of some things."""
        return choices[int(self.rng.integers(len(choices)))]

    def chance(self, probability: float) -> bool:
        """True as often as that."""
        return bool(self.rng.random() < probability)

    def between(self, low: int, high: int) -> int:
        """An integer, both ends included."""
        return int(self.rng.integers(low, high + 1))

    def some(self, choices: Sequence[Any], least: int = 1) -> list[Any]:
        """Several different ones, in their order."""
        count = self.between(min(least, len(choices)), len(choices))
        picked = self.rng.choice(len(choices), count, replace=False)
        return [choices[i] for i in sorted(picked)]

    # Leaves

    def shape(self, rank: int | None = None) -> tuple[int, ...]:
        """A shape of odd extents: the last ones wide, the first ones small, images channels first."""
        rank = self.one_of((1, 2, 2, 3, 3, 4, 4, 5)) if rank is None else rank
        if rank == 0:
            return ()
        if rank >= 4:
            extents = [self.between(1, 8), self.one_of(CHANNELS), *(self.between(1, 14) for _ in range(rank - 2))]
        else:
            extents = [*(self.between(1, 8) for _ in range(rank - 1)), self.one_of(WIDTHS)]
        while math.prod(extents) > _MOST_ELEMENTS:
            widest = int(np.argmax(extents))
            extents[widest] = max(1, extents[widest] // 2)
        return tuple(extents)

    def leaf(
        self,
        shape: Sequence[int],
        dtype: str | None = None,
        *,
        low: float | None = None,
        high: float | None = None,
        constant: bool | None = None,
    ) -> str:
        """A new input or constant; floats are normal unless bounds are given, integers small."""
        array = self._numbers(tuple(shape), dtype or self.dtype, low, high)
        return self.constant(array) if (self.chance(0.4) if constant is None else constant) else self._input(array)

    def constant(self, array: Array) -> str:
        """A new constant that is data."""
        return self._add_leaf("c", array, self.constants)

    def parameter(self, value: Any, dtype: str = "int64") -> str:
        """A new constant that says how to compute: axes, sizes."""
        name = self.constant(np.asarray(value, dtype))
        self.parameters.add(name)
        return name

    def _input(self, array: Array) -> str:
        return self._add_leaf("x", array, self.inputs)

    def _add_leaf(self, prefix: str, array: Array, names: list[str]) -> str:
        name = f"{prefix}{len(names)}"
        names.append(name)
        self.values[name] = array
        return name

    def _numbers(self, shape: tuple[int, ...], dtype: str, low: float | None, high: float | None) -> Array:
        kind = np.dtype(dtype).kind
        if kind == "b":
            return self.rng.random(shape) < 0.5
        if kind in "iu":
            least = (-8 if kind == "i" else 0) if low is None else math.ceil(low)
            most = 9 if high is None else math.floor(high)
            return np.asarray(self.rng.integers(least, most + 1, shape)).astype(dtype)
        if low is not None or high is not None:
            low, high = (0.0 if low is None else low), (3.0 if high is None else high)
            return np.asarray(low + (high - low) * self.rng.random(shape)).astype(dtype)
        numbers = self.rng.standard_normal(shape)
        if self.chance(0.1):  # with ties, and halves that round either way
            numbers = np.round(numbers * 4) / 4
        return np.asarray(numbers).astype(dtype)

    # Values that are there

    def pick(
        self,
        dtypes: Sequence[str] | str | None = None,
        *,
        fits: Fits = lambda array: True,
        otherwise: Callable[[], str] | None = None,
        rank: int | None = None,
        reuse: float = 0.85,
    ) -> str:
        """A tensor that is there (mostly a late one, so that graphs are deep), or a new leaf.

        Args:
            dtypes: the dtypes it may have; by default the graph's floats.
            fits: what else it must be.
            otherwise: makes one if there is none.
            rank: its rank; any by default.
            reuse: how often to take one that is there.
        """
        wanted = (self.dtype,) if dtypes is None else (dtypes,) if isinstance(dtypes, str) else tuple(dtypes)
        known = [
            name
            for name, array in self.values.items()
            if name not in self.parameters
            and (name not in self.constants or self.chance(0.1))
            and array.dtype.name in wanted
            and (rank is None or array.ndim == rank)
            and np.isfinite(array).all()
            and fits(array)
        ]
        if known and self.chance(reuse):
            weights = np.arange(1, len(known) + 1) ** 2.0
            return str(self.rng.choice(known, p=weights / weights.sum()))
        if otherwise is not None:
            return otherwise()
        dtype = self.one_of(wanted)
        for _ in range(20):
            array = self._numbers(self.shape(rank), dtype, None, None)
            if fits(array):
                return self._input(array)
        raise Unfit

    def within(self, low: float, high: float) -> str:
        """A float tensor whose elements are all in a range: one that is there, or clipped, or new."""

        def otherwise() -> str:
            if self.chance(0.6):
                return self.clipped(self.pick(), low, high)
            return self.leaf(self.shape(), low=low, high=high)

        return self.pick(fits=lambda a: bool(a.min() >= low and a.max() <= high), otherwise=otherwise, reuse=0.5)

    def clipped(self, name: str, low: float, high: float) -> str:
        """A tensor moved into a range."""
        if self.opset < 11:
            return self.node("Clip", [name], min=float(low), max=float(high))
        bounds = [self.parameter(bound, self.values[name].dtype.name) for bound in (low, high)]
        return self.node("Clip", [name, *bounds])

    def array(self, name: str) -> Array:
        """A tensor on the sample inputs."""
        return self.values[name]

    def rank(self, name: str) -> int:
        """A tensor's rank."""
        return self.values[name].ndim

    def axis(self, rank: int) -> int:
        """An axis, counted from either end."""
        if rank == 0:
            raise Unfit
        return self.between(-rank, rank - 1)

    def broadcasting(self, shape: Sequence[int]) -> tuple[int, ...]:
        """A shape that broadcasts to one: leading dimensions left out, any of the others 1."""
        form = self.one_of(("same", "same", "row", "scalar", "channel", "ones", "shorter"))
        shape = tuple(shape)
        if form == "same" or not shape:
            return shape
        if form == "row":
            return shape[-1:]
        if form == "scalar":
            return self.one_of(((), (1,), (1,) * len(shape)))
        if form == "channel" and len(shape) >= 3:
            return (shape[1], *[1] * (len(shape) - 2))
        if form == "shorter":
            shape = shape[self.between(0, len(shape) - 1) :]
        return tuple(1 if self.chance(0.4) else extent for extent in shape)

    # Nodes

    def node(self, op_type: str, inputs: Sequence[str], outputs: int = 1, domain: str = "", **attributes: Any) -> str:
        """Adds a node and returns its first output.

        Raises:
            Unfit: ONNX Runtime refuses it, or its results cannot be compared.
        """
        return self.node_outputs(op_type, inputs, outputs, domain, **attributes)[0]

    def node_outputs(
        self, op_type: str, inputs: Sequence[str], outputs: int, domain: str = "", **attributes: Any
    ) -> list[str]:
        """Adds a node and returns all its outputs."""
        number = len(self.nodes)
        names = [f"v{number}" if outputs == 1 else f"v{number}_{index}" for index in range(outputs)]
        given = {key: value for key, value in attributes.items() if value is not None}
        node = helper.make_node(op_type, list(inputs), names, f"n{number}_{op_type}", domain=domain, **given)
        alone = self._alone(node)
        try:
            arrays = run_unoptimised(alone, {name: self.values[name] for name in inputs if name})
            _check_node(node, self.opset)  # ONNX Runtime takes some operators before the opset that has them
            alone.graph.ClearField("output")
            alone.graph.output.extend(map(typed, names, arrays))
            onnx.shape_inference.infer_shapes(alone, check_type=True, strict_mode=True)
        except Exception as error:  # ONNX Runtime has a class for every way to refuse
            raise Unfit(f"{op_type}: {str(error)[:200]}") from error
        for array in arrays:
            _check_comparable(array)
        self.nodes.append(node)
        self.values.update(zip(names, arrays, strict=True))
        return names

    def _alone(self, node: onnx.NodeProto) -> onnx.ModelProto:
        """A model of one node whose parameters are constants."""
        names = list(dict.fromkeys(name for name in node.input if name))
        inputs = [typed(name, self.values[name]) for name in names if name not in self.parameters]
        constants = [numpy_helper.from_array(self.values[name], name) for name in names if name in self.parameters]
        # Its kind is found out by running it.
        outputs = [onnx.ValueInfoProto(name=name) for name in node.output]
        graph = helper.make_graph([node], "alone", inputs, outputs, constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)


def onnx_dtype(name: str) -> int:
    """ONNX's number of a dtype of numpy's."""
    return int(helper.np_dtype_to_tensor_dtype(np.dtype(name)))


def typed(name: str, array: Array) -> onnx.ValueInfoProto:
    """The declaration of a tensor."""
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)


def _check_node(node: onnx.NodeProto, opset: int) -> None:
    context = onnx.checker.C.CheckerContext()
    context.ir_version = 8
    context.opset_imports = {"": opset}
    onnx.checker.check_node(node, context)


def _check_comparable(array: Array) -> None:
    if array.size == 0:
        raise Unfit("empty")
    if array.size > 4 * _MOST_ELEMENTS:
        raise Unfit("too large")
    if array.dtype.kind == "f" and array.size:
        largest = _LARGEST[array.dtype.name]
        if not np.isfinite(array).all() or np.abs(array).max() > largest:
            raise Unfit("not finite, or huge")
    if array.dtype.kind in "iu" and array.size and np.abs(array.astype(np.float64)).max() > _LARGEST_INTEGER:
        raise Unfit("huge")
