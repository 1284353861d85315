"""How libraries ask Linux, before they run, whether a processor has what they were compiled for: by getauxval.

For architectures whose processors a program cannot ask itself. Elsewhere there is no such call, and libraries trust
whoever chose their CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..errors import CompilerError
from .features import Feature

_CHECK = """#if defined(__linux__)
#include <sys/auxv.h>
{support}
static int cpu_is_supported(void) {{
  const unsigned long hwcap = getauxval(16), hwcap2 = getauxval(26);
  (void)hwcap, (void)hwcap2;
  return {condition};
}}
#else /* no call that tells */
static int cpu_is_supported(void) {{ return 1; }}
#endif
"""


@dataclass(frozen=True)
class HwcapFeature(Feature):
    """A row of the table; `check` is an expression in C of ``hwcap`` and ``hwcap2``, Linux's words of bits."""

    check: str


def bit(name: str, linux: str, number: int, *, word: str = "hwcap", generated: bool = False) -> HwcapFeature:
    """A feature that a bit of a word tells of."""
    return HwcapFeature(name, linux, generated, f"{word} >> {number} & 1")


def cpu_check(rows: Mapping[str, HwcapFeature], support: str = "") -> Callable[[Sequence[str]], str]:
    """What defines ``cpu_is_supported`` for code that needs some of the features.

    Args:
        rows: of the table.
        support: C code that the checks call.
    """

    def check(features: Sequence[str]) -> str:
        unknown = [name for name in features if name not in rows]
        if unknown:
            raise CompilerError("the target requires features that no library knows how to check", details=unknown)
        checks = dict.fromkeys(rows[name].check for name in features)
        return _CHECK.format(support=support, condition=" && ".join(f"({each})" for each in checks) or "1")

    return check
