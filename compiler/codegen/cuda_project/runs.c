/* Runs of a model on GPUs. A context has the code and the weights once; a run has memory, and a graph of its launches.
 *
 * A run that is done is used again. So there are as many as there ever were at a time, and nothing is allocated by a run
 * that takes the place of another. Graphs hold addresses: those of tensors in the GPU's memory as they were given, and
 * those of the run's own copies of all others.
 */
#include <stdlib.h>
#include <string.h>

enum { TENSORS = NUM_INPUTS + NUM_OUTPUTS, ALIGNED = 16, MEMORY_ALIGNMENT = 256, PARAMETERS_AT_MOST = 1 << 9, GRAPHS = 8 };

/* Launches that are replayed, and what they hold: addresses, and the dimensions of the call. */
typedef struct graph {
  handle instance;
  address tensors[TENSORS + 1];
  int64_t dimensions[NUM_DIMENSIONS + 1];
} graph;

typedef struct run {
  struct run *next;
  struct context *of;
  address arena, copies;      /* memory of the plan, and of the tensors that were not given in the GPU's memory */
  int is_callers;             /* whether the arena is */
  int is_busy;                /* whether a thread prepares it */
  handle stream, done, last;  /* its own stream; when it is done, and the stream of the last run */
  int is_pending;
  address tensors[TENSORS + 1];
  int64_t dimensions[NUM_DIMENSIONS + 1];
  graph graphs[GRAPHS], timed;    /* for the last few calls that differed; one with events around every step */
  int next_graph;                 /* that is captured anew */
  enum { UNTIMED, ONE_BY_ONE, IN_GRAPH } timing;
  handle events[NUM_LEAVES + 1];  /* before the first step, and behind each; made when times are asked for */
} run;

typedef struct context {
  struct context *next;
  handle driver;
  handle functions[NUM_FUNCTIONS + 1];
  address weights;
  unsigned begins_early; /* whether grids begin before those before them have ended, and wait for them */
  run *runs;
} context;

static context *contexts;

#define TRY(call, what) \
  do { \
    int result_ = (call); \
    if (result_) return failed(ERROR_DEVICE, result_, what); \
  } while (0)

static int steps(run *r, handle stream, uint64_t *nanoseconds);

#include "launches.c"

/* Whether grids may begin early: on GPUs from the H100 on, and in graphs from this driver on. Kernels wait by themselves
 * for all that was launched before them. */
static unsigned may_begin_early(void) {
  enum { H100 = 9, OF_GRAPHS = 12030 };
  int device = 0, generation = 0, version = 0;
  if (cu.device(&device) || cu.attribute(&generation, GENERATION, device) || cu.version(&version)) return 0;
  return generation >= H100 && version >= OF_GRAPHS;
}

/* The code and the weights for the context of this thread; under the lock. */
static int find_context(context **found) {
  handle driver = NULL;
  TRY(cu.current(&driver), "there is no context");
  for (*found = contexts; *found; *found = (*found)->next)
    if ((*found)->driver == driver) return OK;
  context *made = calloc(1, sizeof *made);
  if (!made) return fail(ERROR_DEVICE, "there is no memory left");
  made->driver = driver;
  made->begins_early = may_begin_early();
  for (int m = 0; m < NUM_MODULES; ++m) {
    handle module = NULL;
    int result = cu.load(&module, module_code[m]);
    if (result == NO_CODE) {
      free(made);
      return fail(ERROR_CPU, "this GPU is none of those that the library was compiled for: " ARCHITECTURES);
    }
    for (int f = module_first[m]; !result && f < module_first[m + 1]; ++f) {
      result = cu.function(&made->functions[f], module, function_names[f]);
      if (!result && function_shared[f]) result = cu.set(made->functions[f], MOST_SHARED, (int)function_shared[f]);
    }
    if (result) {
      free(made);
      return failed(ERROR_DEVICE, result, "the kernels cannot be loaded");
    }
  }
  if (WEIGHTS_BYTES) {
    int result = cu.allocate(&made->weights, WEIGHTS_BYTES);
    if (!result) result = cu.upload(made->weights, weights_address, WEIGHTS_BYTES);
    if (result) {
      free(made);
      return failed(ERROR_DEVICE, result, "the weights cannot be copied to the GPU");
    }
  }
  made->next = contexts;
  contexts = *found = made;
  return OK;
}

/* Whether a run may be used by who launches into a stream: behind the run before, or because that one is done. */
static int is_free(const run *r, const void *stream) {
  return !r->is_busy && (!r->is_pending || r->last == stream || !cu.is_done(r->done));
}

