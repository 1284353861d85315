/* The thread pool alone, with the processors and the refusals of threads that a test asks for.
 *
 *     pool_stress callers PROCESSORS      callers, nested launches and changes of the number of threads, all at once
 *     pool_stress sleep PROCESSORS        workers fall asleep between runs and within them
 *     pool_stress refuse PROCESSORS N     the system gives N threads and no more
 *     pool_stress signals PROCESSORS      workers block every signal
 *     pool_stress fork PROCESSORS         children of a process whose workers are awake, or asleep, or at work
 *     pool_stress failing PROCESSORS      a task that fails makes the launch fail, whoever runs it
 *
 * Every launch counts in plain integers what it was to do once, so that a race shows, to ThreadSanitizer too. Prints
 * nothing and exits with 0 when all is right.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

static int processors, threads_left = 1 << 30;

static int pretended_affinity(pid_t process, size_t bytes, cpu_set_t *set) {
  (void)process;
  CPU_ZERO_S(bytes, set);
  for (int i = 0; i < processors; ++i) CPU_SET_S((size_t)i, bytes, set);
  return 0;
}

static int pretended_create(pthread_t *thread, const pthread_attr_t *how, void *(*run)(void *), void *argument) {
  return --threads_left < 0 ? 11 : pthread_create(thread, how, run, argument);
}

#define sched_getaffinity pretended_affinity
#define pthread_create pretended_create
#define TILEWRIGHT_DEFAULT_THREADS 0
#define TILEWRIGHT_MAX_THREADS 256
#define TILEWRIGHT_SHARING 16
#include "thread_pool.c"
#undef pthread_create

enum { MOST = 40, CALLERS = 4, ALARM_SECONDS = 100 };
#define REQUIRE(condition) \
  do { \
    if (!(condition)) fprintf(stderr, "line %d: %s\n", __LINE__, #condition), _exit(1); \
  } while (0)

typedef struct {
  int iterations, nested, failing, microseconds;
  int together; /* each task waits until all have begun: ends only if as many threads take part */
  atomic_int begun;
  int done[MOST];
} work;

static void rest(int microseconds) { nanosleep(&(struct timespec){0, microseconds * 1000L}, NULL); }

/* As TVM's code: a task's run of iterations. */
static int task(int id, pool_group *group, void *data) {
  work *all = data;
  if (all->together)
    for (atomic_fetch_add(&all->begun, 1); atomic_load(&all->begun) < group->num_task;) rest(50);
  int step = (all->iterations + group->num_task - 1) / group->num_task;
  for (int i = id * step; i < (id + 1) * step && i < all->iterations; ++i) {
    if (all->nested) {
      work inner = {.iterations = 5};
      if (pool_launch(task, &inner, 0)) return 2;
      for (int k = 0; k < 5; ++k)
        if (inner.done[k] != 1) return 3;
    }
    if (all->microseconds) rest(all->microseconds);
    ++all->done[i];
    if (all->failing && i == all->iterations - 1) return 7;
  }
  return 0;
}

static void launch(work what) {
  REQUIRE(pool_launch(task, &what, 0) == (what.failing ? 7 : 0));
  for (int i = 0; i < what.iterations; ++i) REQUIRE(what.done[i] == 1);
}

static void run(int launches, int nested) {
  pool_begin();
  for (int i = 0; i < launches; ++i) {
    pool_share(2 + i % 15);
    launch((work){.iterations = 1 + i % MOST, .nested = nested && i % 3 == 0});
  }
  pool_end();
}

static atomic_int over;

static void *call(void *launches) {
  for (int i = 0; !atomic_load(&over); ++i) run(1 + i % (int)(size_t)launches, i % 2);
  return NULL;
}

static void callers(void) {
  pthread_t threads[CALLERS];
  for (size_t i = 0; i < CALLERS; ++i) pthread_create(&threads[i], NULL, call, (void *)(20 + i));
  for (int i = 0; i < 100; ++i) {
    REQUIRE(!pool_set_threads(1 + i * 5 % 17));
    rest(100 + i * 20);
  }
  atomic_store(&over, 1);
  for (size_t i = 0; i < CALLERS; ++i) pthread_join(threads[i], NULL);
  REQUIRE(pool_set_threads(-1) == 1);
}

