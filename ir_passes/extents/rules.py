"""What each Relax operator gives of tensors that are not there throughout, and what it must not see: one row each.

An operator without a row takes only tensors that are there throughout. Element by element, whatever is computed of what
is not there is not there either, and may be anything. So rules ask for a value in its place only where elements meet:
in sums, maxima, windows, products; and where an element is a place in memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

from ..dialect import append as append_operator
from ..dialect import attention as attention_operator
from ..dialect import from_end as from_end_operator
from ..dialect import interpolation as interpolation_operator
from ..dialect import quantize
from ..dialect import recurrent as recurrent_operator
from ..dialect import weight_product as weight_product_operator
from ..dialect import without_end as without_end_operator
from ..dialect.float_functions import NAMES as FLOAT_FUNCTIONS
from . import importer_kernels, moving, summing, windows
from .digits import Extents
from .step import Step, broadcast

Rule: TypeAlias = Callable[[Step], "Extents | tuple[Extents, ...]"]
_INFINITY = math.inf


def elementwise(step: Step) -> Extents:
    """One element of each operand."""
    return broadcast(step, step.operands, step.shape)


_SAME = (
    *("abs", "acos", "acosh", "asin", "asinh", "atan", "atanh", "ceil", "cos", "cosh", "erf", "exp", "floor", "log"),
    *("negative", "round", "rsqrt", "sigmoid", "sign", "sin", "sinh", "sqrt", "square", "tan", "tanh", "trunc"),
    *("isfinite", "isinf", "isnan", "clip", "astype", "logical_not", "bitwise_not", "where", "ewise_fma"),
    *("tril", "triu"),
    *("add", "subtract", "multiply", "power", "maximum", "minimum", "log_add_exp", "atan2"),
    *("divide", "floor_divide", "mod", "floor_mod"),
    *("equal", "greater", "greater_equal", "less", "less_equal", "not_equal"),
    *(
        "logical_and",
        "logical_or",
        "logical_xor",
        "bitwise_and",
        "bitwise_or",
        "bitwise_xor",
        "left_shift",
        "right_shift",
    ),
    *("nn.relu", "nn.gelu", "nn.gelu_tanh", "nn.silu", "nn.leakyrelu", "nn.softplus", "nn.selu", "nn.elu"),
    *(f"tilewright.{name}" for name in FLOAT_FUNCTIONS),
    *(name.removeprefix("relax.") for name in (quantize.QUANTIZE, quantize.DEQUANTIZE, quantize.REQUANTIZE)),
)

RULES: Mapping[str, Rule] = MappingProxyType(
    {
        **dict.fromkeys(_SAME, elementwise),
        **dict.fromkeys(("reshape", "squeeze", "expand_dims", "flatten"), moving.regroup),
        "permute_dims": moving.permute,
        "broadcast_to": moving.broadcast_to,
        "sum": summing.reduction(0),
        "prod": summing.reduction(1),
        "max": summing.reduction(-_INFINITY),
        "min": summing.reduction(_INFINITY),
        "mean": summing.mean,
        "nn.softmax": summing.along(-_INFINITY),
        "nn.log_softmax": summing.along(-_INFINITY),
        **dict.fromkeys(("sort", "argsort"), summing.along(None)),
        "topk": summing.top_k,
        "flip": moving.flip,
        "cumsum": summing.cumulated,
        **dict.fromkeys(("argmax", "argmin"), summing.first_of_many),
        **dict.fromkeys(("nn.layer_norm", "nn.rms_norm"), summing.normalization),
        "nn.group_norm": summing.group_norm,
        "matmul": summing.matmul,
        weight_product_operator.NAME.removeprefix("relax."): summing.weight_product,
        attention_operator.NAME.removeprefix("relax."): summing.attention,
        recurrent_operator.NAME.removeprefix("relax."): summing.recurrent,
        **dict.fromkeys(("nn.conv1d", "nn.conv2d", "nn.conv3d"), windows.convolution),
        **dict.fromkeys((f"nn.{kind}_pool{rank}d" for kind in ("max", "avg") for rank in (1, 2, 3)), windows.pool),
        interpolation_operator.NAME.removeprefix("relax."): windows.interpolation,
        "take": moving.take,
        from_end_operator.NAME.removeprefix("relax."): moving.from_end,
        without_end_operator.NAME.removeprefix("relax."): moving.without_end,
        "concat": moving.concat,
        append_operator.APPENDED.removeprefix("relax."): moving.continued,
        "call_tir": importer_kernels.kernel,
        "split": moving.split,
        "strided_slice": moving.strided_slice,
        "nn.pad": moving.padding,
        "tile": moving.tiled,
        "repeat": moving.repeated,
    }
)