/* Whether a graph of a run's is one for these tensors, 0 those of which it has copies, and dimensions. */
static int fits(const run *r, const graph *of, const address tensors[], const int64_t dimensions[]) {
  for (int i = 0; i < TENSORS; ++i)
    if (of->tensors[i] != (tensors[i] ? tensors[i] : r->copies + copy_offsets[i])) return 0;
  for (int i = 0; i < NUM_DIMENSIONS; ++i)
    if (of->dimensions[i] != dimensions[i]) return 0;
  return of->instance != NULL;
}

/* The graph of a run for these; NULL: none was captured. */
static graph *find_graph(run *r, const address tensors[], const int64_t dimensions[]) {
  for (int i = 0; i < GRAPHS; ++i)
    if (fits(r, &r->graphs[i], tensors, dimensions)) return &r->graphs[i];
  return NULL;
}

static int make_run(context *of, address arena, run **made) {
  run *r = calloc(1, sizeof *r);
  if (!r) return fail(ERROR_DEVICE, "there is no memory left");
  r->of = of;
  r->arena = arena;
  r->is_callers = arena != 0;
  int result = cu.new_stream(&r->stream, NO_BARRIERS);
  if (!result) result = cu.new_event(&r->done, NO_TIMES);
  if (!result && !arena && WORKSPACE_BYTES) result = cu.allocate(&r->arena, WORKSPACE_BYTES);
  if (!result && COPIES_BYTES) result = cu.allocate(&r->copies, COPIES_BYTES);
  if (result) {
    free(r);
    return failed(ERROR_DEVICE, result, "there is no memory for a run on the GPU");
  }
  r->next = of->runs;
  of->runs = *made = r;
  return OK;
}

/* A run that nobody uses, one with a graph for such a call first; under the lock. Who waits for the end has a stream
 * of the run's, which is none that another run can be behind: the address of the lock. */
static int take_run(context *of, address arena, const void *stream, const address tensors[], const int64_t dimensions[], run **taken) {
  run *fitting = NULL;
  for (run *r = of->runs; r; r = r->next) {
    if (arena ? r->arena != arena || r->is_busy : r->is_callers || !is_free(r, stream)) continue;
    if (!fitting || find_graph(r, tensors, dimensions)) fitting = r;
  }
  if (!fitting) {
    int status = make_run(of, arena, &fitting);
    if (status) return status;
  }
  fitting->is_busy = 1;
  *taken = fitting;
  return OK;
}

static int capture(run *r, graph *made) {
  if (r->is_pending) TRY(cu.await(r->done), "a run failed"); /* nothing may run of a graph that goes */
  if (made->instance) cu.drop_instance(made->instance);
  made->instance = NULL;
  TRY(cu.begin_capture(r->stream, CAPTURE_OF_THIS_THREAD), "a graph cannot be captured");
  int status = steps(r, r->stream, NULL);
  handle captured = NULL;
  int result = cu.end_capture(r->stream, &captured);
  if (!status && !result) {
    result = cu.instantiate(&made->instance, captured, 0);
    memcpy(made->tensors, r->tensors, sizeof made->tensors);
    memcpy(made->dimensions, r->dimensions, sizeof made->dimensions);
  }
  if (captured) cu.drop_graph(captured);
  return status ? status : result ? failed(ERROR_DEVICE, result, "a graph cannot be captured") : OK;
}

/* All steps, each timed. The first time they run one by one, so that who watches knows where a run stands; then as a
 * graph, whose launches wait for nothing but each other. */
static int timed_steps(run *r, handle stream, uint64_t *nanoseconds) {
  if (!fits(r, &r->timed, r->tensors, r->dimensions)) {
    for (int i = 0; i <= NUM_LEAVES; ++i)
      if (!r->events[i]) TRY(cu.new_event(&r->events[i], 0), "steps cannot be timed");
    r->timing = ONE_BY_ONE;
    int status = steps(r, stream, nanoseconds);
    r->timing = IN_GRAPH;
    if (!status && USES_GRAPH) status = capture(r, &r->timed);
    r->timing = UNTIMED;
    return status;
  }
  TRY(cu.replay(r->timed.instance, stream), "the graph cannot be launched");
  TRY(cu.wait(stream), "a step failed");
  for (int i = 0; i < NUM_LEAVES; ++i) {
    float milliseconds = 0;
    TRY(cu.between(&milliseconds, r->events[i], r->events[i + 1]), "a step cannot be timed");
    nanoseconds[i] = (uint64_t)((double)milliseconds * 1e6);
  }
  return OK;
}

static int is_on_device(const void *tensor) {
  int type = 0;
  return !cu.pointer(&type, MEMORY_TYPE, (address)(uintptr_t)tensor) && type == ON_DEVICE;
}

