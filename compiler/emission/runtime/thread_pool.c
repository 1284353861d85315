/* The thread pool of a compiled library: answers the launch hook of TVM's parallel loops.
 *
 * Included by the generated library.c, so that every name here is local to one library. Needs C11, POSIX threads,
 * TILEWRIGHT_DEFAULT_THREADS: the threads to use when nobody says otherwise, or 0 for the processors available,
 * TILEWRIGHT_MAX_THREADS, the most that there are ever, and TILEWRIGHT_PAUSE, a statement for a loop that waits.
 *
 * A launch has as many tasks as the pool has threads. A task is a fixed share of the loop, so the result does not
 * depend on who runs it, and a loop iteration is computed the same way whatever the number of tasks. Threads claim
 * tasks by a compare-and-swap on `ticket`, which holds the launch's generation, its tasks and the next free one: a thread
 * that wakes late finds no task left, or a newer generation, and can never run a task of a finished launch. The caller takes
 * tasks as well, so a launch ends even when no worker ever wakes.
 *
 * One launch owns the pool. A launch from another thread, or from inside a task, finds it taken and runs its loop
 * itself as one task: concurrent callers never wait for each other, and nested launches cannot deadlock. The same does a
 * launch while someone waits to change the number of threads, who so waits for one launch at most.
 *
 * A forked child has the caller's thread alone. It finds that out by a page that Linux clears in every child, also in
 * those that were forked without the handlers of pthread_atfork (_Fork, clone), and starts a pool of its own.
 */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { POOL_MAX_THREADS = TILEWRIGHT_MAX_THREADS, POOL_STACK_BYTES = 1 << 20, POOL_SPIN_NANOSECONDS = 100 * 1000 };
enum { POOL_PAGE_BYTES = 4096 };

/* Linux 4.14; a C library may be older than that. */
#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif

typedef struct { void *sync_handle; int32_t num_task; } pool_group;
typedef int (*pool_task)(int task_id, pool_group *group, void *data);

/* The generation in the upper half; below it 16 bits of the number of tasks and 16 bits of the next one to claim. */
static _Atomic uint64_t pool_ticket;
static _Atomic(pool_task) pool_function;
static _Atomic(void *) pool_data;
static atomic_int pool_unfinished, pool_status;

static atomic_flag pool_taken = ATOMIC_FLAG_INIT;
static atomic_int pool_waiting_setters; /* who wait for `pool_taken` to change the number of threads */
static atomic_int pool_stopping, pool_sleeping_workers, pool_sleeping_caller;
static pthread_mutex_t pool_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t pool_wake_workers = PTHREAD_COND_INITIALIZER, pool_wake_caller = PTHREAD_COND_INITIALIZER;

/* Guarded by `pool_taken`. */
static int pool_threads; /* what to use, the caller included; 0: not decided yet */
static int pool_started; /* workers running */
static pthread_t pool_workers[POOL_MAX_THREADS];

static void pool_pause(void) { TILEWRIGHT_PAUSE }

