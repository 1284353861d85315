"""What this machine can do at most: fused multiply-adds and bytes read from memory a second, measured.

A small C program, written for the width and number of the target's vector registers, is built with the host's compiler
and run once; the numbers are kept in the user's cache folder. They are what `bench --kernels` compares kernels with.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from string import Template

from ..errors import ToolError
from . import interrupt

_SECONDS_EACH = 0.15
_ROUNDS = 5  # the best counts: a shared machine is only ever slower than it can be
_BANDWIDTH_BYTES = 256 << 20  # more than any last-level cache, or it would be the cache that is measured
_VERSION = 1  # of the benchmark; a new one makes old numbers void

_SOURCE = Template(r"""
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
typedef float vector __attribute__((vector_size($vector_bytes)));
enum { CHAINS = $chains, LANES = $vector_bytes / 4, ROUNDS = $rounds };
static const size_t BYTES = ${bytes}ul;
static int threads; static int measuring_memory; static char *memory; static volatile float sink;
static pthread_barrier_t gate;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + 1e-9 * t.tv_nsec;
}
/* Independent chains of a = a * x + y, as many as hide the latency and still fit the registers. */
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
static void read_memory(size_t from, size_t to) {
    vector a[8] = {0};
    for (size_t at = from; at + sizeof a <= to; at += sizeof a)
        for (int c = 0; c < 8; ++c) a[c] += *(const vector *)(memory + at + c * sizeof(vector));
    for (int c = 1; c < 8; ++c) a[0] += a[c];
    sink = a[0][0];
}
static long count;
static void work(long index) {
    size_t share = BYTES / threads / 4096 * 4096;
    if (measuring_memory) read_memory(index * share, (index + 1) * share); else multiply_add(count);
}
static void *thread(void *index) {
    for (int round = 0; round < 2 * ROUNDS; ++round) {
        pthread_barrier_wait(&gate);
        work((long)index);
        pthread_barrier_wait(&gate);
    }
    return 0;
}
static double best(int memory_round) {
    double least = 1e30;
    measuring_memory = memory_round;
    for (int round = 0; round < ROUNDS; ++round) {
        double start = now();
        pthread_barrier_wait(&gate);
        work(0);
        pthread_barrier_wait(&gate);
        double seconds = now() - start;
        if (seconds < least) least = seconds;
    }
    return least;
}
int main(int argc, char **argv) {
    threads = argc > 1 ? atoi(argv[1]) : 1;
    if (posix_memalign((void **)&memory, 4096, BYTES)) return 1;
    memset(memory, 0, BYTES);
    double start = now();
    multiply_add(1 << 16);
    start = now();
    multiply_add(1 << 20);
    count = (long)((1 << 20) * $seconds / (now() - start)) + 1;
    pthread_barrier_init(&gate, 0, threads);
    for (long t = 1; t < threads; ++t) { pthread_t id; if (pthread_create(&id, 0, thread, (void *)t)) return 1; }
    double flops = 2.0 * LANES * CHAINS * (double)count * threads / best(0);
    double bytes = (double)(BYTES / threads / 4096 * 4096) * threads / best(1);
    printf("%.0f %.0f\n", flops, bytes);
    return 0;
}
""")


@dataclass(frozen=True)
class Peak:
    """Measured ceilings of a machine with a number of threads.

    Attributes:
        flops_per_second: float32 operations, a fused multiply-add counted as two.
        bytes_per_second: bytes read from memory.
        threads: processors that worked together.
    """

    flops_per_second: float
    bytes_per_second: float
    threads: int

    def seconds_at_least(self, flops: float, num_bytes: float) -> float:
        """The roofline: the time below which this work cannot be done."""
        return max(flops / self.flops_per_second, num_bytes / self.bytes_per_second)


def measured_peak(threads: int) -> Peak:
    """The ceilings of this machine, from the cache or by measuring for about two seconds.

    Raises:
        ToolError: there is no C compiler, or its program fails.
    """
    facts = _host_facts()
    key = f"v{_VERSION}, {facts.cpu}, {facts.vector_bits} bits, {threads} threads"
    known = _read_cache()
    if key not in known:
        known[key] = asdict(_measure(threads, facts))
        _write_cache(known)
    numbers = known[key]
    return Peak(float(numbers["flops_per_second"]), float(numbers["bytes_per_second"]), threads)


@dataclass(frozen=True)
class _HostFacts:
    cpu: str
    vector_bits: int
    num_vector_registers: int


def _host_facts() -> _HostFacts:
    from ..targets.host import read_host
    from ..targets.x86 import LEVELS

    facts = read_host()
    level = next((level for level in LEVELS if level.needs <= facts.features), LEVELS[-1])
    return _HostFacts(facts.model_name, level.vector_bits, level.num_vector_registers)


def _measure(threads: int, facts: _HostFacts) -> Peak:
    compiler = os.environ.get("CC") or next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None:
        raise ToolError("measuring the machine's peak needs a C compiler", hint="install gcc or clang, or set CC")
    chains = facts.num_vector_registers - 4  # two operands, and two to spare
    register = "v" if facts.vector_bits == 512 else "x"
    with interrupt.temporary_folder() as folder:
        source, program = folder / "peak.c", folder / "peak"
        source.write_text(
            _SOURCE.substitute(
                vector_bytes=facts.vector_bits // 8,
                chains=chains,
                declarations=", ".join(f"a{i} = y" for i in range(chains)),
                # The empty statement of assembly keeps each chain in a register and in the loop.
                statements=" ".join(f'a{i} = a{i} * x + y; __asm__("" : "+{register}"(a{i}));' for i in range(chains)),
                additions=" ".join(f"sum += a{i};" for i in range(chains)),
                bytes=_BANDWIDTH_BYTES,
                rounds=_ROUNDS,
                seconds=_SECONDS_EACH,
            )
        )
        flags = ["-O3", "-march=native", "-ffp-contract=fast", "-pthread", "-w"]
        _run([*shlex.split(compiler), *flags, "-o", str(program), str(source)], "the C compiler")
        flops, num_bytes = _run([str(program), str(threads)], "the peak benchmark").split()
    return Peak(float(flops), float(num_bytes), threads)


def _run(command: list[str], what: str) -> str:
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolError(f"{what} cannot be run", where=command[0], details=[str(error)]) from error
    if result.returncode:
        raise ToolError(f"{what} failed", where=command[0], details=result.stderr.strip().splitlines()[-5:])
    return result.stdout


def _cache_file() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or str(Path("~/.cache").expanduser())
    return Path(root) / "tilewright" / "machine_peak.json"


def _read_cache() -> dict[str, dict[str, float]]:
    try:
        known = json.loads(_cache_file().read_text())
        return {str(key): {name: float(value[name]) for name in value} for key, value in known.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _write_cache(known: dict[str, dict[str, float]]) -> None:
    path = _cache_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(f".{os.getpid()}")
        fresh.write_text(json.dumps(known, indent=2))
        fresh.replace(path)
    except OSError:
        pass  # a cache that cannot be written is measured again next time
