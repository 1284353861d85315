/* What a run would take on more processors than there are: the tasks of each parallel loop, one after another on this
 * one, timed each by itself.
 *
 * Included by threads.c behind the thread pool, so that every name here is local to one library. Kernels reach the
 * pool through a pointer; a simulation puts `simulation_launch` there, which times the tasks of the thread that
 * simulates and passes the launches of all others on to the pool. Loop iterations are computed as ever, whoever runs
 * them, so the results have the bits of any other run.
 *
 * A simulation writes a stream of numbers:
 *     n, nanoseconds of each of n tasks        a launch, n > 0
 *     0, step, nanoseconds                     the end of a step: of all that it took outside its launches
 */
static uint64_t now(void) { return (uint64_t)pool_now(); }

static _Thread_local simulation *simulated; /* by this thread; NULL: it runs as ever */

static void simulation_write(simulation *run, uint64_t number) {
  if (run->used < run->room) run->stream[run->used] = number;
  ++run->used;
}

/* A kernel follows that so many threads share at most. */
static void simulation_share(void *to, int threads) {
  simulation *run = to;
  run->sharing = pool_least(threads, run->threads);
}

static int simulation_launch(pool_task function, void *data, int num_task) {
  simulation *run = simulated;
  if (!run) return pool_launch(function, data, num_task);
  if (run->is_in_task) {
    pool_group alone = {NULL, 1};
    return function(0, &alone, data);
  }
  uint64_t begin = now();
  pool_group group = {NULL, run->sharing};
  int status = 0;
  simulation_write(run, (uint64_t)group.num_task);
  run->is_in_task = 1;
  for (int task = 0; task < group.num_task; ++task) {
    uint64_t before = now();
    int failed = function(task, &group, data);
    simulation_write(run, now() - before);
    if (failed) status = failed;
  }
  run->is_in_task = 0;
  run->launches += now() - begin;
  return status;
}

static void simulation_begin(simulation *run, int threads, uint64_t *stream, size_t room) {
  *run = (simulation){.stream = stream, .room = room, .threads = pool_clamp(threads), .sharing = 1, .begin = now()};
  /* It stays: others may simulate at the same time. */
  __atomic_store_n(&__TVMBackendParallelLaunch, simulation_launch, __ATOMIC_RELAXED);
  simulated = run;
}

static size_t simulation_end(simulation *run) {
  simulated = NULL;
  return run->used;
}

/* Ends a step, and begins the next. */
static void simulation_step(void *to, size_t step) {
  simulation *run = to;
  uint64_t took = now() - run->begin;
  simulation_write(run, 0);
  simulation_write(run, step);
  simulation_write(run, took - run->launches);
  run->launches = 0;
  run->begin = now();
}

/* How long a launch waits for its threads: where hand-offs are measured, before a kernel is timed, and all of them. */
enum { HAND_OFF_MEETING = 20 * 1000 * 1000, ROLL_CALL = 1000 * 1000, HAND_OFF_NANOSECONDS = 1000 * 1000 * 1000 };

typedef struct { atomic_int arrived; int64_t deadline; } meeting;

/* Waits until every task of a launch has begun, so that each has a thread of its own; no longer than a moment, since
 * threads may be more than the processors that Linux gives them. */
static int meeting_task(int task, pool_group *group, void *to) {
  (void)task;
  meeting *held = to;
  atomic_fetch_add(&held->arrived, 1);
  while (atomic_load(&held->arrived) < group->num_task && pool_now() < held->deadline) pool_pause();
  return 0;
}

/* Returns how many threads took part. */
static int meeting_hold(int64_t nanoseconds) {
  meeting held = {0, pool_now() + nanoseconds};
  pool_launch(meeting_task, &held, 0);
  return atomic_load(&held.arrived);
}

/* Sees to it that those who share the next kernel are awake, as they are after a short one. */
static void roll_call(int threads) {
  pool_share(threads);
  pool_share(pool_least(threads, atomic_load(&pool_turn.crew)));
  meeting_hold(ROLL_CALL);
  pool_share(threads);
}

/* The nanoseconds of launches whose tasks do nothing but meet, one after the other as in a run: as many as there is room
 * for, or fewer when time is up, and zeros. Returns how many threads took part in the last one. */
static int simulation_hand_off(uint64_t *nanoseconds, size_t room) {
  int arrived = 0;
  uint64_t deadline = now() + HAND_OFF_NANOSECONDS, before;
  size_t i = 0;
  pool_begin();
  pool_share(POOL_MAX_THREADS);
  for (; i < room && (before = now()) < deadline; ++i) {
    arrived = meeting_hold(HAND_OFF_MEETING);
    nanoseconds[i] = now() - before;
  }
  pool_end();
  for (; i < room; ++i) nanoseconds[i] = 0;
  return arrived;
}