static int64_t pool_now(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Runs tasks of the launch of `generation` until none is left to claim. */
static void pool_run_tasks(uint32_t generation) {
  for (;;) {
    uint64_t ticket = atomic_load(&pool_ticket);
    pool_task function = atomic_load(&pool_function);
    void *data = atomic_load(&pool_data);
    pool_group group = {NULL, (int32_t)(ticket >> 16 & 0xffff)};
    int task = (int)(ticket & 0xffff);
    if ((uint32_t)(ticket >> 32) != generation || task >= group.num_task) return;
    /* If this succeeds the launch still had an unclaimed task, so what was read above belongs to it. */
    if (!atomic_compare_exchange_strong(&pool_ticket, &ticket, ticket + 1)) continue;
    int status = function(task, &group, data);
    if (status) atomic_store(&pool_status, status);
    if (atomic_fetch_sub(&pool_unfinished, 1) == 1 && atomic_load(&pool_sleeping_caller)) {
      pthread_mutex_lock(&pool_mutex);
      pthread_cond_signal(&pool_wake_caller);
      pthread_mutex_unlock(&pool_mutex);
    }
  }
}

static int pool_has_news(uint32_t seen) {
  return (uint32_t)(atomic_load(&pool_ticket) >> 32) != seen || atomic_load(&pool_stopping);
}

/* Waits for a launch after `seen`: a while awake, since the next parallel loop is likely near, then asleep. */
static void pool_wait_for_news(uint32_t seen) {
  int64_t deadline = pool_now() + POOL_SPIN_NANOSECONDS;
  while (pool_now() < deadline) {
    for (int i = 0; i < 64; ++i) {
      if (pool_has_news(seen)) return;
      pool_pause();
    }
  }
  pthread_mutex_lock(&pool_mutex);
  atomic_fetch_add(&pool_sleeping_workers, 1);
  while (!pool_has_news(seen)) pthread_cond_wait(&pool_wake_workers, &pool_mutex);
  atomic_fetch_sub(&pool_sleeping_workers, 1);
  pthread_mutex_unlock(&pool_mutex);
}

static void pool_wait_for_workers(void) {
  int64_t deadline = pool_now() + POOL_SPIN_NANOSECONDS;
  while (pool_now() < deadline) {
    for (int i = 0; i < 64; ++i) {
      if (!atomic_load(&pool_unfinished)) return;
      pool_pause();
    }
  }
  pthread_mutex_lock(&pool_mutex);
  atomic_store(&pool_sleeping_caller, 1);
  while (atomic_load(&pool_unfinished)) pthread_cond_wait(&pool_wake_caller, &pool_mutex);
  atomic_store(&pool_sleeping_caller, 0);
  pthread_mutex_unlock(&pool_mutex);
}

static void *pool_worker(void *first_generation) {
  uint32_t seen = (uint32_t)(uintptr_t)first_generation;
  while (!atomic_load(&pool_stopping)) {
    pool_wait_for_news(seen);
    seen = (uint32_t)(atomic_load(&pool_ticket) >> 32);
    pool_run_tasks(seen);
  }
  return NULL;
}

static int pool_available_processors(void) {
  int count = 1;
#ifdef CPU_COUNT
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) count = CPU_COUNT(&set);
#endif
  return count;
}

static int pool_clamp(long threads) {
  return threads < 1 ? 1 : threads > POOL_MAX_THREADS ? POOL_MAX_THREADS : (int)threads;
}

static int pool_default_threads(void) {
  const char *text = getenv("TILEWRIGHT_NUM_THREADS");
  long wanted = text ? strtol(text, NULL, 10) : 0;
  if (wanted < 1) wanted = TILEWRIGHT_DEFAULT_THREADS;
  if (wanted < 1) wanted = pool_available_processors();
  return pool_clamp(wanted);
}

/* Whose pool this is: the process's number, or 1 where Linux clears the page in a child; 0 in a child that has not
 * looked yet, POOL_TAKEN_OVER while it makes the pool its own. */
enum { POOL_TAKEN_OVER = -1 };
static union {
  atomic_int owner;
  unsigned char page[POOL_PAGE_BYTES];
} pool_process __attribute__((aligned(POOL_PAGE_BYTES)));
static int pool_is_cleared_by_linux;

static int pool_this_process(void) { return pool_is_cleared_by_linux ? 1 : (int)getpid(); }

static void pool_after_fork(void) { atomic_store(&pool_process.owner, 0); }

__attribute__((constructor)) static void pool_load(void) {
  pool_is_cleared_by_linux = !madvise(&pool_process, sizeof pool_process, MADV_WIPEONFORK);
  atomic_store(&pool_process.owner, pool_this_process());
  /* Emulators accept every advice and follow none. */
  pthread_atfork(NULL, NULL, pool_after_fork);
}

/* In a forked child: forgets the parent's threads and whatever they held. To be called before anything else here. */
static void pool_adopt(void) {
  static const pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  static const pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
  int process = pool_this_process(), owner;
  while ((owner = atomic_load_explicit(&pool_process.owner, memory_order_acquire)) != process) {
    if (owner == POOL_TAKEN_OVER) {
      sched_yield(); /* another thread of this process is at it */
      continue;
    }
    if (!atomic_compare_exchange_strong(&pool_process.owner, &owner, POOL_TAKEN_OVER)) continue;
    pool_mutex = mutex;
    pool_wake_workers = condition;
    pool_wake_caller = condition;
    atomic_store(&pool_sleeping_workers, 0);
    atomic_store(&pool_sleeping_caller, 0);
    atomic_store(&pool_waiting_setters, 0);
    atomic_store(&pool_unfinished, 0);
    atomic_store(&pool_stopping, 0);
    pool_started = 0;
    atomic_flag_clear(&pool_taken);
    atomic_store(&pool_process.owner, process);
  }
}

