/* What a parallel loop costs beside its work: `hand_off THREADS LAUNCHES` prints, in nanoseconds, the fastest and the median
 * of so many of each: a serial call of an empty task, an empty launch, and a launch whose tasks all wait until the last
 * of them has begun, so that every thread takes part. Needs TILEWRIGHT_PAUSE and thread_pool.c. */
#define _GNU_SOURCE
#define TILEWRIGHT_DEFAULT_THREADS 0
#define TILEWRIGHT_MAX_THREADS 256
#define TILEWRIGHT_SHARING 256
#include "thread_pool.c"

#include <stdio.h>

static atomic_int begun;

static int empty(int id, pool_group *group, void *data) {
  (void)id, (void)group, (void)data;
  return 0;
}

static int together(int id, pool_group *group, void *data) {
  (void)id, (void)data;
  int last = (atomic_fetch_add(&begun, 1) / group->num_task + 1) * group->num_task;
  while (atomic_load(&begun) < last) pool_pause();
  return 0;
}

static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* A batch of launches at a time, since the clock takes long too. */
enum { BATCH = 20 };

static void report(const char *what, pool_task task, int threads, int launches) {
  int count = launches / BATCH;
  double *times = malloc((size_t)count * sizeof *times);
  pool_task volatile serial = task;
  pool_group alone = {NULL, 1};
  for (int i = 0; i < count; ++i) {
    int64_t start = pool_now();
    for (int k = 0; k < BATCH; ++k) {
      if (threads == 1) {
        serial(0, &alone, NULL);
        continue;
      }
      pool_share(threads);
      pool_launch(task, NULL, 0);
    }
    times[i] = (double)(pool_now() - start) / BATCH;
  }
  qsort(times, (size_t)count, sizeof *times, compare);
  printf("%s %.0f %.0f\n", what, times[0], times[count / 2]);
  free(times);
}

int main(int argc, char **argv) {
  int threads = argc > 2 ? atoi(argv[1]) : 0, launches = argc > 2 ? atoi(argv[2]) : 0;
  if (threads < 2 || launches < BATCH || pool_set_threads(threads)) return 2;
  pool_begin();
  if (threads > atomic_load(&pool_turn.crew)) return 3; /* fewer processors: they would wait for each other's turn */
  report("serial", empty, 1, launches);
  report("empty", empty, threads, launches);
  report("together", together, threads, launches);
  pool_end();
  return 0;
}
