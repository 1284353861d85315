/* Kernels in CUDA C++ on a processor: what nvcc knows by itself, for g++. Included before a file of kernels.
 *
 * A block's threads run one after the other. Where a function has barriers, or instructions of a warp, each is a fiber
 * that goes on when all have come there. TILEWRIGHT_EMULATOR_ORDER=reverse begins with the last thread: what depends on
 * the order lacks a barrier.
 */
#pragma once
#include <math.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include <map>
#include <tuple>
#include <utility>
#include <vector>

struct emulated_place {
  unsigned x, y, z;
};
static emulated_place blockIdx, threadIdx, blockDim, gridDim;

#define __global__
#define __device__
#define __shared__ static
#define __launch_bounds__(most)
#define __grid_constant__
#define __align__(bytes) __attribute__((aligned(bytes)))

namespace emulated {

enum { RUNS, AT_BARRIER, IN_WARP, DONE };
struct copy {
  void *to;
  const void *from;
  int bytes, size;
};
struct fiber {
  ucontext_t context;
  jmp_buf place;
  emulated_place thread;
  bool started;
  int state;
  unsigned number;
  std::vector<char> stack;
  /* What it does together with its warp. */
  void (*executes)(void **);
  void *given;
  /* Copies on the way: groups of them, the last one still open. */
  std::vector<std::vector<copy>> copies;
};
static std::vector<fiber> fibers;
static fiber *running;
static jmp_buf scheduler;
static ucontext_t home;
static void (*body)(void **);
static bool backwards; /* whether threads run in the opposite order */
static void **arguments;

static void fail(const char *why) {
  fprintf(stderr, "%s\n", why);
  abort();
}

static void enter() {
  body(arguments);
  running->state = DONE;
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

static void wait(int state = AT_BARRIER) {
  running->state = state;
  if (!_setjmp(running->place)) _longjmp(scheduler, 1);
}

/* Runs what all lanes of a warp do with one instruction when the last of them comes to it. */
static void together(void (*executes)(void **), void *given) {
  const unsigned first = running->number / 32 * 32, count = blockDim.x * blockDim.y * blockDim.z;
  if (first + 32 > count) fail("a warp is not whole");
  running->executes = executes;
  running->given = given;
  running->state = IN_WARP;
  void *lanes[32];
  for (unsigned lane = 0; lane < 32; ++lane) {
    const fiber &other = fibers[first + lane];
    if (other.state != IN_WARP) {
      wait(IN_WARP);
      return;
    }
    if (other.executes != executes) fail("the lanes of a warp are at different instructions");
    lanes[lane] = other.given;
  }
  executes(lanes);
  for (unsigned lane = 0; lane < 32; ++lane) fibers[first + lane].state = RUNS;
}

static void forget_tiles_and_products();

static void run_block(bool waits) {
  const unsigned count = blockDim.x * blockDim.y * blockDim.z;
  auto turn = [&](unsigned number) { return backwards ? count - 1 - number : number; };
  auto place = [&](unsigned number) {
    return emulated_place{number % blockDim.x, number / blockDim.x % blockDim.y, number / (blockDim.x * blockDim.y)};
  };
  if (!waits) {
    for (unsigned number = 0; number < count; ++number) {
      threadIdx = place(turn(number));
      body(arguments);
    }
    return;
  }
  if (fibers.size() < count) fibers.resize(count);
  for (unsigned number = 0; number < count; ++number) {
    fiber &each = fibers[number];
    each.stack.resize(1 << 16);
    each.started = false;
    each.state = RUNS;
    each.number = number;
    each.thread = place(number);
    each.copies.assign(1, {});
    getcontext(&each.context);
    each.context.uc_stack.ss_sp = each.stack.data();
    each.context.uc_stack.ss_size = each.stack.size();
    each.context.uc_link = nullptr;
    makecontext(&each.context, enter, 0);
  }
  for (;;) {
    unsigned ran = 0, done = 0, stopped = 0;
    for (unsigned number = 0; number < count; ++number) {
      fiber &each = fibers[turn(number)];
      if (each.state == RUNS) step(each), ++ran;
      done += each.state == DONE;
      stopped += each.state == AT_BARRIER;
    }
    if (done == count) return;
    if (ran) continue;
    if (done) fail("some threads of a block wait for others that have ended");
    if (stopped < count) fail("some lanes of a warp wait for others that do not come");
    for (unsigned number = 0; number < count; ++number) fibers[number].state = RUNS;
  }
}

static void launch(void (*function)(void **), void **given, const unsigned *size, bool waits) {
  const char *order = getenv("TILEWRIGHT_EMULATOR_ORDER");
  backwards = order && !strcmp(order, "reverse");
  body = function;
  arguments = given;
  gridDim = {size[0], size[1], size[2]};
  blockDim = {size[3], size[4], size[5]};
  for (unsigned z = 0; z < size[2]; ++z)
    for (unsigned y = 0; y < size[1]; ++y)
      for (unsigned x = 0; x < size[0]; ++x) {
        blockIdx = {x, y, z};
        run_block(waits);
        forget_tiles_and_products();
      }
}

}  // namespace emulated

static inline void __syncthreads() { emulated::wait(); }

#include "instructions.h"
#include "warp_groups.h"
