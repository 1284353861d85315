/* Runs a compiled model from C: inputs from raw files, one a file, in the order of model.h; outputs printed.
 *
 *     make                       compiles the digits model, this program, and a raw input; runs it
 *     ./run input.bin [...]
 *
 * Works with any model compiled with `--name model` whose outputs are float32.
 */
#include <stdio.h>
#include <stdlib.h>

#include "model.h"

static const size_t input_bytes[] = model_INPUTS_BYTES;
static const size_t output_bytes[] = model_OUTPUTS_BYTES;

/* Memory whose address is a multiple of the workspace's alignment; its size is rounded up, as aligned_alloc asks. */
static void *allocate(size_t bytes) {
  size_t unit = model_WORKSPACE_ALIGNMENT;
  void *memory = aligned_alloc(unit, (bytes / unit + 1) * unit);
  if (!memory) {
    fprintf(stderr, "out of memory\n");
    exit(1);
  }
  return memory;
}

static void *read_file(const char *path, size_t bytes) {
  void *data = allocate(bytes);
  FILE *file = fopen(path, "rb");
  if (!file) {
    perror(path);
    exit(1);
  }
  if (fread(data, 1, bytes, file) != bytes || fgetc(file) != EOF) {
    fprintf(stderr, "%s: should hold %zu bytes\n", path, bytes);
    exit(1);
  }
  fclose(file);
  return data;
}

int main(int argc, char **argv) {
  const void *inputs[model_NUM_INPUTS + 1];
  void *outputs[model_NUM_OUTPUTS + 1];
  if (argc != 1 + model_NUM_INPUTS) {
    fprintf(stderr, "usage: %s with %d files of raw input\n", argv[0], model_NUM_INPUTS);
    return 2;
  }
  for (int i = 0; i < model_NUM_INPUTS; ++i) inputs[i] = read_file(argv[1 + i], input_bytes[i]);
  for (int i = 0; i < model_NUM_OUTPUTS; ++i) outputs[i] = allocate(output_bytes[i]);
  void *workspace = allocate(model_WORKSPACE_BYTES);

  int status = model_run(inputs, outputs, workspace);
  if (status != model_OK) {
    fprintf(stderr, "model_run failed with code %d\n", status);
    return 1;
  }

  for (int i = 0; i < model_NUM_OUTPUTS; ++i) {
    const float *values = outputs[i];
    for (size_t j = 0; j < output_bytes[i] / sizeof *values; ++j) printf("%.9g\n", (double)values[j]);
    free(outputs[i]);
  }
  for (int i = 0; i < model_NUM_INPUTS; ++i) free((void *)inputs[i]);
  free(workspace);
  return 0;
}