static void let_workers_sleep(void) {
  for (int i = 1; i <= pool.started; ++i)
    while (!(atomic_load(&pool_seats[i].state) & POOL_ASLEEP)) rest(100);
}

static void sleepers(void) {
  pool_set_threads(6);
  run(1, 0);
  int awake = processors == 1;
  for (int i = 0; i < 1000 && !awake; ++i) { /* unless the caller loses its processor for a while, the first time */
    let_workers_sleep();
    pool_begin();
    awake = !(atomic_load(&pool_seats[1].state) & POOL_ASLEEP);
    pool_end();
  }
  REQUIRE(awake);
  for (int i = 0; i < 10; ++i) {
    run(10, 0);
    let_workers_sleep();
    pool_begin();
    for (int k = 0; k < 4; ++k) {
      pool_share(6);
      /* Long enough for a caller to sleep too. */
      launch((work){.iterations = 12, .microseconds = 50 * k, .together = processors > 5});
      if (k == 1) let_workers_sleep();
    }
    pool_end();
  }
}

static void refuse(int given) {
  threads_left = given;
  pool_set_threads(8);
  for (int i = 0; i < 20; ++i) run(20, 0);
  REQUIRE(pool.started == given && pool.threads == given + 1);
  threads_left = 1 << 30;
  pool_set_threads(5);
  run(20, 0);
  REQUIRE(pool.started == 4);
}

static void signals(void) {
  pool_set_threads(4);
  run(3, 0);
  char line[256], path[64];
  int blocking = 0;
  for (int id = (int)getpid() + 1; id < (int)getpid() + 2000; ++id) {
    snprintf(path, sizeof path, "/proc/self/task/%d/status", id);
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file))
      /* All but SIGKILL, SIGSTOP and what the C library keeps to itself. */
      if (!strncmp(line, "SigBlk:", 7)) blocking += (strtoull(line + 7, NULL, 16) | 1ull << 8 | 1ull << 18 | 3ull << 31) == ~0ull;
    if (file) fclose(file);
  }
  REQUIRE(blocking == 3);
  sigset_t mine;
  pthread_sigmask(SIG_SETMASK, NULL, &mine);
  REQUIRE(!sigismember(&mine, SIGTERM));
}

static void *work_long(void *nothing) {
  (void)nothing;
  pool_begin();
  for (int i = 0; i < 20; ++i) {
    pool_share(4);
    launch((work){.iterations = 8, .microseconds = 500, .together = processors > 3});
  }
  pool_end();
  return NULL;
}

static void forks(void) {
  pthread_t busy;
  pool_set_threads(4);
  for (int i = 0; i < 30; ++i) {
    run(10, 0);
    if (i % 3 == 1) let_workers_sleep();
    if (i % 3 == 2) pthread_create(&busy, NULL, work_long, NULL), rest(4000);
    pid_t child = fork();
    if (!child) {
      alarm(ALARM_SECONDS);
      if (i % 2) pool_set_threads(3);
      for (int k = 0; k < 5; ++k) run(10, 1);
      REQUIRE(pool.started == (i % 2 ? 2 : 3));
      exit(0);
    }
    int status = 1;
    waitpid(child, &status, 0);
    REQUIRE(!status);
    if (i % 3 == 2) pthread_join(busy, NULL);
  }
}

static void failing(void) {
  for (int threads = 1; threads < 9; ++threads) {
    pool_set_threads(threads);
    pool_begin();
    for (int i = 0; i < 200; ++i) {
      pool_share(threads);
      launch((work){.iterations = 8, .failing = i % 2, .together = processors >= threads && i < 6});
    }
    pool_end();
  }
}

int main(int argc, char **argv) {
  const char *what = argc > 2 ? argv[1] : "";
  processors = argc > 2 ? atoi(argv[2]) : 0;
  alarm(ALARM_SECONDS);
  if (!strcmp(what, "callers")) callers();
  else if (!strcmp(what, "sleep")) sleepers();
  else if (!strcmp(what, "refuse") && argc > 3) refuse(atoi(argv[3]));
  else if (!strcmp(what, "signals")) signals();
  else if (!strcmp(what, "fork")) forks();
  else if (!strcmp(what, "failing")) failing();
  else return 2;
  return 0;
}
