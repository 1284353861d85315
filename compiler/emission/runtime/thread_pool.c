/* The thread pool of a compiled library: answers the launch hook of TVM's parallel loops.
 *
 * Included by threads.c, so that every name here is local to one library. Needs C11, POSIX threads,
 * TILEWRIGHT_DEFAULT_THREADS: the threads to use when nobody says otherwise, or 0 for the processors available,
 * TILEWRIGHT_MAX_THREADS, the most that there are ever, TILEWRIGHT_SHARING, the most that share one kernel, and
 * TILEWRIGHT_PAUSE, a statement for a loop that waits.
 *
 * A run is a turn (pool_begin, pool_end): it has the pool for itself, wakes the workers, and they wait awake between
 * its kernels, unless that takes long. Before a kernel it says how many threads share it (pool_share); so many tasks a
 * launch has. A task is a fixed share of the loop, computed the same way whoever runs it and however many there are.
 *
 * Each worker has a seat, a cache line with one word of state. The caller writes a task there, offers it, runs the
 * first task itself, then takes back what nobody has begun: a worker that is late or asleep delays nobody. A word
 * changes by atomic exchanges alone, and with it passes the right to the rest of the seat:
 *
 *     nothing -> OFFERED -> TAKEN -> nothing         the worker's way; a caller that takes back goes OFFERED -> nothing
 *                           TAKEN -> AWAITED         the caller sleeps until the task is done
 *     nothing -> ASLEEP -> nothing                   the worker sleeps until woken; a task may be offered meanwhile
 *
 * Workers for which there is no processor are left asleep, and so is who is not needed; the tasks without a worker are
 * spare: who is done with his own takes one after the other. So threads that are more than the processors cost little.
 *
 * A launch from a thread that does not have the pool, or from inside a task, runs its loop itself as one task:
 * concurrent callers never wait for each other, and nested launches cannot deadlock. Before each kernel a run that has
 * no pool tries to get it, and one that has it gives it up if someone waits to change the number of threads.
 *
 * A forked child has the caller's thread alone, and starts a pool of its own.
 */
#include "new_process.c"
#include "threads.h"
#include "word_sleep.c"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { POOL_MAX_THREADS = TILEWRIGHT_MAX_THREADS, POOL_STACK_BYTES = 1 << 20 };
/* How long one waits awake, a worker for a task and a caller for its end. Where others want the processors, who waits
 * awake eats up the run's share of them, and who sleeps gets one soon after he is woken. */
enum { POOL_AWAKE_NANOSECONDS = 100 * 1000 };
enum { POOL_POLLS = 64 }; /* between two looks at the clock: some microseconds */
/* What lines a core fetches together: two of 64 bytes, or one of 128. */
enum { POOL_LINE_BYTES = 128 };

enum { POOL_OFFERED = 1, POOL_TAKEN = 2, POOL_AWAITED = 4, POOL_ASLEEP = 8 };
/* Where a worker waits. The caller writes it while nothing is offered, the worker while it has taken a task. */
typedef struct {
  _Alignas(POOL_LINE_BYTES) _Atomic uint32_t state;
  int task, tasks, status;
  pool_task function; /* NULL: the worker is to end */
  void *data;
  pthread_t thread;
} pool_seat;
static pool_seat pool_seats[POOL_MAX_THREADS]; /* the first is nobody's: the caller runs task 0 */

/* Tasks of the launch that no worker was offered: the last ones. Changes only where threads outnumber processors. */
static _Alignas(POOL_LINE_BYTES) _Atomic uint32_t pool_spare;

/* What all threads look at. */
static struct {
  _Alignas(POOL_LINE_BYTES) _Atomic uintptr_t owner; /* the thread whose turn it is, or 0 */
  atomic_int waiting_setters;                        /* who wait for a turn to change the number of threads */
  atomic_int crew;                                   /* threads to wake, the caller included */
} pool_turn;

/* The owner's. */
static struct {
  _Alignas(POOL_LINE_BYTES) int threads; /* what to use, the caller included; 0: not decided yet */
  int processors;                        /* on which they may run; 0: not known */
  int started;                           /* workers */
  int sharing;                           /* threads that share the next kernel */
  int launching;                         /* whether a launch is in progress */
} pool;

static void pool_pause(void) { TILEWRIGHT_PAUSE }

