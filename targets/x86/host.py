"""Which CPU and features to name for this machine, from what LLVM takes it for and what Linux lists.

LLVM goes by the model number, which a hypervisor may invent or a newer processor share with an older one; Linux's flags
say what programs can use, its own support included. So the flags decide on the features. The name still chooses how
code is tuned, and is replaced only where the flags show that the processor is another one.
"""

from __future__ import annotations

from collections.abc import Collection

from ..architecture import EnabledFeatures
from .features import FEATURES

# Candidates for a machine that is not what its model number says, the best first; the last fits every processor.
_INTEL = (
    "sapphirerapids",
    "icelake-server",
    "cascadelake",
    "skylake-avx512",
    "x86-64-v4",
    "alderlake",
    "skylake",
    "haswell",
    "x86-64-v3",
    "sandybridge",
    "westmere",
    "nehalem",
    "x86-64-v2",
    "penryn",
    "core2",
    "x86-64",
)
_AMD = ("znver5", "znver4", "x86-64-v4", "znver3", "znver2", "znver1", "x86-64-v3", "btver2", "x86-64-v2", "x86-64")
# Flags that only AMD's processors, and those built on its designs, have.
_AMD_FLAGS = frozenset({"mmxext", "sse4a", "clzero"})
# A processor without one of these is an older one, for those who schedule its instructions.
_VECTORS = frozenset({"avx", "avx2", "fma", "avx512f", "avx512bw", "avx512dq", "avx512vl"})
# A processor with one of these, unlike the one of its name, is a newer one.
_NEWER = _VECTORS | {"ssse3", "sse4.1", "sse4.2", "avx512vbmi", "avx512vnni", "avx512bf16", "avxvnni", "amx-tile"}


def host_cpu(system_cpu: str, flags: Collection[str], enabled: EnabledFeatures) -> tuple[str, tuple[str, ...]]:
    """LLVM's name of a CPU, and the changes to its features that make them those which Linux lists.

    Args:
        system_cpu: what LLVM takes the machine for.
        flags: as /proc/cpuinfo lists them.
        enabled: the features of a CPU's name with changes; none at all for a name that LLVM does not know.
    """
    present = FEATURES.from_linux(flags)
    name = system_cpu
    if "64bit" not in enabled(name, ()) or _contradicts(FEATURES.listed(enabled(name, ())), present):
        candidates = _AMD if _AMD_FLAGS.intersection(flags) else _INTEL
        name = next(each for each in candidates if FEATURES.listed(enabled(each, ())) <= present)
    # A feature brings those that it implies, and goes with those that imply it: first what is added, then what goes.
    added = [f"+{feature}" for feature in FEATURES.ordered(present - FEATURES.listed(enabled(name, ())))]
    hidden = [f"-{feature}" for feature in FEATURES.ordered(FEATURES.listed(enabled(name, added)) - present)]
    return name, (*added, *hidden)


def _contradicts(named: frozenset[str], present: frozenset[str]) -> bool:
    return bool(named & _VECTORS - present or present & _NEWER - named)
