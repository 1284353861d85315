"""What this machine can do at most: multiplications with additions, and bytes read, a second, measured.

A small C program, written for the width and number of the target's vector registers, is built with the host's compiler
and run: about a second. The numbers are kept for the life of the process and no longer, because machines throttle and
have neighbours: kernels are compared with what the machine can do now. They are the ceilings of `roofline`.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from string import Template

from ...errors import ToolError
from ...targets.target import DotUnit
from ..process import interrupt

# A round is short and the best one counts: on a shared machine few are undisturbed, and none is ever too fast.
_ROUND_SECONDS = 0.003
_LEVEL_SECONDS = 0.2  # of all rounds of one measurement
_LEAST_ROUNDS = 10
# Compilers halve vectors of 512 bits for many processors that have them.
_FLAGS = ("-O3", "-mprefer-vector-width=512", "-pthread", "-w")
# Memory is read in a stream that no last-level cache holds, within what a small machine can spare.
_STREAM_L3S = 4
_LEAST_STREAM_BYTES, _MOST_STREAM_BYTES = 256 << 20, 1 << 30

_SOURCE = Template(r"""
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
typedef float vector __attribute__((vector_size($vector_bytes)));
enum { LANES = $vector_bytes / 4 };
static const size_t BYTES = ${bytes}ul;
static int threads; static char *memory; static volatile float sink;
static pthread_barrier_t gate;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + 1e-9 * t.tv_nsec;
}
$multiply_add
/* Reads `bytes` again and again. */
static void read_bytes(const char *from, size_t bytes, long passes) {
    vector a[8] = {0};
    for (long pass = 0; pass < passes; ++pass) {
        for (size_t at = 0; at + sizeof a <= bytes; at += sizeof a)
            for (int c = 0; c < 8; ++c) a[c] += *(const vector *)(from + at + c * sizeof(vector));
        __asm__ volatile("" : : : "memory");
    }
    for (int c = 1; c < 8; ++c) a[0] += a[c];
    sink = a[0][0];
}
/* What all threads do in the next round: read that many bytes each, or multiply and add when that is 0. */
static size_t share;
static long count;
static double *least_of; /* seconds of each thread in its best round */
static void work(long index) {
    double start = now();
    if (share) read_bytes(memory + index * (BYTES / threads / 4096 * 4096), share, count); else multiply_add(count);
    double took = now() - start;
    if (took < least_of[index]) least_of[index] = took;
}
static void *thread(void *index) {
    memset(memory + (long)index * (BYTES / threads / 4096 * 4096), 0, BYTES / threads / 4096 * 4096);
    for (;;) {
        pthread_barrier_wait(&gate);
        if (!count) return 0;
        work((long)index);
        pthread_barrier_wait(&gate);
    }
}
/* Prints the units of work a second, of which each pass has so many: of the best round, and of each thread's best. */
static void measure(double units) {
    double least = 1e30, start, rate = 0;
    count = share ? 1 : 1 << 18;
    work(0);  /* fills the caches, and wakes the processor up */
    start = now();
    work(0);
    double took = now() - start;
    count = (long)(count * $round_seconds / took) + 1;
    double stop = now() + $level_seconds;
    for (int t = 0; t < threads; ++t) least_of[t] = 1e30;
    for (int round = 0; round < $least_rounds || now() < stop; ++round) {
        start = now();
        pthread_barrier_wait(&gate);
        work(0);
        pthread_barrier_wait(&gate);
        took = now() - start;
        if (took < least) least = took;
    }
    for (int t = 0; t < threads; ++t) rate += units * count / least_of[t];
    printf("%.0f %.0f\n", units * count * threads / least, rate);
}
/* Arguments: threads, then for each level of memory the bytes that each thread reads. */
int main(int argc, char **argv) {
    threads = atoi(argv[1]);
    $permission
    least_of = calloc(threads, sizeof *least_of);
    if (!least_of || posix_memalign((void **)&memory, 4096, BYTES)) return 1;
    memset(memory, 0, BYTES / threads / 4096 * 4096);
    pthread_barrier_init(&gate, 0, threads);
    for (long t = 1; t < threads; ++t) { pthread_t id; if (pthread_create(&id, 0, thread, (void *)t)) return 1; }
    measure($flops);
    for (int level = 2; level < argc; ++level) {
        share = strtoul(argv[level], 0, 10) / (8 * sizeof(vector)) * (8 * sizeof(vector));
        measure(share);
    }
    count = 0;
    pthread_barrier_wait(&gate);
    return 0;
}
""")

# Independent chains, as many as hide the latency and still fit the registers, of a = x * a + y or of products of pairs.
_VECTOR_ARITHMETIC = Template(r"""
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

