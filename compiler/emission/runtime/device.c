/* Runs a compiled model on a machine without Python: what runners start there, and the program of --emit bench.
 *
 *     program LIBRARY NAME INPUTS OUTPUTS RUNS SECONDS THREADS       a shared library, whose symbols begin with NAME
 *     program LIBRARY NAME INPUTS OUTPUTS RUNS SECONDS THREADS TIMES OFFSET STEPS STILL       the same, step by step
 *     program INPUTS OUTPUTS RUNS SECONDS THREADS                    with a model inside
 *     program [THREADS]                                              the same: checks itself, then measures itself
 *
 * INPUTS holds int64 numbers: how many dimensions the model takes, and these; then the bytes of each input and output, for
 * these sizes, and for each input whether it is a state, which comes back; and then the inputs one after another, as
 * OUTPUTS will have the outputs, and behind them the states. It runs at least so often and for
 * so many seconds, and prints the nanoseconds of each run on a line. 0 threads: the default. Ends with 0; 1: results differ from those that
 * are stored; 2: what the model returned stands on stderr, or what was wrong with a file; 3: a step takes longer than
 * STILL seconds.
 *
 * Step by step, the file TIMES holds uint64 numbers: whether steps run, how many runs are done, and for each run the
 * nanoseconds of each of STEPS steps, written as soon as it is done. Whoever finds this process dead knows the step.
 * OFFSET is how far the library's entry for that is from NAME_run.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef int runs_at_sizes(const void *const[], void *const[], void *, const int64_t[]);

typedef struct {
  int (*run)(const void *const[], void *const[], void *); /* of a model that takes dimensions: runs_at_sizes */
  int (*num_inputs)(void), (*num_outputs)(void);
  size_t (*workspace_size)(void), (*input_bytes)(int), (*output_bytes)(int);
  int (*set_num_threads)(int); /* NULL: the model has no threads */
} model_api;

enum { ALIGNMENT = 64, MOST_RUNS = 1 << 20, MOST_LETTERS = 1 << 9 };

static int fail(const char *what, const char *which) {
  fprintf(stderr, "%s: %s\n", what, which);
  return 2;
}

static uint64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* Memory that is never given back: the process ends soon. */
static unsigned char *aligned(size_t bytes) {
  unsigned char *memory = malloc(bytes + 2 * ALIGNMENT);
  if (!memory) exit(fail("there is not enough memory", "workspace or tensors"));
  return memory + (ALIGNMENT - (uintptr_t)memory % ALIGNMENT);
}

typedef struct {
  const void **inputs;
  void **outputs, *workspace;
  int64_t *dimensions; /* NULL: the model takes none */
} buffers;

static buffers prepared(const model_api *model) {
  buffers made;
  int inputs = model->num_inputs(), outputs = model->num_outputs();
  made.inputs = calloc((size_t)inputs + 1, sizeof *made.inputs);
  made.outputs = calloc((size_t)outputs + 1, sizeof *made.outputs);
  for (int i = 0; i < inputs; ++i) made.inputs[i] = aligned(model->input_bytes(i));
  for (int i = 0; i < outputs; ++i) made.outputs[i] = aligned(model->output_bytes(i));
  made.workspace = aligned(model->workspace_size());
  made.dimensions = NULL;
  return made;
}

static int run_once(const model_api *model, const buffers *with) {
  if (!with->dimensions) return model->run(with->inputs, with->outputs, with->workspace);
  return ((runs_at_sizes *)model->run)(with->inputs, with->outputs, with->workspace, with->dimensions);
}

/* So many numbers of a file; exits where it has not as many. */
static int64_t *numbers(FILE *file, const char *name, size_t count) {
  int64_t *found = calloc(count + 1, sizeof *found);
  if (fread(found, sizeof *found, count, file) != count) exit(fail("is too short", name));
  return found;
}

/* Runs so often and so long; writes the nanoseconds of each run, and returns how many there were; 0: the model failed. */
static int timed(const model_api *model, const buffers *with, int runs, double seconds, uint64_t *nanoseconds) {
  uint64_t end = now() + (uint64_t)(seconds * 1e9);
  int done = 0;
  while (done < MOST_RUNS && (done < runs || now() < end)) {
    uint64_t before = now();
    int status = run_once(model, with);
    nanoseconds[done++] = now() - before;
    if (status) {
      fprintf(stderr, "the model returned %d\n", status);
      return 0;
    }
  }
  return done;
}

/* Runs a model on prepared buffers; 0, or what the process ends with. */
typedef int runs_model(const model_api *model, const buffers *with, char **arguments);

static int run_and_print(const model_api *model, const buffers *with, char **arguments) {
  int runs = atoi(arguments[2]);
  uint64_t *nanoseconds = calloc(MOST_RUNS, sizeof *nanoseconds);
  int done = timed(model, with, runs < 1 ? 1 : runs, atof(arguments[3]), nanoseconds);
  for (int i = 0; i < done; ++i) printf("%llu\n", (unsigned long long)nanoseconds[i]);
  return done ? 0 : 2;
}

