/* The threads of a compiled library, as an object that knows nothing of it but `tilewright_thread_limits`, which the
 * library defines. Needs TILEWRIGHT_MAX_THREADS and TILEWRIGHT_PAUSE, as thread_pool.c does. */
#define _GNU_SOURCE /* sched_getaffinity, CPU_COUNT */
#include "threads.h"

extern const thread_limits tilewright_thread_limits __attribute__((visibility("hidden")));
#define TILEWRIGHT_DEFAULT_THREADS tilewright_thread_limits.default_threads
#define TILEWRIGHT_SHARING tilewright_thread_limits.sharing

#include "thread_pool.c"

/* Kernels reach the pool through this. */
typedef int (*launch_hook)(pool_task, void *, int);
extern launch_hook __TVMBackendParallelLaunch __attribute__((visibility("hidden")));

#include "simulation.c"

#ifdef _WIN32 /* kernels have the variable, too, and the linker takes any one */
__attribute__((selectany)) launch_hook __TVMBackendParallelLaunch = NULL;
__attribute__((constructor)) static void launch_load(void) { __TVMBackendParallelLaunch = pool_launch; }
#else
launch_hook __TVMBackendParallelLaunch = pool_launch;
#endif

extern const thread_functions tilewright_thread_functions __attribute__((visibility("hidden")));
const thread_functions tilewright_thread_functions = {
    .begin = pool_begin,
    .end = pool_end,
    .share = pool_share,
    .set_threads = pool_set_threads,
    .roll_call = roll_call,
    .simulation_begin = simulation_begin,
    .simulation_share = simulation_share,
    .simulation_step = simulation_step,
    .simulation_end = simulation_end,
    .simulation_hand_off = simulation_hand_off,
};
