"""Helium's products of int8 that are added to one sum, sixteen at once (VMLADAVA), as functions in C.

Shorter steps leave out the last bytes of a vector, and do not read them. Loads stay where they are written: GCC would
bring all of a loop before it, and then to the stack.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from tvm import tirx

from ...ir_types import Scalar
from ..instructions import Operand
from .scalar_sums import Bound, ScalarSums, loaded

_LOAD, _ADD = "tilewright_bytes", "tilewright_add_dot"
_WHOLE = 16
_INCLUDE = "#include <arm_mve.h>\n"


class VectorsInSums(ScalarSums):
    """A vector of a row or column."""

    def row(self, lhs: Operand, extents: Mapping[str, int], bound: Bound, **at: int) -> list[Scalar]:
        """Loads it."""
        return [bound(loaded("int8x16", f"{_LOAD}_{extents['group']}", lhs, **at))]

    def column(self, rhs: Operand, extents: Mapping[str, int], bound: Bound, **at: int) -> list[Scalar]:
        """Loads it."""
        return [bound(loaded("int8x16", f"{_LOAD}_{extents['group']}", rhs, **at))]

    def add(self, left: Scalar, right: Scalar, total: Scalar) -> Scalar:
        """VMLADAVA."""
        return tirx.call_extern("int32", _ADD, left, right, total)

    def text_of(self, function: str) -> str:
        """The text of one of its functions."""
        if function == _ADD:
            return (
                f"{_INCLUDE}static inline int32_t {_ADD}(int8x16_t a, int8x16_t b, int32_t sum) {{\n"
                "  return vmladavaq_s8(sum, a, b);\n}"
            )
        found = re.fullmatch(rf"{_LOAD}_(\d+)", function)
        if found is None:
            return ""
        count = int(found[1])
        load = "vldrbq_s8(at)" if count == _WHOLE else f"vldrbq_z_s8(at, vctp8q({count}))"
        return (
            f"{_INCLUDE}static inline int8x16_t {function}(const int8_t *at) {{\n"
            f'  __asm__ volatile("" ::: "memory");\n  return {load};\n}}'
        )