/* INPUTS OUTPUTS RUNS SECONDS THREADS */
static int serve(const model_api *model, char **arguments, runs_model *run) {
  buffers with = prepared(model);
  FILE *file = fopen(arguments[0], "rb");
  if (!file) return fail("cannot be read", arguments[0]);
  int inputs = model->num_inputs(), outputs = model->num_outputs();
  int64_t *count = numbers(file, arguments[0], 1);
  int64_t *dimensions = numbers(file, arguments[0], (size_t)*count);
  if (*count) with.dimensions = dimensions;
  int64_t *sizes = numbers(file, arguments[0], (size_t)(inputs + outputs));
  int64_t *is_state = numbers(file, arguments[0], (size_t)inputs);
  for (int i = 0; i < inputs; ++i) {
    size_t bytes = (size_t)sizes[i];
    if (bytes > model->input_bytes(i)) return fail("has an input that is too large", arguments[0]);
    if (fread((void *)(uintptr_t)with.inputs[i], 1, bytes, file) != bytes) return fail("is too short", arguments[0]);
  }
  fclose(file);
  int threads = atoi(arguments[4]);
  if (threads && model->set_num_threads) model->set_num_threads(threads);
  int failed = run(model, &with, arguments);
  if (failed) return failed;
  file = fopen(arguments[1], "wb");
  if (!file) return fail("cannot be written", arguments[1]);
  for (int i = 0; i < outputs; ++i) {
    size_t bytes = (size_t)sizes[inputs + i];
    if (bytes > model->output_bytes(i)) return fail("has an output that is too large", arguments[0]);
    if (fwrite(with.outputs[i], 1, bytes, file) != bytes) return fail("cannot be written", arguments[1]);
  }
  for (int i = 0; i < inputs; ++i) {
    size_t bytes = is_state[i] ? (size_t)sizes[i] : 0;
    if (fwrite(with.inputs[i], 1, bytes, file) != bytes) return fail("cannot be written", arguments[1]);
  }
  if (fclose(file)) return fail("cannot be written", arguments[1]);
  return 0;
}

#ifdef TILEWRIGHT_BENCH
#include "self_check.c"
#else
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

enum { HEADER = 2, MOST_ROUNDS = 60, STANDS_STILL = 3 };

static volatile uint64_t *progress; /* the numbers of TIMES */
static size_t progress_steps;
static int still_seconds;

/* Each second: ends the process when no step has ended for too long. */
static void look(int signal) {
  static uint64_t before;
  static int unchanged;
  (void)signal;
  uint64_t done = progress[1] * (progress_steps + 1);
  for (size_t i = 0; i < progress_steps; ++i) done += progress[HEADER + progress[1] * progress_steps + i] != 0;
  unchanged = done == before ? unchanged + 1 : 0;
  before = done;
  if (unchanged >= still_seconds) _exit(STANDS_STILL);
}

typedef int profile_entry(const void *const[], void *const[], void *, uint64_t *, size_t);
typedef int profile_at_sizes(const void *const[], void *const[], void *, const int64_t[], uint64_t *, size_t);

/* ... TIMES OFFSET STEPS STILL */
static int run_by_steps(const model_api *model, const buffers *with, char **arguments) {
  profile_entry *entry = (profile_entry *)((intptr_t)model->run + (intptr_t)atoll(arguments[6]));
  progress_steps = (size_t)atoll(arguments[7]);
  still_seconds = atoi(arguments[8]);
  size_t bytes = (HEADER + (MOST_ROUNDS + 1) * progress_steps) * sizeof(uint64_t);
  int file = open(arguments[5], O_RDWR | O_CREAT | O_TRUNC, 0600);
  if (file < 0 || ftruncate(file, (off_t)bytes)) return fail("cannot be written", arguments[5]);
  progress = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (progress == MAP_FAILED) return fail("cannot be mapped", arguments[5]);
  signal(SIGALRM, look);
  struct itimerval each_second = {{1, 0}, {1, 0}};
  setitimer(ITIMER_REAL, &each_second, NULL);
  uint64_t rounds = 0, least = (uint64_t)atoi(arguments[2]), end = now() + (uint64_t)(atof(arguments[3]) * 1e9);
  while (rounds < MOST_ROUNDS && (rounds < least || now() < end)) {
    uint64_t *times = (uint64_t *)progress + HEADER + rounds * progress_steps;
    progress[0] = 1;
    int status = with->dimensions ? ((profile_at_sizes *)entry)(with->inputs, with->outputs, with->workspace,
                                                                with->dimensions, times, progress_steps)
                                  : entry(with->inputs, with->outputs, with->workspace, times, progress_steps);
    progress[0] = 0;
    progress[1] = ++rounds;
    if (status) {
      fprintf(stderr, "the model returned %d\n", status);
      return 2;
    }
  }
  return 0;
}

/* NAME_function; exits where the library has none and it must have. */
static void *found(void *library, const char *name, const char *function, int is_needed) {
  char symbol[MOST_LETTERS];
  snprintf(symbol, sizeof symbol, "%s_%s", name, function);
  void *address = dlsym(library, symbol);
  if (!address && is_needed) exit(fail("the library has no such function", symbol));
  return address;
}

int main(int count, char **arguments) {
  if (count != 8 && count != 12) return fail("usage", "LIBRARY NAME INPUTS OUTPUTS RUNS SECONDS THREADS");
  void *library = dlopen(arguments[1], RTLD_NOW);
  if (!library) return fail("the library cannot be loaded", dlerror());
  model_api model;
#define FIND(function, is_needed) *(void **)&model.function = found(library, arguments[2], #function, is_needed)
  FIND(run, 1), FIND(num_inputs, 1), FIND(num_outputs, 1), FIND(workspace_size, 1);
  FIND(input_bytes, 1), FIND(output_bytes, 1), FIND(set_num_threads, 0);
  return serve(&model, arguments + 3, count == 8 ? run_and_print : run_by_steps);
}
#endif
