/* A model that checks and measures itself: included by device.c into the program of --emit bench.
 *
 * `self_check.h`, which is generated, names the model, its results and their kinds, and the tolerance; inputs and expected
 * results are data of the program. Results are the outputs, and then the states, which are inputs as a call leaves them.
 */
#include <math.h>

#include "self_check.h"

#define JOINED(a, b) a##b
#define NAMED(a, b) JOINED(a, b)
#define MODEL(function) NAMED(TILEWRIGHT_MODEL, function)

#ifdef TILEWRIGHT_DIMENSIONS /* the largest, for which the example is */
int MODEL(_run)(const void *const[], void *const[], void *, const int64_t[]);
static int64_t largest[] = TILEWRIGHT_DIMENSIONS;
#else
int MODEL(_run)(const void *const[], void *const[], void *);
static int64_t *const largest = NULL;
#endif
int MODEL(_num_inputs)(void);
int MODEL(_num_outputs)(void);
size_t MODEL(_workspace_size)(void);
size_t MODEL(_input_bytes)(int);
size_t MODEL(_output_bytes)(int);
#if TILEWRIGHT_THREADED
int MODEL(_set_num_threads)(int);
#endif
extern const unsigned char MODEL(_check_inputs_)[], MODEL(_check_outputs_)[];

/* Seconds that are measured, and runs at least; a run whose results are compared comes first. */
static const double MEASURED_SECONDS = 1.0;
enum { MEASURED_RUNS = 3 };

static double half_to_double(uint16_t bits) {
  int exponent = bits >> 10 & 31, sign = bits >> 15;
  double mantissa = bits & 1023, value;
  if (exponent == 31) {
    value = mantissa != 0 ? (double)NAN : (double)INFINITY;
  } else {
    value = exponent ? 1.0 + mantissa / 1024 : mantissa / 1024 * 2;
    for (; exponent > 15; --exponent) value *= 2;
    for (; exponent < 15; ++exponent) value /= 2;
  }
  return sign ? -value : value;
}

/* An element as a number: of kind f, d, h (float16) or b (bfloat16). */
static double element(const unsigned char *data, size_t i, char kind) {
  union { uint32_t bits; float value; } single;
  uint16_t half;
  double wide;
  switch (kind) {
    case 'f': memcpy(&single.value, data + 4 * i, 4); return (double)single.value;
    case 'd': memcpy(&wide, data + 8 * i, 8); return wide;
    case 'h': memcpy(&half, data + 2 * i, 2); return half_to_double(half);
    default: memcpy(&half, data + 2 * i, 2); single.bits = (uint32_t)half << 16; return (double)single.value;
  }
}

static double magnitude(double value) { return value < 0 ? -value : value; }

/* Compares an output with what is expected, shows it on a line, and returns whether it passes. */
static int agrees(const char *name, char kind, const unsigned char *got, const unsigned char *expected, size_t bytes) {
  if (kind == 'i') { /* integers and truth values: the same bytes */
    int same = !memcmp(got, expected, bytes);
    printf("output %s: %s\n", name, same ? "the same" : "DIFFERS");
    return same;
  }
  size_t count = bytes / (kind == 'd' ? 8 : kind == 'f' ? 4 : 2);
  double error = 0, largest = 0;
  int differs = 0;
  for (size_t i = 0; i < count; ++i) {
    double a = element(got, i, kind), b = element(expected, i, kind);
    if (a == b || (a != a && b != b)) { /* infinities and NaN, too */
      if (b == b && magnitude(b) < (double)INFINITY && magnitude(b) > largest) largest = magnitude(b);
      continue;
    }
    if (magnitude(b) < (double)INFINITY && magnitude(b) > largest) largest = magnitude(b);
    if (!(magnitude(a - b) < (double)INFINITY)) differs = 1;
    else if (magnitude(a - b) > error) error = magnitude(a - b);
  }
  differs |= error > TILEWRIGHT_TOLERANCE * largest;
  printf("output %s: max |error| %.3g, max |expected| %.3g: %s\n", name, error, largest, differs ? "DIFFERS" : "ok");
  return !differs;
}

static int by_size(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return (x > y) - (x < y);
}

static int check(const model_api *model) {
  buffers with = prepared(model);
  with.dimensions = largest;
  const unsigned char *data = MODEL(_check_inputs_), *expected = MODEL(_check_outputs_);
  for (int i = 0; i < model->num_inputs(); ++i) {
    memcpy((void *)(uintptr_t)with.inputs[i], data, model->input_bytes(i));
    data += model->input_bytes(i);
  }
  uint64_t *nanoseconds = calloc(MOST_RUNS, sizeof *nanoseconds);
  if (!timed(model, &with, 1, 0, nanoseconds)) return 2;
  int passed = 1, outputs = model->num_outputs();
  for (int i = 0; tilewright_kinds[i]; ++i) {
    int state = i < outputs ? 0 : tilewright_states[i - outputs];
    const void *result = i < outputs ? with.outputs[i] : with.inputs[state];
    size_t bytes = i < outputs ? model->output_bytes(i) : model->input_bytes(state);
    passed &= agrees(tilewright_names[i], tilewright_kinds[i], result, expected, bytes);
    expected += bytes;
  }
  int runs = timed(model, &with, MEASURED_RUNS, MEASURED_SECONDS, nanoseconds);
  if (!runs) return 2;
  qsort(nanoseconds, (size_t)runs, sizeof *nanoseconds, by_size);
  printf("%d runs: min %.3f ms, median %.3f ms, p90 %.3f ms\n", runs, (double)nanoseconds[0] / 1e6,
         (double)nanoseconds[runs / 2] / 1e6, (double)nanoseconds[runs * 9 / 10] / 1e6);
  puts(passed ? "PASSED" : "FAILED");
  return !passed;
}

int main(int count, char **arguments) {
  model_api model = {(int (*)(const void *const[], void *const[], void *))MODEL(_run), MODEL(_num_inputs), MODEL(_num_outputs), MODEL(_workspace_size),
                     MODEL(_input_bytes), MODEL(_output_bytes), NULL};
#if TILEWRIGHT_THREADED
  model.set_num_threads = MODEL(_set_num_threads);
#endif
  if (count == 6) return serve(&model, arguments + 1, run_and_print);
  if (count > 2) return fail("usage", "[THREADS], or INPUTS OUTPUTS RUNS SECONDS THREADS");
  if (count == 2 && model.set_num_threads) model.set_num_threads(atoi(arguments[1]));
  return check(&model);
}
