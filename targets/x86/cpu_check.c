/* Whether this x86 processor, and its operating system, have what the library was compiled for.
 *
 * Stands behind `cpu_needs` (bits of cpuid) and CPU_STATE (bits of XCR0: registers that the operating system must save),
 * which `cpu_check.py` writes, and is included by the generated library.c. The compilers' __builtin_cpu_supports is not
 * used, as not every toolchain's support library defines what it reads.
 */
#include <cpuid.h>
#include <stdatomic.h>
#include <stddef.h>

#define TILE_DATA 18 /* the component of XCR0 that holds the tiles of AMX */
#if CPU_STATE >> TILE_DATA & 1
#include <sys/syscall.h>
#include <unistd.h>

/* Linux gives a process the tiles, which make its threads' states large, only when it asks. */
static int cpu_get_tiles(void) { return !syscall(SYS_arch_prctl, 0x1023 /* ARCH_REQ_XCOMP_PERM */, TILE_DATA); }
#else
static int cpu_get_tiles(void) { return 1; }
#endif

static int cpu_ask(void) {
  unsigned registers[4];
  if (CPU_STATE) {
    unsigned low, high;
    if (!__get_cpuid(1, &registers[0], &registers[1], &registers[2], &registers[3])) return 0;
    if (!(registers[2] >> 27 & 1)) return 0; /* OSXSAVE: XCR0 can be read */
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    if ((low & CPU_STATE) != CPU_STATE) return 0;
  }
  for (size_t i = 0; i < sizeof cpu_needs / sizeof *cpu_needs; ++i) {
    const cpu_bit need = cpu_needs[i];
    if (!__get_cpuid_count(need.leaf, need.subleaf, &registers[0], &registers[1], &registers[2], &registers[3])) return 0;
    if (!(registers[need.index] >> need.bit & 1)) return 0;
  }
  return cpu_get_tiles();
}

/* Asks once: cpuid is slow, in virtual machines very slow. Threads that ask at the same time find the same. */
static int cpu_is_supported(void) {
  static atomic_int answer; /* 0: not asked yet, 1: no, 2: yes */
  int known = atomic_load_explicit(&answer, memory_order_relaxed);
  if (!known) {
    known = 1 + cpu_ask();
    atomic_store_explicit(&answer, known, memory_order_relaxed);
  }
  return known == 2;
}
