/* Runs the library of net.h many times: prints how much the heap and the process grew in bytes, and whether the outputs
 * of all runs were the same bits. */
#define _GNU_SOURCE
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net.h"

static long resident_bytes(void) {
  long total, resident;
  FILE *file = fopen("/proc/self/statm", "r");
  if (!file || fscanf(file, "%ld %ld", &total, &resident) != 2) abort();
  fclose(file);
  return resident * sysconf(_SC_PAGESIZE);
}

int main(int argc, char **argv) {
  static const size_t input_bytes[] = net_INPUTS_BYTES, output_bytes[] = net_OUTPUTS_BYTES;
  const void *inputs[net_NUM_INPUTS];
  void *outputs[net_NUM_OUTPUTS], *expected[net_NUM_OUTPUTS];
  int runs = argc > 1 ? atoi(argv[1]) : 1000, same = 1;
  for (int i = 0; i < net_NUM_INPUTS; ++i) inputs[i] = calloc(1, input_bytes[i]);
  for (int i = 0; i < net_NUM_OUTPUTS; ++i) outputs[i] = malloc(output_bytes[i]), expected[i] = malloc(output_bytes[i]);
  void *workspace = aligned_alloc(net_WORKSPACE_ALIGNMENT, net_WORKSPACE_BYTES + net_WORKSPACE_ALIGNMENT);
  for (int run = 0; run < 20; ++run) /* threads start, stacks are touched */
    if (net_run(inputs, outputs, workspace)) return 1;
  for (int i = 0; i < net_NUM_OUTPUTS; ++i) memcpy(expected[i], outputs[i], output_bytes[i]);
  resident_bytes(); /* fopen's own buffers */
  size_t heap = mallinfo2().uordblks;
  long resident = resident_bytes();
  for (int run = 0; run < runs; ++run) {
    for (int i = 0; i < net_NUM_OUTPUTS; ++i) memset(outputs[i], run, output_bytes[i]);
    memset(workspace, run, net_WORKSPACE_BYTES);
    if (net_run(inputs, outputs, workspace)) return 1;
    for (int i = 0; i < net_NUM_OUTPUTS; ++i) same &= !memcmp(expected[i], outputs[i], output_bytes[i]);
  }
  printf("%ld %ld %d\n", (long)(mallinfo2().uordblks - heap), resident_bytes() - resident, same);
  return 0;
}