static int64_t pool_now(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int pool_least(int a, int b) { return a < b ? a : b; }

/* Changes a word from one value to another, if it has that value. */
static int pool_change(_Atomic uint32_t *word, uint32_t from, uint32_t to) {
  return atomic_compare_exchange_strong(word, &from, to);
}

/* Wakes two workers that sleep, who will wake two each. */
static void pool_rouse(void) {
  int crew = atomic_load(&pool_turn.crew);
  for (int i = 1, woken = 0; i < crew && woken < 2; ++i) {
    _Atomic uint32_t *state = &pool_seats[i].state;
    if (atomic_load(state) & POOL_ASLEEP && atomic_fetch_and(state, ~(uint32_t)POOL_ASLEEP) & POOL_ASLEEP)
      word_wake(state), ++woken;
  }
}

/* Waits for a task and takes it: a while awake, since the next parallel loop is likely near, then asleep. */
static void pool_await_task(pool_seat *seat) {
  for (int64_t since = pool_now();;) {
    for (int i = 0; i < POOL_POLLS; ++i) {
      if (atomic_load(&seat->state) == POOL_OFFERED && pool_change(&seat->state, POOL_OFFERED, POOL_TAKEN)) return;
      pool_pause();
    }
    if (pool_now() - since < POOL_AWAKE_NANOSECONDS) continue;
    if (!pool_change(&seat->state, 0, POOL_ASLEEP)) continue;
    for (uint32_t state; (state = atomic_load(&seat->state)) & POOL_ASLEEP;) word_sleep(&seat->state, state);
    pool_rouse();
    since = pool_now();
  }
}

/* Whether a task was still offered; it is no longer. */
static int pool_take_back(pool_seat *seat) {
  for (uint32_t state; (state = atomic_load(&seat->state)) & POOL_OFFERED;)
    if (pool_change(&seat->state, state, state & ~(uint32_t)POOL_OFFERED)) return 1;
  return 0;
}

/* Waits until a worker is done with the task that it has taken. */
static void pool_await_end(pool_seat *seat) {
  for (int64_t since = pool_now();;) {
    for (int i = 0; i < POOL_POLLS; ++i) {
      if (!(atomic_load(&seat->state) & POOL_TAKEN)) return;
      pool_pause();
    }
    if (pool_now() - since < POOL_AWAKE_NANOSECONDS) continue;
    const uint32_t awaited = POOL_TAKEN | POOL_AWAITED;
    if (!pool_change(&seat->state, POOL_TAKEN, awaited)) continue;
    while (atomic_load(&seat->state) == awaited) word_sleep(&seat->state, awaited);
  }
}

/* Runs spare tasks as long as there are any; `tasks` are those of the launch. */
static int pool_run_spare(pool_task function, void *data, int tasks) {
  pool_group group = {NULL, tasks};
  int status = 0;
  for (uint32_t left; (left = atomic_load(&pool_spare)) > 0;) {
    if (!pool_change(&pool_spare, left, left - 1)) continue;
    int failed = function(tasks - (int)left, &group, data);
    if (failed) status = failed;
  }
  return status;
}

static void *pool_worker(void *argument) {
  pool_seat *seat = argument;
  for (;;) {
    pool_await_task(seat);
    if (!seat->function) return NULL;
    pool_group group = {NULL, seat->tasks};
    int status = seat->function(seat->task, &group, seat->data);
    int spare = pool_run_spare(seat->function, seat->data, seat->tasks);
    seat->status = spare ? spare : status;
    if (atomic_exchange(&seat->state, 0) & POOL_AWAITED) word_wake(&seat->state);
  }
}

/* The processors that the threads started here may run on; 0: not known. */
static int pool_available_processors(void) {
#ifdef CPU_COUNT
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
#ifdef _WIN32
  long online = pthread_num_processors_np();
#else
  long online = sysconf(_SC_NPROCESSORS_ONLN);
#endif
  return online < 1 ? 0 : (int)online;
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

/* In a forked child: forgets the parent's threads and whatever they held. To be called before anything else here. */
static void pool_adopt(void) {
  if (!process_is_new()) return;
  word_forget_sleepers();
  for (int i = 1; i < POOL_MAX_THREADS; ++i)
    if (atomic_load(&pool_seats[i].state)) atomic_store(&pool_seats[i].state, 0);
  atomic_store(&pool_spare, 0);
  atomic_store(&pool_turn.waiting_setters, 0);
  pool.started = pool.launching = 0;
  atomic_store(&pool_turn.owner, 0);
  process_is_known();
}

static int pool_is_mine(void) { return atomic_load(&pool_turn.owner) == (uintptr_t)pthread_self(); }

/* Makes this thread the owner, unless there is one. */
static int pool_take(void) {
  uintptr_t nobody = 0, self = (uintptr_t)pthread_self();
  return !atomic_load(&pool_turn.owner) && atomic_compare_exchange_strong(&pool_turn.owner, &nobody, self);
}

/* Brings the workers to the number wanted, as far as kernels can use them. */
static void pool_start(void) {
  if (!pool.threads) pool.threads = pool_default_threads();
  int wanted = pool_least(pool.threads, TILEWRIGHT_SHARING);
  if (pool.started >= wanted - 1) return;
  pthread_attr_t attributes;
  if (pthread_attr_init(&attributes)) return;
  pthread_attr_setstacksize(&attributes, POOL_STACK_BYTES);
#ifndef _WIN32
  sigset_t all, before;
  sigfillset(&all); /* signals are the program's affair: its own threads take them */
  pthread_sigmask(SIG_SETMASK, &all, &before);
#endif
  for (int next = pool.started + 1; next < wanted; next = pool.started + 1) {
    if (pthread_create(&pool_seats[next].thread, &attributes, pool_worker, &pool_seats[next])) break;
    pool.started = next;
  }
#ifndef _WIN32
  pthread_sigmask(SIG_SETMASK, &before, NULL);
#endif
  pthread_attr_destroy(&attributes);
  pool.processors = pool_available_processors();
  /* Fewer when the system refuses; asking again each time would be slow. */
  if (pool.started < wanted - 1) pool.threads = pool.started + 1;
}

/* Ends all workers. */
static void pool_stop(void) {
  for (int i = 1; i <= pool.started; ++i) {
    pool_seat *seat = &pool_seats[i];
    seat->function = NULL;
    if (atomic_exchange(&seat->state, POOL_OFFERED) & POOL_ASLEEP) word_wake(&seat->state);
  }
  for (; pool.started; --pool.started) {
    pthread_join(pool_seats[pool.started].thread, NULL);
    atomic_store(&pool_seats[pool.started].state, 0);
  }
}

/* A run begins. It gets the pool, unless another run has it or someone waits for it to change the number of threads. */
static void pool_begin(void) {
  pool_adopt();
  if (TILEWRIGHT_SHARING < 2 || atomic_load(&pool_turn.waiting_setters) || !pool_take()) return;
  pool_start();
  int crew = pool.started + 1;
  if (pool.processors) crew = pool_least(crew, pool.processors);
  if (crew != atomic_load(&pool_turn.crew)) atomic_store(&pool_turn.crew, crew);
  pool_rouse();
}

/* The run is over; to be called whether it has the pool or not. */
static void pool_end(void) {
  if (pool_is_mine()) atomic_store(&pool_turn.owner, 0);
}

/* A kernel follows that so many threads share at most. */
static void pool_share(int threads) {
  if (!pool_is_mine())
    pool_begin();
  else if (atomic_load(&pool_turn.waiting_setters))
    pool_end();
  if (pool_is_mine()) pool.sharing = pool_least(threads, pool.threads);
}

static int pool_launch(pool_task function, void *data, int num_task) {
  (void)num_task;
  int tasks = pool_is_mine() && !pool.launching ? pool.sharing : 1;
  pool_group group = {NULL, tasks};
  if (tasks == 1) return function(0, &group, data);

  int seats = pool_least(tasks, atomic_load(&pool_turn.crew)), asleep = 0;
  pool.launching = 1;
  if (tasks > seats) atomic_store(&pool_spare, (uint32_t)(tasks - seats));
  for (int i = 1; i < seats; ++i) {
    pool_seat *seat = &pool_seats[i];
    seat->task = i, seat->tasks = tasks, seat->status = 0, seat->function = function, seat->data = data;
  }
  for (int i = 1; i < seats; ++i) asleep |= atomic_fetch_or(&pool_seats[i].state, POOL_OFFERED) & POOL_ASLEEP;
  if (asleep) pool_rouse();

  int status = function(0, &group, data), failed;
  if (tasks > seats && (failed = pool_run_spare(function, data, tasks))) status = failed;
  for (int i = 1; i < seats; ++i)
    if (pool_take_back(&pool_seats[i]) && (failed = function(i, &group, data))) status = failed;
  for (int i = 1; i < seats; ++i) {
    pool_await_end(&pool_seats[i]);
    if (pool_seats[i].status) status = pool_seats[i].status;
  }
  pool.launching = 0;
  return status;
}

/* Threads for the launches to come; 0 for the default. Waits for a run to give the pool up, which it does before its
 * next parallel kernel, and lets none begin meanwhile. */
static int pool_set_threads(int threads) {
  static const struct timespec moment = {0, 20 * 1000};
  if (threads < 0) return 1;
  pool_adopt();
  atomic_fetch_add(&pool_turn.waiting_setters, 1);
  while (!pool_take()) nanosleep(&moment, NULL);
  int wanted = threads ? pool_clamp(threads) : pool_default_threads();
  if (wanted != pool.threads) {
    pool_stop();
    pool.threads = wanted;
  }
  pool_end();
  atomic_fetch_sub(&pool_turn.waiting_setters, 1);
  return 0;
}

/* When the library is unloaded its code disappears, so its threads must have ended. */
__attribute__((destructor)) static void pool_unload(void) {
  pool_adopt();
  if (pool_take()) pool_stop();
}
