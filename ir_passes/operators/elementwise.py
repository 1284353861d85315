"""Which Relax operators compute each element of the result from the elements at the same place of their operands."""

from __future__ import annotations

from ..dialect import float_functions as functions
from ..dialect import quantize as quantization

_UNARY = (
    "abs acos acosh asin asinh atan atanh bitwise_not ceil clip cos cosh erf exp floor isfinite isinf isnan log "
    "logical_not negative round rsqrt sigmoid sign sin sinh sqrt square tan tanh trunc astype "
    "nn.relu nn.leakyrelu nn.gelu nn.gelu_tanh nn.selu nn.silu nn.softplus"
)
_BINARY = (
    "add atan2 bitwise_and bitwise_or bitwise_xor divide equal floor_divide floor_mod greater greater_equal left_shift "
    "less less_equal log_add_exp logical_and logical_or logical_xor maximum minimum mod multiply not_equal power "
    "right_shift subtract"
)

UNARY = frozenset(f"relax.{name}" for name in (*_UNARY.split(), *(f"tilewright.{own}" for own in functions.NAMES)))
BINARY = frozenset(f"relax.{name}" for name in _BINARY.split())
_QUANTIZATION = (quantization.QUANTIZE, quantization.DEQUANTIZE, quantization.REQUANTIZE)
TERNARY = frozenset({"relax.where", "relax.ewise_fma", *_QUANTIZATION})

# Operands broadcast as in numpy; attributes name no axis.
ELEMENTWISE = UNARY | BINARY | TERNARY
