/* Tells a forked child from its parent, also without the handlers of pthread_atfork (_Fork, clone): by a
 * page that Linux clears in every child; where it cannot, by the process's number. Windows has no forks. Included by
 * thread_pool.c. */
#ifdef _WIN32
static int process_is_new(void) { return 0; }
static void process_is_known(void) {}
#else
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

/* Linux 4.14; a C library may be older than that. */
#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif

/* What the page says: the process's number, or 1 where Linux clears it; 0 in a child that has not looked yet;
 * PROCESS_IS_TAKEN_OVER while one of its threads makes all its own. */
enum { PROCESS_PAGE_BYTES = 4096, PROCESS_IS_TAKEN_OVER = -1 };
static union {
  atomic_int owner;
  unsigned char page[PROCESS_PAGE_BYTES];
} process __attribute__((aligned(PROCESS_PAGE_BYTES)));
static int process_is_cleared_by_linux;

static int process_number(void) { return process_is_cleared_by_linux ? 1 : (int)getpid(); }

static void process_after_fork(void) { atomic_store(&process.owner, 0); }

__attribute__((constructor)) static void process_load(void) {
  /* Where pages are larger, others' data is in the same one. */
  process_is_cleared_by_linux = sysconf(_SC_PAGESIZE) == PROCESS_PAGE_BYTES &&
                                !madvise(&process, sizeof process, MADV_WIPEONFORK);
  atomic_store(&process.owner, process_number());
  /* Emulators accept every advice and follow none. */
  pthread_atfork(NULL, NULL, process_after_fork);
}

/* Whether this is a child in which nobody has asked yet. Who is told so is to forget the parent's threads and to call
 * process_is_known; others wait meanwhile. */
static int process_is_new(void) {
  int number = process_number(), owner;
  while ((owner = atomic_load(&process.owner)) != number)
    if (owner == PROCESS_IS_TAKEN_OVER)
      sched_yield();
    else if (atomic_compare_exchange_strong(&process.owner, &owner, PROCESS_IS_TAKEN_OVER))
      return 1;
  return 0;
}

static void process_is_known(void) { atomic_store(&process.owner, process_number()); }
#endif
