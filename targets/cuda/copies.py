"""How memory is copied to what a block shares, several elements at a time: asynchronously, or through registers.

Each function copies as many bytes as its name says, or puts zeros in their place where it is given 0 of them. Copies
that are asynchronous make groups, and threads wait until at most so many groups are on the way.
"""

from __future__ import annotations

from ..grid import COPY_ASYNC, COPY_COMMIT, COPY_LOAD, COPY_STORE, COPY_WAIT, MOST_AHEAD
from ..target import TargetFunction

_SIZES = (4, 8, 16)


def copies_of(*, asynchronous: bool) -> tuple[TargetFunction, ...]:
    """The functions of a machine."""
    if not asynchronous:
        return (_function(f"{COPY_LOAD}16", _LOAD), _function(f"{COPY_STORE}16", _STORE))
    waits = [
        _function(f"{COPY_WAIT}{groups}", _statement(f"{COPY_WAIT}{groups}", f"cp.async.wait_group {groups};"))
        for groups in range(MOST_AHEAD)
    ]
    commit = _function(COPY_COMMIT, _statement(COPY_COMMIT, "cp.async.commit_group;"))
    return (*(_function(f"{COPY_ASYNC}{size}", _async(size)) for size in _SIZES), commit, *waits)


def _function(name: str, text: str) -> TargetFunction:
    return TargetFunction(name, name, text)


def _async(size: int) -> str:
    """Past the L1 cache where there are 16 bytes."""
    cache = "cg" if size == _SIZES[-1] else "ca"
    return f"""static __device__ inline void {COPY_ASYNC}{size}(void *to, const void *from, int bytes) {{
  asm volatile("cp.async.{cache}.shared.global [%0], [%1], {size}, %2;"
               : : "r"((uint32_t)__cvta_generic_to_shared(to)), "l"(from), "r"(bytes) : "memory");
}}"""


def _statement(name: str, instruction: str) -> str:
    return f"""static __device__ inline void {name}() {{
  asm volatile("{instruction}" : : : "memory");
}}"""


_REGISTERS = ("a", "b", "c", "d")
_LOAD = f"""static __device__ inline void {COPY_LOAD}16({", ".join(f"uint32_t &{r}" for r in _REGISTERS)},
                                           const void *from, int bytes) {{
  uint4 x = make_uint4(0, 0, 0, 0);
  if (bytes) x = *(const uint4 *)from;
  a = x.x, b = x.y, c = x.z, d = x.w;
}}"""
_STORE = f"""static __device__ inline void {COPY_STORE}16({", ".join(f"uint32_t {r}" for r in _REGISTERS)}, void *to) {{
  *(uint4 *)to = make_uint4(a, b, c, d);
}}"""
