"""What a machine multiplies and adds at most, as a C program can measure it."""

from __future__ import annotations

from dataclasses import dataclass
from string import Template


@dataclass(frozen=True)
class PeakLoop:
    """C code for `compiler/measurement/machine_peak.py`, CUDA C++ for `device_peak.py` there.

    Attributes:
        function: ``static void multiply_add(long count)``, whose loop of `count` passes takes nothing from memory.
            There are ``vector``, a float vector as wide as a register of the level, ``LANES`` of it, the variable
            ``threads``, and ``sink``, a volatile float that a result is left in; on GPUs ``sink`` alone.
        flops: operations of one pass of a thread; a multiplication with its addition counts as two.
        set_up: a statement that is run once before: what the process has to ask the system for.
    """

    function: str
    flops: int
    set_up: str = ""


# Independent chains, as many as hide the latency and still fit the registers, of a = x * a + y or of products of pairs.
_CHAINS = Template(r"""
static void multiply_add(long count) {
    vector x, y, sum = {0};
    for (int l = 0; l < LANES; ++l) { x[l] = 0.999f; y[l] = 1e-3f * (float)threads; }
    vector $declarations;
    for (long i = 0; i < count; ++i) {
        $statements
    }
    $additions
    sink = sum[0];
}
""")
_SPARE_REGISTERS = 4  # two operands, and two to spare


def chains(each: str, registers: int, flops: int) -> PeakLoop:
    """As many chains as there are registers for, each of a statement a pass that does so many operations."""
    chains = registers - _SPARE_REGISTERS
    function = _CHAINS.substitute(
        declarations=", ".join(f"a{i} = y" for i in range(chains)),
        statements=" ".join(each.replace("{i}", str(i)) for i in range(chains)),
        additions=" ".join(f"sum += a{i};" for i in range(chains)),
    )
    return PeakLoop(function, chains * flops)
