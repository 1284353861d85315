"""Floating point operations of an imported model, node by node, from the shapes: for reports, not for decisions.

A multiply-add counts as two. Convolutions, products and pools are counted exactly; moving data counts nothing; any
other operator counts one operation for each element of its largest tensor.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from ...ir_types import Call, Expr, IRModule


def _elements(value: Expr) -> int:
    shape = getattr(value.ty, "shape", None)
    return math.prod(int(dim) for dim in shape) if shape is not None else 0


def _shape(value: Expr) -> list[int]:
    return [int(dim) for dim in value.ty.shape]


def _convolution(call: Call) -> int:
    """Weights are [outputs, inputs / groups, *window]: each result sums the product over the last ones."""
    return 2 * _elements(call) * math.prod(_shape(call.args[1])[1:])


def _transposed_convolution(call: Call) -> int:
    """Weights are [inputs, outputs / groups, *window]: each input is spread over the last ones."""
    return 2 * _elements(call.args[0]) * math.prod(_shape(call.args[1])[1:])


def _product(call: Call) -> int:
    return 2 * _elements(call) * _shape(call.args[0])[-1]


def _pool(call: Call) -> int:
    return _elements(call) * math.prod(int(size) for size in call.attrs.pool_size)


def _largest(call: Call) -> int:
    tensors = [arg for arg in call.args if hasattr(getattr(arg, "ty", None), "dtype")]
    return max([_elements(call), *map(_elements, tensors)])


def _nothing(call: Call) -> int:
    return 0


_MOVES = frozenset(
    [
        "astype",
        "broadcast_to",
        "concat",
        "copy",
        "expand_dims",
        "flatten",
        "flip",
        "full",
        "full_like",
        "gather_elements",
        "gather_nd",
        "layout_transform",
        "memory.view",
        "ones",
        "permute_dims",
        "repeat",
        "reshape",
        "scatter_elements",
        "scatter_nd",
        "shape_of",
        "split",
        "squeeze",
        "stack",
        "strided_slice",
        "take",
        "tile",
        "wrap_param",
        "zeros",
        "nn.pad",
        "nn.pixel_shuffle",
        "tensor_to_shape",
    ]
)

_RULES: Mapping[str, Callable[[Call], int]] = MappingProxyType(
    {
        **{f"relax.{name}": _nothing for name in _MOVES},
        **{f"relax.nn.conv{rank}d": _convolution for rank in (1, 2, 3)},
        **{f"relax.nn.conv{rank}d_transpose": _transposed_convolution for rank in (1, 2, 3)},
        **{f"relax.nn.{kind}_pool{rank}d": _pool for kind in ("max", "avg") for rank in (1, 2, 3)},
        "relax.matmul": _product,
    }
)


def node_flops(module: IRModule) -> Iterator[tuple[str, int]]:
    """For each binding of `main` the node of the model it came from, and its operations.

    Args:
        module: as import leaves it: layouts as in ONNX, static shapes.
    """
    from ...ir_passes.core.graph import Graph
    from ...ir_passes.core.sources import split

    for variable, value in Graph.read(module).bindings:
        operator = getattr(getattr(value, "op", None), "name", None)
        if operator is None or not hasattr(value.ty, "shape"):
            continue
        yield (split(str(variable.name)) or ("",))[0], _RULES.get(str(operator), _largest)(value)
