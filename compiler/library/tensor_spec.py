"""What one tensor at the border of a model is: its name, shape and dtype."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ...errors import UnsupportedError

# What is narrower than a byte, or a float of one: a byte an element, its bits in the low end.
NARROW = (
    *("int2", "uint2", "int4", "uint4", "float4_e2m1fn"),
    *("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu"),
)
# Bytes of one element, and the C type that the header names. What has no C type travels as its bits.
ELEMENT_BYTES = {
    "bool": 1,
    "int8": 1,
    "uint8": 1,
    "int16": 2,
    "uint16": 2,
    "int32": 4,
    "uint32": 4,
    "int64": 8,
    "uint64": 8,
    "float16": 2,
    "bfloat16": 2,
    "float32": 4,
    "float64": 8,
    **dict.fromkeys(NARROW, 1),
}
C_TYPES = {
    "bool": "uint8_t",
    "float16": "uint16_t",
    "bfloat16": "uint16_t",
    "float32": "float",
    "float64": "double",
    **{f"{sign}int{bits}": f"{sign}int{bits}_t" for sign in ("", "u") for bits in (8, 16, 32, 64)},
    **dict.fromkeys(NARROW, "uint8_t"),
}


@dataclass(frozen=True)
class TensorSpec:
    """Name, shape and dtype of an input or output. A dense, row-major tensor in the model's own layout.

    Attributes:
        extents: of an output whose size depends on data, the output (int64, one number a dimension) that says how large
            it is: `shape` is the largest that it can be, and its elements come first.
        sizes: of a tensor whose size depends on the dimensions of a call, each axis as `sizes.parse_size` reads it;
            `shape` is the largest.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    extents: str = ""
    sizes: tuple[str, ...] = ()

    @property
    def elements(self) -> int:
        """Number of elements; 1 for a scalar, 0 when a dimension is 0."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return self.elements * element_bytes(self.dtype)

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype}[{'x'.join(self.sizes or map(str, self.shape))}]"


@dataclass(frozen=True)
class StateSpec:
    """Memory that a call finds as the one before left it: an input of the model, which the output replaces.

    The library's input of that name is the memory, with room for the most; what there is of an axis comes first.

    Attributes:
        before: the model's input.
        after: the model's output.
    """

    before: TensorSpec
    after: TensorSpec

    def fits(self, memory: TensorSpec) -> bool:
        """Whether there is memory for all that there may be, before and after."""
        return all(
            each.dtype == memory.dtype
            and len(each.shape) == len(memory.shape)
            and all(most <= extent for most, extent in zip(each.shape, memory.shape, strict=True))
            for each in (self.before, self.after)
        )


def element_bytes(dtype: str) -> int:
    """Bytes of one element of a dtype named as numpy names it (and ``bfloat16``).

    Raises:
        UnsupportedError: a tensor of this dtype cannot cross the C ABI.
    """
    try:
        return ELEMENT_BYTES[dtype]
    except KeyError:
        raise UnsupportedError(
            f"tensors of dtype {dtype} are not supported", hint="supported: " + ", ".join(ELEMENT_BYTES)
        ) from None