/* Brings the workers to the number wanted. The caller owns the pool. */
static void pool_start(void) {
  if (!pool_threads) pool_threads = pool_default_threads();
  if (pool_started >= pool_threads - 1) return;
  sigset_t all, before;
  pthread_attr_t attributes;
  uintptr_t generation = (uintptr_t)(atomic_load(&pool_ticket) >> 32);
  if (pthread_attr_init(&attributes)) return;
  pthread_attr_setstacksize(&attributes, POOL_STACK_BYTES);
  sigfillset(&all); /* signals are the program's affair: its own threads take them */
  pthread_sigmask(SIG_SETMASK, &all, &before);
  while (pool_started < pool_threads - 1 &&
         !pthread_create(&pool_workers[pool_started], &attributes, pool_worker, (void *)generation))
    ++pool_started;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  pthread_attr_destroy(&attributes);
  pool_threads = pool_started + 1; /* fewer when the system refuses; asking again each time would be slow */
}

/* Ends all workers. The caller owns the pool. */
static void pool_stop(void) {
  atomic_store(&pool_stopping, 1);
  pthread_mutex_lock(&pool_mutex);
  pthread_cond_broadcast(&pool_wake_workers);
  pthread_mutex_unlock(&pool_mutex);
  while (pool_started) pthread_join(pool_workers[--pool_started], NULL);
  atomic_store(&pool_stopping, 0);
}

static int pool_launch(pool_task function, void *data, int num_task) {
  (void)num_task;
  pool_adopt();
  if (atomic_load(&pool_waiting_setters) || atomic_flag_test_and_set(&pool_taken)) {
    pool_group alone = {NULL, 1};
    return function(0, &alone, data);
  }
  pool_start();
  int status;
  if (pool_threads == 1) {
    pool_group alone = {NULL, 1};
    status = function(0, &alone, data);
  } else {
    uint32_t generation = (uint32_t)(atomic_load(&pool_ticket) >> 32) + 1;
    atomic_store(&pool_function, function);
    atomic_store(&pool_data, data);
    atomic_store(&pool_unfinished, pool_threads);
    atomic_store(&pool_status, 0);
    atomic_store(&pool_ticket, (uint64_t)generation << 32 | (uint64_t)pool_threads << 16);
    if (atomic_load(&pool_sleeping_workers)) {
      pthread_mutex_lock(&pool_mutex);
      pthread_cond_broadcast(&pool_wake_workers);
      pthread_mutex_unlock(&pool_mutex);
    }
    pool_run_tasks(generation);
    pool_wait_for_workers();
    status = atomic_load(&pool_status);
  }
  atomic_flag_clear(&pool_taken);
  return status;
}

/* Threads for the launches to come; 0 for the default. Waits for a launch in progress, and lets none begin meanwhile. */
static int pool_set_threads(int threads) {
  static const struct timespec moment = {0, 20 * 1000};
  if (threads < 0) return 1;
  pool_adopt();
  atomic_fetch_add(&pool_waiting_setters, 1);
  while (atomic_flag_test_and_set(&pool_taken)) nanosleep(&moment, NULL);
  int wanted = threads ? pool_clamp(threads) : pool_default_threads();
  if (wanted != pool_threads) {
    pool_stop();
    pool_threads = wanted;
  }
  atomic_flag_clear(&pool_taken);
  atomic_fetch_sub(&pool_waiting_setters, 1);
  return 0;
}

/* When the library is unloaded its code disappears, so its threads must have ended. */
__attribute__((destructor)) static void pool_unload(void) {
  pool_adopt();
  if (!atomic_flag_test_and_set(&pool_taken)) pool_stop();
}
