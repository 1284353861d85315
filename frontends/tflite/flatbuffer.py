"""Tables of a flatbuffer, read where they lie and never beyond: the file may be damaged or hostile.

The format: https://flatbuffers.dev/internals. A table begins with the distance to its vtable, which holds the offset of
each field; a field that is not there has its default. Vectors and strings begin with their length.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


# Vectors of a file overlap where a few are shared: all that are read have so many times the bytes of the file at most.
_SHARED = 8


class DamagedError(Exception):
    """An offset or a length points outside the file, or everything points to the same."""


@dataclass
class _Budget:
    """The bytes of vectors that may still be read."""

    left: int


@dataclass(frozen=True)
class Table:
    """A table of `data` at byte `position`."""

    data: bytes
    position: int
    budget: _Budget

    def number(self, field: int, kind: str, default: float = 0) -> Any:
        """A number or truth value; `kind` is a format character of `struct`."""
        at = self._field(field)
        return default if at is None else self._read(kind, at)

    def text(self, field: int) -> str:
        """A string; what is no valid text in it is replaced."""
        return self.bytes(field).decode("utf-8", "replace")

    def bytes(self, field: int) -> bytes:
        """A vector of bytes."""
        start, count = self._vector(field, 1)
        return self.data[start : start + count]

    def numbers(self, field: int, dtype: str) -> Array:
        """A vector of numbers of a little-endian dtype such as ``<i4``."""
        start, count = self._vector(field, np.dtype(dtype).itemsize)
        return np.frombuffer(self.data, dtype, count, start)

    def table(self, field: int) -> Table | None:
        """A table that a field points to."""
        at = self._field(field)
        return None if at is None else self._follow(at)

    def tables(self, field: int) -> list[Table]:
        """A vector of tables."""
        start, count = self._vector(field, 4)
        return [self._follow(start + 4 * index) for index in range(count)]

    def _field(self, field: int) -> int | None:
        vtable = self.position - self._read("i", self.position)
        size = self._read("H", vtable)
        if 4 + 2 * field + 2 > size:
            return None
        offset = self._read("H", vtable + 4 + 2 * field)
        return self.position + offset if offset else None

    def _vector(self, field: int, item_bytes: int) -> tuple[int, int]:
        at = self._field(field)
        if at is None:
            return 0, 0
        start = at + self._read("I", at)
        count = self._read("I", start)
        if start + 4 + count * item_bytes > len(self.data):
            raise DamagedError(f"a vector of {count} elements at byte {start} goes beyond the file")
        self.budget.left -= count * item_bytes
        if self.budget.left < 0:
            raise DamagedError("its vectors overlap, and are far larger together than the file")
        return start + 4, count

    def _follow(self, at: int) -> Table:
        return Table(self.data, at + self._read("I", at), self.budget)

    def _read(self, kind: str, at: int) -> Any:
        size = struct.calcsize("<" + kind)
        if not 0 <= at <= len(self.data) - size:
            raise DamagedError(f"byte {at} is read, and the file has {len(self.data)}")
        return struct.unpack_from("<" + kind, self.data, at)[0]


def root(data: bytes) -> Table:
    """The table that a file consists of."""
    return Table(data, 0, _Budget(_SHARED * len(data)))._follow(0)
