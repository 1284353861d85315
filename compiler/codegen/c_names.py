"""What variables, buffers and parameters of kernels in C are called: names that hide nothing that kernels use."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ...ir_types import Node
from ..library.naming import identifier, is_of_headers, renamed
from .c_expressions import LIBM

# Words that kernels use, which no variable may hide: functions of libm, and helpers (`Used`).
_RESERVED = frozenset(("arena", *LIBM, *(f"{name}f" for name in LIBM)))
_HELPER = re.compile(r"(min|max|is_nan|v|tilewright)_\w+|multiply_add\w*|\w+_of_\w+|float32_to_odd")

_POINTER = "_pointer"  # what lowering adds to the name of a buffer that is a parameter


@dataclass
class Names:
    """One identifier for each variable and buffer of a function."""

    taken: set[str] = field(default_factory=lambda: set(_RESERVED))
    given: dict[Node, str] = field(default_factory=dict)

    def of(self, thing: Node) -> str:
        """The name of a variable, a buffer or a parameter."""
        if thing not in self.given:
            base = identifier(str(thing.name).removesuffix(_POINTER))
            base = name = renamed(base) if is_of_headers(base) or _HELPER.fullmatch(base) else base
            count = 1
            while name in self.taken:
                count += 1
                name = f"{base}_{count}"
            self.taken.add(name)
            self.given[thing] = name
        return self.given[thing]
