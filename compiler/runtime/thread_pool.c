/* The thread pool of a compiled library: answers the launch hook of TVM's parallel loops.
 *
 * Included by the generated library.c, so that every name here is local to one library. Needs C11, POSIX threads and
 * TILEWRIGHT_DEFAULT_THREADS: the threads to use when nobody says otherwise, or 0 for the processors available.
 *
 * A launch has as many tasks as the pool has threads. A task is a fixed share of the loop, so the result does not
 * depend on who runs it, and a loop iteration is computed the same way whatever the number of tasks. Threads claim
 * tasks by a compare-and-swap on `ticket`, which holds the launch's generation, its tasks and the next free one: a thread
 * that wakes late finds no task left, or a newer generation, and can never run a task of a finished launch. The caller takes
 * tasks as well, so a launch ends even when no worker ever wakes.
 *
 * One launch owns the pool. A launch from another thread, or from inside a task, finds it taken and runs its loop
 * itself as one task: concurrent callers never wait for each other, and nested launches cannot deadlock.
 */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

enum { POOL_MAX_THREADS = 256, POOL_STACK_BYTES = 1 << 20, POOL_SPIN_NANOSECONDS = 100 * 1000 };

typedef struct { void *sync_handle; int32_t num_task; } pool_group;
typedef int (*pool_task)(int task_id, pool_group *group, void *data);

/* The generation in the upper half; below it 16 bits of the number of tasks and 16 bits of the next one to claim. */
static _Atomic uint64_t pool_ticket;
static _Atomic(pool_task) pool_function;
static _Atomic(void *) pool_data;
static atomic_int pool_unfinished, pool_status;

static atomic_flag pool_taken = ATOMIC_FLAG_INIT;
static atomic_int pool_stopping, pool_sleeping_workers, pool_sleeping_caller;
static pthread_mutex_t pool_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t pool_wake_workers = PTHREAD_COND_INITIALIZER, pool_wake_caller = PTHREAD_COND_INITIALIZER;

/* Guarded by `pool_taken`. */
static int pool_threads; /* what to use, the caller included; 0: not decided yet */
static int pool_started; /* workers running */
static pthread_t pool_workers[POOL_MAX_THREADS];

static void pool_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

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

static void pool_after_fork(void) {
  /* The child has the caller's thread alone; whatever the others held is lost. */
  static const pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  static const pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
  pool_mutex = mutex;
  pool_wake_workers = condition;
  pool_wake_caller = condition;
  atomic_store(&pool_sleeping_workers, 0);
  atomic_store(&pool_sleeping_caller, 0);
  atomic_store(&pool_unfinished, 0);
  atomic_store(&pool_stopping, 0);
  pool_started = 0;
  atomic_flag_clear(&pool_taken);
}

__attribute__((constructor)) static void pool_load(void) { pthread_atfork(NULL, NULL, pool_after_fork); }

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
  if (atomic_flag_test_and_set(&pool_taken)) {
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

/* Threads for the launches to come; 0 for the default. Waits for a launch in progress. */
static int pool_set_threads(int threads) {
  if (threads < 0) return 1;
  while (atomic_flag_test_and_set(&pool_taken)) sched_yield();
  int wanted = threads ? pool_clamp(threads) : pool_default_threads();
  if (wanted != pool_threads) {
    pool_stop();
    pool_threads = wanted;
  }
  atomic_flag_clear(&pool_taken);
  return 0;
}

/* When the library is unloaded its code disappears, so its threads must have ended. */
__attribute__((destructor)) static void pool_unload(void) {
  if (!atomic_flag_test_and_set(&pool_taken)) pool_stop();
}
