/* What the generated library.c knows of the threads: threads.c is an object of its own, the same for all libraries.
 *
 * Its two symbols, and the launch hook of kernels, get a name of the library's own once it is compiled, so that several
 * libraries in one program have a pool each. */
#ifndef TILEWRIGHT_THREADS_H
#define TILEWRIGHT_THREADS_H

#include <stddef.h>
#include <stdint.h>

typedef struct { void *sync_handle; int32_t num_task; } pool_group;
typedef int (*pool_task)(int task_id, pool_group *group, void *data);

/* A simulation of one run; simulation.c says what it writes. */
typedef struct {
  uint64_t *stream;
  size_t room, used; /* `used` counts what there was no room for as well */
  int threads, sharing, is_in_task; /* of all, and of the kernel */
  uint64_t begin, launches; /* of the step: when it began, and the nanoseconds of its launches */
} simulation;

/* thread_pool.c and simulation.c say what each does. */
typedef struct {
  void (*begin)(void);
  void (*end)(void);
  void (*share)(int threads);
  int (*set_threads)(int threads);
  void (*roll_call)(int threads);
  void (*simulation_begin)(simulation *run, int threads, uint64_t *stream, size_t room);
  void (*simulation_share)(void *run, int threads);
  void (*simulation_step)(void *run, size_t step);
  size_t (*simulation_end)(simulation *run);
  int (*simulation_hand_off)(uint64_t *nanoseconds, size_t room);
} thread_functions;

/* Of one library: the threads to use when nobody says otherwise, or 0 for the processors available, and the most that
 * share one kernel. */
typedef struct { int default_threads, sharing; } thread_limits;

#endif
