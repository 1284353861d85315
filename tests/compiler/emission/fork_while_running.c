/* Forks without the handlers of pthread_atfork while other threads run the model: each child must run it and end. */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net.h"

enum { CALLERS = 3, CHILDREN = 60, ALARM_SECONDS = 20 };

static float input[net_BYTES_INPUT_x / sizeof(float)], expected[net_BYTES_OUTPUT_y0 / sizeof(float)];
static unsigned char workspaces[CALLERS + 1][net_WORKSPACE_BYTES] __attribute__((aligned(net_WORKSPACE_ALIGNMENT)));
static atomic_int stop;

static int run(int caller, float *output) {
  const void *inputs[] = {input};
  void *outputs[] = {output};
  return net_run(inputs, outputs, workspaces[caller]);
}

static void *call(void *caller) {
  float output[sizeof expected / sizeof *expected];
  while (!atomic_load(&stop)) run((int)(size_t)caller, output);
  return NULL;
}

int main(void) {
  pthread_t threads[CALLERS];
  int wrong = 0;
  for (size_t i = 0; i < sizeof input / sizeof *input; ++i) input[i] = (float)i / 50 - 1;
  net_set_num_threads(4);
  if (run(CALLERS, expected)) return 2;
  for (size_t i = 0; i < CALLERS; ++i) pthread_create(&threads[i], NULL, call, (void *)i);
  for (int i = 0; i < CHILDREN; ++i) {
    /* As fork, but without its handlers; glibc's _Fork is the same. */
    pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (!child) {
      float output[sizeof expected / sizeof *expected];
      alarm(ALARM_SECONDS);
      if (i % 3 == 0) exit(0); /* runs the library's destructor */
      if (i % 3 == 1) net_set_num_threads(2);
      if (run(CALLERS, output) || memcmp(output, expected, sizeof output)) _exit(1);
      exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    wrong += status != 0;
  }
  atomic_store(&stop, 1);
  for (size_t i = 0; i < CALLERS; ++i) pthread_join(threads[i], NULL);
  printf("%d\n", wrong);
  return 0;
}
