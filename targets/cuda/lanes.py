"""What lanes of a warp do with float32: read those of other lanes, raise 2 to a power, take the larger one.

The last is an instruction, which compilers do not find in a comparison: that is another thing for NaN.
"""

from __future__ import annotations

from ..grid import LARGER_NUMBER, POWER_OF_TWO, VALUE_OF_LANE
from ..target import TargetFunction

_TEXTS = {
    VALUE_OF_LANE: f"""static __device__ inline float {VALUE_OF_LANE}(float x, int lane) {{
  float y;
  asm volatile("shfl.sync.idx.b32 %0, %1, %2, 31, 0xffffffff;" : "=f"(y) : "f"(x), "r"(lane));
  return y;
}}""",
    POWER_OF_TWO: f"""static __device__ inline float {POWER_OF_TWO}(float x) {{
  float y;
  asm("ex2.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}}""",
    LARGER_NUMBER: f"static __device__ inline float {LARGER_NUMBER}(float x, float y) {{ return fmaxf(x, y); }}",
}
LANE_FUNCTIONS = tuple(TargetFunction(name, name, text) for name, text in _TEXTS.items())
