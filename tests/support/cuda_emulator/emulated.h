/* Kernels in CUDA C++ on a processor: what nvcc knows by itself, for g++. Included before a file of kernels.
 *
 * A block's threads run one after the other. Where a function has barriers, each is a fiber that goes on when all have
 * come there. TILEWRIGHT_EMULATOR_ORDER=reverse begins with the last thread: what depends on the order lacks a barrier.
 */
#pragma once
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include <vector>

struct emulated_place {
  unsigned x, y, z;
};
static emulated_place blockIdx, threadIdx, blockDim, gridDim;

#define __global__
#define __device__
#define __shared__ static
#define __launch_bounds__(most)
#define __align__(bytes) __attribute__((aligned(bytes)))

namespace emulated {

struct fiber {
  ucontext_t context;
  jmp_buf place;
  emulated_place thread;
  bool started, done;
  std::vector<char> stack;
};
static std::vector<fiber> fibers;
static fiber *running;
static jmp_buf scheduler;
static ucontext_t home;
static void (*body)(void **);
static void **arguments;

static void enter() {
  body(arguments);
  running->done = true;
  _longjmp(scheduler, 1);
}

static void step(fiber &each) {
  running = &each;
  threadIdx = each.thread;
  if (_setjmp(scheduler)) return;
  if (each.started) _longjmp(each.place, 1);
  each.started = true;
  swapcontext(&home, &each.context);
}

static void wait() {
  if (!_setjmp(running->place)) _longjmp(scheduler, 1);
}

static void run_block(bool waits, bool backwards) {
  const unsigned count = blockDim.x * blockDim.y * blockDim.z;
  auto place = [&](unsigned number) {
    if (backwards) number = count - 1 - number;
    return emulated_place{number % blockDim.x, number / blockDim.x % blockDim.y, number / (blockDim.x * blockDim.y)};
  };
  if (!waits) {
    for (unsigned number = 0; number < count; ++number) {
      threadIdx = place(number);
      body(arguments);
    }
    return;
  }
  if (fibers.size() < count) fibers.resize(count);
  for (unsigned number = 0; number < count; ++number) {
    fiber &each = fibers[number];
    each.stack.resize(1 << 16);
    each.started = each.done = false;
    each.thread = place(number);
    getcontext(&each.context);
    each.context.uc_stack.ss_sp = each.stack.data();
    each.context.uc_stack.ss_size = each.stack.size();
    each.context.uc_link = nullptr;
    makecontext(&each.context, enter, 0);
  }
  for (bool all_done = false; !all_done;) {
    unsigned ended = 0;
    for (unsigned number = 0; number < count; ++number)
      if (!fibers[number].done) {
        step(fibers[number]);
        ended += fibers[number].done;
      } else {
        ++ended;
      }
    all_done = ended == count;
    if (!all_done && ended) {
      fprintf(stderr, "some threads of a block wait for others that have ended\n");
      abort();
    }
  }
}

static void launch(void (*function)(void **), void **given, const unsigned *size, bool waits) {
  const char *order = getenv("TILEWRIGHT_EMULATOR_ORDER");
  const bool backwards = order && !strcmp(order, "reverse");
  body = function;
  arguments = given;
  gridDim = {size[0], size[1], size[2]};
  blockDim = {size[3], size[4], size[5]};
  for (unsigned z = 0; z < size[2]; ++z)
    for (unsigned y = 0; y < size[1]; ++y)
      for (unsigned x = 0; x < size[0]; ++x) {
        blockIdx = {x, y, z};
        run_block(waits, backwards);
      }
}

}  // namespace emulated

static inline void __syncthreads() { emulated::wait(); }
