"""What a GPU multiplies and reads at most, as kernels of CUDA C++ that `compiler/measurement/device_peak.py` times."""

from __future__ import annotations

from ..peak import PeakLoop

THREADS = 256  # of a block
BLOCKS = 8  # of a multiprocessor: as many as it holds at a time, of threads that need few registers
MULTIPLY, READ = "multiply", "read_memory"
_CHAINS = 16
_TILES = 8  # of sums, that instructions of a warp are multiplied into in turn: none waits for the one before it
_WARP = 32

FLOAT32 = PeakLoop(
    f"""static __device__ inline void multiply_add(int64_t count) {{
  const float x = 0.999f, y = 1e-3f * threadIdx.x;
  float a[{_CHAINS}];
#pragma unroll
  for (int chain = 0; chain < {_CHAINS}; ++chain) a[chain] = y + chain;
  for (int64_t i = 0; i < count; ++i) {{
#pragma unroll
    for (int chain = 0; chain < {_CHAINS}; ++chain) a[chain] = fmaf(a[chain], x, y);
  }}
  float sum = 0.0f;
#pragma unroll
  for (int chain = 0; chain < {_CHAINS}; ++chain) sum += a[chain];
  if (sum == -1.0f) sink = sum;
}}""",
    2 * _CHAINS,
)


def products(function: str, text: str, kind: str, flops: int) -> PeakLoop:
    """The loop of an instruction that a warp executes together.

    Args:
        function: that is the instruction: four sums, six registers of operands.
        text: of the function.
        kind: the type of sums in C.
        flops: operations of one instruction.
    """
    loop = f"""{text}
static __device__ inline void multiply_add(int64_t count) {{
  const uint32_t x = 0x3c003c00u + threadIdx.x % 2;
  {kind} c[{_TILES}][4] = {{}};
  for (int64_t i = 0; i < count; ++i) {{
#pragma unroll
    for (int tile = 0; tile < {_TILES}; ++tile)
      {function}(c[tile][0], c[tile][1], c[tile][2], c[tile][3], x, x, x, x, x, x);
  }}
  {kind} sum = 0;
#pragma unroll
  for (int at = 0; at < {4 * _TILES}; ++at) sum += c[at / 4][at % 4];
  if (sum == ({kind})-1) sink = (float)sum;
}}"""
    return PeakLoop(loop, flops * _TILES // _WARP)


def program(loop: PeakLoop) -> str:
    """A file of two kernels.

    `MULTIPLY` takes the address of how many passes it makes. `READ` takes the first of some 16 bytes, and the address
    of how many of them there are and how often all are read; each time a block reads others, so that no cache of its
    own holds them.
    """
    head = f'extern "C" __global__ void __launch_bounds__({THREADS})'
    return f"""#include <math.h>
#include <stdint.h>

static __device__ volatile float sink;

{loop.function}

{head} {MULTIPLY}(const int64_t *passes) {{
  multiply_add(passes[0]);
  __syncthreads();
}}

{head} {READ}(const uint4 *from, const int64_t *given) {{
  const int64_t count = given[0], passes = given[1], threads = (int64_t)gridDim.x * {THREADS};
  uint32_t sum = 0;
  for (int64_t pass = 0; pass < passes; ++pass) {{
    const int64_t block = (blockIdx.x + pass * 37) % gridDim.x;
#pragma unroll 8
    for (int64_t at = block * {THREADS} + threadIdx.x; at < count; at += threads) {{
      const uint4 x = from[at];
      sum += x.x ^ x.y ^ x.z ^ x.w;
    }}
  }}
  if (sum == 12345u) sink = (float)sum;
}}
"""