# Four sums of tiles, of two and two operands: what eight registers hold. Each thread sets up its own tiles.
_TILE_ARITHMETIC = r"""
static void multiply_add(long count) {
    static const unsigned char tiles[64] = {
        [0] = 1,
        [16] = 64, [18] = 64, [20] = 64, [22] = 64, [24] = 64, [26] = 64, [28] = 64, [30] = 64,
        [48] = 16, 16, 16, 16, 16, 16, 16, 16,
    };
    static const char operand[1024];
    long stride = 64;
    __asm__ volatile("ldtilecfg %0" : : "m"(tiles));
    __asm__ volatile("tilezero %tmm0; tilezero %tmm1; tilezero %tmm2; tilezero %tmm3");
    __asm__ volatile(
        "tileloadd (%0,%1,1), %%tmm4; tileloadd (%0,%1,1), %%tmm5; tileloadd (%0,%1,1), %%tmm6;"
        "tileloadd (%0,%1,1), %%tmm7" : : "r"(operand), "r"(stride), "m"(operand));
    for (long i = 0; i < count; ++i)
        __asm__ volatile(
            "tdpbf16ps %tmm6, %tmm4, %tmm0; tdpbf16ps %tmm7, %tmm4, %tmm1;"
            "tdpbf16ps %tmm6, %tmm5, %tmm2; tdpbf16ps %tmm7, %tmm5, %tmm3");
    __asm__ volatile("tilerelease");
}
"""
_TILE_PERMISSION = "if (syscall(158 /* arch_prctl */, 0x1023 /* ARCH_REQ_XCOMP_PERM */, 18)) return 1;"


@dataclass(frozen=True)
class MemoryLevel:
    """A cache, or memory behind the last one.

    Attributes:
        name: ``L1``, ``L2``, ``L3`` or ``memory``.
        capacity: bytes that it holds, those of all threads together where each has its own; None: unlimited.
        bytes_per_second: read by all threads together.
    """

    name: str
    capacity: int | None
    bytes_per_second: float

    def holds(self, num_bytes: float) -> bool:
        """Whether so many bytes fit."""
        return self.capacity is None or num_bytes <= self.capacity


@dataclass(frozen=True)
class Peak:
    """Measured ceilings of a machine with a number of threads.

    Attributes:
        flops_per_second: a multiplication with its addition counted as two, in float32 or by a unit for bfloat16.
        levels: caches and memory, fastest first; the last one is memory.
        threads: processors that worked together.
    """

    flops_per_second: float
    levels: tuple[MemoryLevel, ...]
    threads: int

    def level_for(self, num_bytes: float) -> MemoryLevel:
        """The fastest level that holds so many bytes."""
        return next(level for level in self.levels if level.holds(num_bytes))

    def compute_seconds(self, flops: float) -> float:
        """The time below which so many operations cannot be done."""
        return flops / self.flops_per_second

    def memory_seconds(self, num_bytes: float) -> float:
        """The time below which so many bytes cannot be moved."""
        return num_bytes / self.level_for(num_bytes).bytes_per_second


@cache
def measured_peak(threads: int, unit: DotUnit | None = None) -> Peak:
    """The ceilings of this machine; measured once in a process, which takes about a second.

    Args:
        unit: what multiplies, for bfloat16, unless vector multiply-adds in float32 are faster; by default those.

    Raises:
        ToolError: there is no C compiler, or its program fails.
    """
    peak = _measure(threads, _host_facts(), unit)
    if unit is None or unit.is_matrix:
        return peak
    return max(peak, measured_peak(threads), key=lambda each: each.flops_per_second)


@dataclass(frozen=True)
class _HostFacts:
    vector_bits: int
    num_vector_registers: int
    has_fma: bool
    l1_bytes: int
    l2_bytes: int
    l3_bytes: int


def _host_facts() -> _HostFacts:
    from ...targets.host import read_host
    from ...targets.x86.levels import level_of

    host = read_host()
    level = level_of(host.features)
    caches = (host.l1_bytes, host.l2_bytes, host.l3_bytes)
    return _HostFacts(level.vector_bits, level.num_vector_registers, level.has_fma, *caches)


