"""What this machine can do at most: multiplications with additions, and bytes read, a second, measured.

A small C program, around a loop that the architecture writes for the host's level or for a unit, is built with the
host's compiler and run: about a second. The numbers are kept for the life of the process and no longer, because
machines throttle and have neighbours: kernels are compared with what the machine can do now. They are the ceilings of
`roofline`.
"""

from __future__ import annotations

import math
import os
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from string import Template

from ...errors import ToolError, UnsupportedTargetError
from ...targets.core import Core
from ...targets.host import HostFacts, read_host
from ...targets.peak import PeakLoop
from ...targets.target import DotUnit
from ..process import interrupt

# A round is short and the best one counts: on a shared machine few are undisturbed, and none is ever too fast.
_ROUND_SECONDS = 0.003
_LEVEL_SECONDS = 0.2  # of all rounds of one measurement
_LEAST_ROUNDS = 10
_FLAGS = ("-O3", "-pthread", "-w")
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
        threads: processors that worked together; of a GPU its multiprocessors.
        device: the GPU whose they are; empty: this machine's.
    """

    flops_per_second: float
    levels: tuple[MemoryLevel, ...]
    threads: int
    device: str = ""

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
        UnsupportedTargetError: nobody has written the loop for this machine.
    """
    peak = _measure(threads, read_host(), unit)
    if unit is None or unit.is_matrix:
        return peak
    return max(peak, measured_peak(threads), key=lambda each: each.flops_per_second)


def _measure(threads: int, host: HostFacts, unit: DotUnit | None) -> Peak:
    architecture = host.architecture
    if architecture is None:
        raise UnsupportedTargetError(f"the peak of a machine of kind {host.machine} cannot be measured")
    level = architecture.level_of(host.features)
    loop = unit.peak() if unit is not None and unit.peak is not None else architecture.peak(level)
    compiler = os.environ.get("CC") or next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None:
        raise ToolError("measuring the machine's peak needs a C compiler", hint="install gcc or clang, or set CC")
    stream = min(max(_STREAM_L3S * host.l3_bytes, _LEAST_STREAM_BYTES), _MOST_STREAM_BYTES)
    levels = memory_levels(threads, host, stream)
    with interrupt.temporary_folder() as folder:
        source, program = folder / "peak.c", folder / "peak"
        source.write_text(program_around(loop, level.vector_bits, stream))
        _run(
            [*shlex.split(compiler), *_FLAGS, *architecture.peak_flags, "-o", str(program), str(source)],
            "the C compiler",
        )
        shares = [str(level.bytes_each) for level in levels]
        lines = _run([str(program), str(threads), *shares], "the peak benchmark").splitlines()
    together, apart = zip(*((float(word) for word in line.split()) for line in lines), strict=True)
    # What each core has for itself adds up; what they share is what all get in the same moment.
    rates = [(together if level.shared else apart)[i + 1] for i, level in enumerate(levels)]
    # A faster level is no slower than the next one, whatever the neighbours did meanwhile.
    rows = ((level, max(rates[i:])) for i, level in enumerate(levels))
    return Peak(apart[0], tuple(MemoryLevel(each.name, each.capacity, rate) for each, rate in rows), threads)


@dataclass(frozen=True)
class Reading:
    """How a level is measured: each thread reads so many bytes again and again."""

    name: str
    capacity: int | None
    bytes_each: int
    shared: bool


def memory_levels(threads: int, host: HostFacts, stream: int) -> list[Reading]:
    """The levels to measure, memory in a stream of so many bytes.

    Half of each cache is read, because other data is in there too.
    """
    levels = [
        Reading("L1", threads * host.l1_bytes, host.l1_bytes // 2, shared=False),
        Reading("L2", threads * host.l2_bytes, host.l2_bytes // 2, shared=False),
    ]
    if host.l3_bytes > 2 * threads * host.l2_bytes:  # shared by all, and more than a copy of the others
        levels.append(Reading("L3", host.l3_bytes, host.l3_bytes // 2 // threads, shared=True))
    return [*levels, Reading("memory", None, stream // threads, shared=True)]


def program_around(loop: PeakLoop, vector_bits: int, stream: int) -> str:
    """The C program that measures what `loop` computes, and what is read in vectors of so many bits.

    Args:
        stream: bytes of memory that all threads read together.
    """
    return _SOURCE.substitute(
        vector_bytes=vector_bits // 8,
        multiply_add=loop.function,
        flops=f"{loop.flops}.0",
        permission=loop.set_up,
        bytes=stream,
        round_seconds=_ROUND_SECONDS,
        level_seconds=_LEVEL_SECONDS,
        least_rounds=_LEAST_ROUNDS,
    )


def _run(command: list[str], what: str) -> str:
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolError(f"{what} cannot be run", where=command[0], details=[str(error)]) from error
    if result.returncode:
        raise ToolError(f"{what} failed", where=command[0], details=result.stderr.strip().splitlines()[-5:])
    return result.stdout


def with_more_cores(peak: Peak, threads: int, core: Core, host: HostFacts, frequency: float) -> Peak:
    """The ceilings of more cores than there are, from those of one: so many times as high, up to what all cores get.

    Args:
        peak: measured with one thread.
        core: what all cores of a processor stream together.
        host: where that was; L3 counts where it holds more than the other caches, as in `memory_levels`.
        frequency: cycles a second.
    """
    shared = {"L3": core.l3_shared_bytes_per_cycle, "memory": core.dram_shared_bytes_per_cycle}
    levels = [
        MemoryLevel(
            level.name,
            level.capacity if level.name in shared or level.capacity is None else level.capacity * threads,
            min(threads * level.bytes_per_second, shared.get(level.name, math.inf) * frequency),
        )
        for level in peak.levels
        if level.name != "L3" or host.l3_bytes > 2 * threads * host.l2_bytes
    ]
    return Peak(threads * peak.flops_per_second, tuple(levels), threads)
