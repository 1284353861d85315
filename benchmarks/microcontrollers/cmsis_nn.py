"""A .tflite model of int8 as calls of CMSIS-NN's kernels, layer by layer, to compare instructions with.

As TensorFlow Lite for Microcontrollers calls them, without what its interpreter takes besides; sums of weights are
computed before, as its set-up does. CMSIS-NN is a folder beside the project (github.com/ARM-software/CMSIS-NN).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tilewright.compiler.library.tensor_spec import TensorSpec
from tilewright.compiler.runners.microcontroller import Program
from tilewright.frontends.tflite.model import Graph, Operator, Tensor, parse
from tilewright.frontends.tflite.schema import ACTIVATIONS
from tilewright.targets import Target

Array = npt.NDArray[Any]
_FOLDERS = ("BasicMath", "Convolution", "FullyConnected", "NNSupport", "Pooling", "Softmax", "Transpose")
_OTHER_DTYPES = ("f16", "f32", "flt", "s4", "s64", "svdf", "lstm")
_SCRATCH_BYTES = 65536
_SOFTMAX_BITS = 5  # before the binary point of differences


def cmsis_program(path: Path, library: Path, target: Target, folder: Path) -> Program:
    """The program of a model, and all sources of the library that it may call."""
    graph = parse(path.read_bytes(), str(path))
    source = folder / "cmsis.c"
    source.write_text(_Writer(graph).text())
    (folder / "cmsis.h").write_text("void cmsis(void *input, void *output);\n")
    sources = [
        each
        for part in _FOLDERS
        for each in sorted((library / "Source" / f"{part}Functions").glob("*.c"))
        if not any(other in each.stem for other in _OTHER_DTYPES)
    ]
    return Program(
        (source, *sources),
        folder / "cmsis.h",
        "cmsis(tensor_0, tensor_1)",
        tuple(_spec(graph.tensors[each]) for each in graph.inputs),
        tuple(_spec(graph.tensors[each]) for each in graph.outputs),
        (*target.c_flags, f"-I{library / 'Include'}"),
        target.cpu,
    )


def _spec(tensor: Tensor) -> TensorSpec:
    return TensorSpec(tensor.name, tensor.shape, tensor.dtype)


class _Writer:
    """Writes the calls of a graph."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.tables: list[str] = []

    def text(self) -> str:
        """The source."""
        (given,), (made,) = self.graph.inputs, self.graph.outputs
        steps = [line for each in self.graph.operators for line in self.operator(each)]
        buffers = [
            f"static int8_t t{place}[{math.prod(tensor.shape)}];"
            for place, tensor in enumerate(self.graph.tensors)
            if tensor.data is None and tensor.dtype == "int8"
        ]
        size, result = (math.prod(self.graph.tensors[each].shape) for each in (given, made))
        return "\n".join(
            [
                '#include "arm_nnfunctions.h"',
                "#include <string.h>",
                f"static int8_t scratch[{_SCRATCH_BYTES}] __attribute__((aligned(16)));",
                *buffers,
                *self.tables,
                "void cmsis(void *input, void *output) {",
                "  const cmsis_nn_context ctx = {scratch, sizeof scratch};",
                f"  memcpy(t{given}, input, {size});",
                *(f"  {step}" for step in steps),
                f"  memcpy(output, t{made}, {result});",
                "}",
                "",
            ]
        )

    def operator(self, operator: Operator) -> Iterator[str]:
        """The lines of one operator."""
        writers: dict[str, Callable[[Operator], str]] = {
            "CONV_2D": self.convolution,
            "DEPTHWISE_CONV_2D": self.convolution,
            "FULLY_CONNECTED": self.dense,
            "AVERAGE_POOL_2D": self.pool,
            "ADD": self.add,
            "SOFTMAX": self.softmax,
            "RESHAPE": self.reshape,
        }
        yield "{ " + writers[operator.kind](operator) + " }"

    def tensor(self, place: int) -> Tensor:
        """A tensor by its place."""
        return self.graph.tensors[place]

    def scale(self, place: int) -> float:
        """Its scale, where there is one."""
        quantization = self.tensor(place).quantization
        assert quantization is not None
        return float(quantization.scales[0])

    def zero(self, place: int) -> int:
        """Its zero point."""
        quantization = self.tensor(place).quantization
        assert quantization is not None
        return int(quantization.zero_points[0])

    def table(self, array: Array, kind: str) -> str:
        """The name of a constant array."""
        name = f"c{len(self.tables)}"
        const = "const " if kind != "int32_t *" else ""
        numbers = ", ".join(str(int(each)) for each in array.reshape(-1))
        self.tables.append(f"static {const}{kind.removesuffix(' *')} {name}[] = {{{numbers}}};")
        return name

    def known(self, place: int, kind: str) -> str:
        """The name of a constant tensor; NULL where there is none."""
        if place < 0:
            return "NULL"
        data = self.tensor(place).data
        assert data is not None
        return self.table(data, kind)

    def bounds(self, operator: Operator) -> str:
        """The range that an activation leaves."""
        place = operator.outputs[0]
        scale, zero = self.scale(place), self.zero(place)
        activation = ACTIVATIONS[int(operator.options.get("activation", 0))]
        low, high = {"NONE": (-128, 127), "RELU": (max(-128, zero), 127)}.get(activation) or (
            max(-128, zero),
            min(127, zero + round(6 / scale)),
        )
        return f"{{{low}, {high}}}"

    def convolution(self, operator: Operator) -> str:
        """CONV_2D, DEPTHWISE_CONV_2D."""
        data, weights, bias = (*operator.inputs, -1)[:3]
        made = operator.outputs[0]
        filters = self.tensor(weights)
        depthwise = operator.kind == "DEPTHWISE_CONV_2D"
        quantization = filters.quantization
        assert quantization is not None
        columns = filters.shape[3] if depthwise else filters.shape[0]
        scales = np.broadcast_to(quantization.scales.astype(np.float64), columns)
        factors, shifts = zip(*(multiplier(self.scale(data) * s / self.scale(made)) for s in scales), strict=True)
        given, result = self.tensor(data).shape, self.tensor(made).shape
        strides = [int(operator.options[f"stride_{axis}"]) for axis in "hw"]
        pads = [
            max(0, (result[1 + axis] - 1) * strides[axis] + filters.shape[1 + axis] - given[1 + axis]) // 2
            for axis in (0, 1)
        ]
        first = f"{-self.zero(data)}, {self.zero(made)}, " + ("1, " if depthwise else "")
        kind = "dw_conv" if depthwise else "conv"
        function = "depthwise_conv" if depthwise else "convolve"
        return (
            f"const cmsis_nn_{kind}_params p = {{{first}{{{strides[1]}, {strides[0]}}}, {{{pads[1]}, {pads[0]}}}, "
            f"{{1, 1}}, {self.bounds(operator)}}}; const cmsis_nn_per_channel_quant_params q = "
            f"{{{self.table(np.array(factors), 'int32_t *')}, {self.table(np.array(shifts), 'int32_t *')}}}; "
            f"const cmsis_nn_dims i = {_dims(given)}, f = {_dims(filters.shape)}, b = {{1, 1, 1, {columns}}}, "
            f"o = {_dims(result)}; arm_{function}_wrapper_s8(&ctx, &p, &q, &i, t{data}, &f, "
            f"{self.known(weights, 'int8_t')}, &b, {self.known(bias, 'int32_t')}, &o, t{made});"
        )

    def dense(self, operator: Operator) -> str:
        """FULLY_CONNECTED."""
        data, weights, bias = (*operator.inputs, -1)[:3]
        made = operator.outputs[0]
        matrix = self.tensor(weights).data
        assert matrix is not None
        columns, depth = matrix.shape
        rows = math.prod(self.tensor(data).shape) // depth
        factor, shift = multiplier(self.scale(data) * self.scale(weights) / self.scale(made))
        offset = -self.zero(data)
        known = self.tensor(bias).data if bias >= 0 else None
        sums = matrix.astype(np.int64).sum(1) * offset + (0 if known is None else known)
        return (
            f"const cmsis_nn_fc_params p = {{{offset}, 0, {self.zero(made)}, {self.bounds(operator)}}}; "
            f"const cmsis_nn_per_tensor_quant_params q = {{{factor}, {shift}}}; "
            f"const cmsis_nn_context sums = {{{self.table(sums, 'int32_t *')}, {4 * columns}}}; "
            f"const cmsis_nn_dims i = {{{rows}, 1, 1, {depth}}}, f = {{{depth}, 1, 1, {columns}}}, "
            f"b = {{1, 1, 1, {columns}}}, o = {{{rows}, 1, 1, {columns}}}; arm_fully_connected_s8(&sums, &p, &q, &i, "
            f"t{data}, &f, {self.known(weights, 'int8_t')}, &b, {self.known(bias, 'int32_t')}, &o, t{made});"
        )

    def pool(self, operator: Operator) -> str:
        """AVERAGE_POOL_2D without padding."""
        (data,), (made,), options = operator.inputs, operator.outputs, operator.options
        return (
            f"const cmsis_nn_pool_params p = {{{{{options['stride_w']}, {options['stride_h']}}}, {{0, 0}}, "
            f"{self.bounds(operator)}}}; const cmsis_nn_dims i = {_dims(self.tensor(data).shape)}, "
            f"f = {{1, {options['filter_h']}, {options['filter_w']}, 1}}, o = {_dims(self.tensor(made).shape)}; "
            f"arm_avgpool_s8(&ctx, &p, &i, t{data}, &f, &o, t{made});"
        )

    def add(self, operator: Operator) -> str:
        """ADD of equal shapes."""
        (left, right), (made,) = operator.inputs, operator.outputs
        twice = 2 * max(self.scale(left), self.scale(right))
        parts = [(-self.zero(each), *multiplier(self.scale(each) / twice)) for each in (left, right)]
        last = (self.zero(made), *multiplier(twice / ((1 << 20) * self.scale(made))))
        first, second, third = (", ".join(map(str, each)) for each in (*parts, last))
        bounds = self.bounds(operator).strip("{}")
        size = math.prod(self.tensor(made).shape)
        return f"arm_elementwise_add_s8(t{left}, t{right}, {first}, {second}, 20, t{made}, {third}, {bounds}, {size});"

    def softmax(self, operator: Operator) -> str:
        """SOFTMAX over the last axis."""
        (data,), (made,) = operator.inputs, operator.outputs
        beta = float(operator.options.get("beta", 1.0))
        factor, shift = multiplier(min(beta * self.scale(data) * (1 << (31 - _SOFTMAX_BITS)), float((1 << 31) - 1)))
        least = -math.floor(((1 << _SOFTMAX_BITS) - 1) * (1 << (31 - _SOFTMAX_BITS)) / (1 << shift))
        *rows, columns = self.tensor(data).shape
        return f"arm_softmax_s8(t{data}, {math.prod(rows)}, {columns}, {factor}, {shift}, {least}, t{made});"

    def reshape(self, operator: Operator) -> str:
        """RESHAPE, which copies, as two tensors have two places here."""
        data, made = operator.inputs[0], operator.outputs[0]
        return f"memcpy(t{made}, t{data}, {math.prod(self.tensor(made).shape)});"


def multiplier(factor: float) -> tuple[int, int]:
    """A factor as a number of 31 bits and a shift to the left: QuantizeMultiplier of TensorFlow Lite."""
    if factor == 0:
        return 0, 0
    fraction, shift = math.frexp(factor)
    whole = round(fraction * (1 << 31))
    return (whole // 2, shift + 1) if whole == 1 << 31 else (whole, shift)


def _dims(shape: Sequence[int]) -> str:
    return "{" + ", ".join(str(each) for each in (*(1,) * (4 - len(shape)), *shape)) + "}"