/* Where kernels find each tensor: where it is, or 0 for a copy. */
static void find_tensors(const void *const inputs[], void *const outputs[], address tensors[]) {
  for (int i = 0; i < TENSORS; ++i) {
    const void *tensor = i < NUM_INPUTS ? inputs[i] : outputs[i - NUM_INPUTS];
    int fits = tensor && (uintptr_t)tensor % ALIGNED == 0 && tensor_sizes[i] && is_on_device(tensor);
    tensors[i] = fits ? (address)(uintptr_t)tensor : 0;
  }
}

static int run_in(run *r, handle stream, const void *const inputs[], void *const outputs[], uint64_t *nanoseconds) {
  for (int i = 0; i < TENSORS; ++i)
    if (!r->tensors[i]) r->tensors[i] = r->copies + copy_offsets[i];
  if (r->is_pending && r->is_callers && r->last != stream) TRY(cu.await(r->done), "a run failed");
  graph *replayed = find_graph(r, r->tensors, r->dimensions);
  if (USES_GRAPH && !nanoseconds && !replayed) {
    replayed = &r->graphs[r->next_graph];
    r->next_graph = (r->next_graph + 1) % GRAPHS;
    int status = capture(r, replayed);
    if (status) return status;
  }
  for (int i = 0; i < NUM_INPUTS; ++i)
    if (r->tensors[i] == r->copies + copy_offsets[i] && tensor_sizes[i]) {
      int status = copy(stream, r->tensors[i], (address)(uintptr_t)inputs[i], bytes_of(i, r->dimensions));
      if (status) return status;
    }
  int status = OK;
  if (nanoseconds) {
    status = timed_steps(r, stream, nanoseconds);
  } else if (USES_GRAPH) {
    TRY(cu.replay(replayed->instance, stream), "the graph cannot be launched");
  } else {
    status = steps(r, stream, NULL);
  }
  for (int i = NUM_INPUTS; !status && i < TENSORS; ++i)
    if (r->tensors[i] == r->copies + copy_offsets[i] && tensor_sizes[i])
      status = copy(stream, (address)(uintptr_t)outputs[i - NUM_INPUTS], r->tensors[i], bytes_of(i, r->dimensions));
  if (status) return status;
  TRY(cu.record(r->done, stream), "a run cannot be followed");
  r->is_pending = 1;
  r->last = stream;
  return OK;
}

/* What a call is given. */
typedef struct call {
  const void *const *inputs;
  void *const *outputs;
  void *workspace;
  const int64_t *dimensions; /* none, or as many as there are */
} call;

/* One run, on a stream of the caller's or, where `waits`, on its own until it is done. */
static int run_once(const call *given, handle stream, int waits, uint64_t *nanoseconds) {
  address tensors[TENSORS + 1] = {0};
  context *of = NULL;
  run *r = NULL;
  handle current = NULL;
  int pushed = 0;
  pthread_mutex_lock(&lock);
  int status = find_driver(ERROR_DEVICE);
  if (!status && (cu.current(&current) || !current)) { /* the caller knows nothing of contexts */
    int device = 0, result = primary ? 0 : cu.get_device(&device, 0);
    if (!result && !primary) result = cu.retain(&primary, device);
    if (!result) result = cu.push(primary);
    if (result) status = failed(ERROR_DEVICE, result, "the GPU cannot be used");
    pushed = !status;
  }
  const void *workspace = given->workspace;
  if (!status && workspace && WORKSPACE_BYTES && ((uintptr_t)workspace % MEMORY_ALIGNMENT || !is_on_device(workspace)))
    status = fail(ERROR_WORKSPACE, "the workspace is not in the memory of the GPU, or not aligned");
  if (!status) status = find_context(&of);
  if (!status) {
    find_tensors(given->inputs, given->outputs, tensors);
    const address arena = WORKSPACE_BYTES ? (address)(uintptr_t)workspace : 0;
    status = take_run(of, arena, waits ? &lock : stream, tensors, given->dimensions, &r);
  }
  pthread_mutex_unlock(&lock);
  if (r) {
    memcpy(r->tensors, tensors, sizeof tensors);
    for (int i = 0; i < NUM_DIMENSIONS; ++i) r->dimensions[i] = given->dimensions[i];
    if (waits) stream = r->stream;
    status = run_in(r, stream, given->inputs, given->outputs, nanoseconds);
    if (waits) {
      int result = cu.wait(stream);
      if (!status && result) status = failed(ERROR_DEVICE, result, "a run failed");
      if (!status) r->is_pending = 0;
    }
    pthread_mutex_lock(&lock);
    r->is_busy = 0;
    pthread_mutex_unlock(&lock);
  }
  if (pushed) cu.pop(&current);
  return status;
}