def _measure(threads: int, facts: _HostFacts, unit: DotUnit | None) -> Peak:
    compiler = os.environ.get("CC") or next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None:
        raise ToolError("measuring the machine's peak needs a C compiler", hint="install gcc or clang, or set CC")
    stream = min(max(_STREAM_L3S * facts.l3_bytes, _LEAST_STREAM_BYTES), _MOST_STREAM_BYTES)
    levels = _levels(threads, facts, stream)
    with interrupt.temporary_folder() as folder:
        source, program = folder / "peak.c", folder / "peak"
        source.write_text(_source(facts, stream, unit))
        flags = ["-march=native", *_FLAGS]
        _run([*shlex.split(compiler), *flags, "-o", str(program), str(source)], "the C compiler")
        shares = [str(level.bytes_each) for level in levels]
        lines = _run([str(program), str(threads), *shares], "the peak benchmark").splitlines()
    together, apart = zip(*((float(word) for word in line.split()) for line in lines), strict=True)
    # What each core has for itself adds up; what they share is what all get in the same moment.
    rates = [(together if level.shared else apart)[i + 1] for i, level in enumerate(levels)]
    # A faster level is no slower than the next one, whatever the neighbours did meanwhile.
    rows = ((level, max(rates[i:])) for i, level in enumerate(levels))
    return Peak(apart[0], tuple(MemoryLevel(each.name, each.capacity, rate) for each, rate in rows), threads)


@dataclass(frozen=True)
class _Reading:
    """How a level is measured: each thread reads so many bytes again and again."""

    name: str
    capacity: int | None
    bytes_each: int
    shared: bool


def _levels(threads: int, facts: _HostFacts, stream: int) -> list[_Reading]:
    """Half of each level is read, because other data is in there too."""
    levels = [
        _Reading("L1", threads * facts.l1_bytes, facts.l1_bytes // 2, shared=False),
        _Reading("L2", threads * facts.l2_bytes, facts.l2_bytes // 2, shared=False),
    ]
    if facts.l3_bytes > 2 * threads * facts.l2_bytes:  # shared by all, and more than a copy of the others
        levels.append(_Reading("L3", facts.l3_bytes, facts.l3_bytes // 2 // threads, shared=True))
    return [*levels, _Reading("memory", None, stream // threads, shared=True)]


def _source(facts: _HostFacts, stream: int, unit: DotUnit | None) -> str:
    multiply_add, flops = _arithmetic(facts, unit)
    return _SOURCE.substitute(
        vector_bytes=facts.vector_bits // 8,
        multiply_add=multiply_add,
        flops=f"{flops}.0",
        permission=_TILE_PERMISSION if unit is not None and unit.is_matrix else "",
        bytes=stream,
        round_seconds=_ROUND_SECONDS,
        level_seconds=_LEVEL_SECONDS,
        least_rounds=_LEAST_ROUNDS,
    )


def _arithmetic(facts: _HostFacts, unit: DotUnit | None) -> tuple[str, int]:
    """The C function that multiplies and adds, and the operations of one pass of its loop."""
    if unit is not None and unit.is_matrix:
        return _TILE_ARITHMETIC, 4 * 2 * unit.rows * unit.lanes * unit.depth
    chains = facts.num_vector_registers - 4  # two operands, and two to spare
    registers = "v" if facts.vector_bits == 512 else "x"
    # Assembly keeps each chain and both operands in registers, and in the loop; compilers may reload what is constant.
    if unit is not None or facts.has_fma:
        instruction = "vdpbf16ps" if unit is not None else "vfmadd213ps"
        first, second = ("x", "y") if unit is not None else ("y", "x")  # vfmadd213ps: a = x * a + y
        each = f'__asm__("{instruction} %1, %2, %0" : "+{registers}"(a{{i}}) : "{registers}"({first}), '
        each += f'"{registers}"({second}));'
    else:
        each = '__asm__("mulps %1, %0; addps %2, %0" : "+x"(a{i}) : "x"(x), "x"(y));'
    function = _VECTOR_ARITHMETIC.substitute(
        declarations=", ".join(f"a{i} = y" for i in range(chains)),
        statements=" ".join(each.replace("{i}", str(i)) for i in range(chains)),
        additions=" ".join(f"sum += a{i};" for i in range(chains)),
    )
    return function, chains * 2 * facts.vector_bits // 32 * (unit.group if unit is not None else 1)


def _run(command: list[str], what: str) -> str:
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolError(f"{what} cannot be run", where=command[0], details=[str(error)]) from error
    if result.returncode:
        raise ToolError(f"{what} failed", where=command[0], details=result.stderr.strip().splitlines()[-5:])
    return result.stdout
