/* What stands in for NVIDIA's driver: memory, modules, streams, graphs and events, all of it done at once, on this machine.
 *
 * It refuses what a driver refuses: pointers of kernels that are not in its memory, graphs of calls that cannot be in one.
 * `emulator_counts` tells what was done, for tests.
 */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

typedef uint64_t address;
typedef void *handle;
enum { INVALID = 1, NO_DEVICE = 100, NOT_FOUND = 500, CAPTURING = 900 };

struct stream {
  bool captures = false;
  std::vector<std::function<int()>> graph;
};
struct kernel {
  int (*launch)(void **, const unsigned *);
  int parameters, maps, shared_bytes = 48 << 10;
};
struct emulator_counts {
  int64_t allocations, launches, captures, replays, uploads, copies, waits, orders, early, maps;
};

static std::recursive_mutex lock;
static std::map<address, size_t> memory;
static emulator_counts counts;
static stream default_stream;
static thread_local std::vector<handle> contexts; /* of this thread, the current one last */
static int context_of_device;
#define LOCKED std::lock_guard<std::recursive_mutex> guard(lock)
#define API extern "C" __attribute__((visibility("default")))

static stream &of(handle given) { return given ? *(stream *)given : default_stream; }

static bool is_memory(address where, size_t bytes) {
  auto next = memory.upper_bound(where);
  if (next == memory.begin()) return false;
  --next;
  return where + bytes <= next->first + next->second;
}

static int done(handle given, std::function<int()> work) {
  LOCKED;
  if (contexts.empty()) return 201;
  if (!of(given).captures) return work();
  of(given).graph.push_back(work);
  return 0;
}

API emulator_counts *emulator() { return &counts; }
API int cuInit(unsigned) { return getenv("TILEWRIGHT_EMULATOR_NO_DEVICE") ? NO_DEVICE : 0; }
API int cuDeviceGet(int *device, int number) { return *device = number, 0; }
API int cuDeviceGetName(char *name, int size, int) { return snprintf(name, size, "an emulated GPU"), 0; }
/* Of the GPU: what its architecture's number begins with. */
static int generation() {
  const char *given = getenv("TILEWRIGHT_EMULATOR_GENERATION");
  return given ? atoi(given) : 8;
}
API int cuDriverGetVersion(int *version) { return *version = 12040, 0; }
API int cuCtxGetDevice(int *device) { return *device = 0, 0; }
API int cuDevicePrimaryCtxRetain(handle *context, int) { return *context = &context_of_device, 0; }
API int cuDeviceGetAttribute(int *value, int attribute, int) {
  switch (attribute) {
    case 16: return *value = 2, 0;        /* multiprocessors */
    case 38: return *value = 1 << 18, 0;  /* bytes of the last cache */
    case 75: return *value = generation(), 0; /* the architecture's number, and what stands behind its dot */
    case 76: return *value = 0, 0;
  }
  return INVALID;
}
API int cuCtxGetCurrent(handle *context) { return *context = contexts.empty() ? nullptr : contexts.back(), 0; }
API int cuCtxSetCurrent(handle context) { return contexts.assign(1, context), 0; }
API int cuCtxPushCurrent_v2(handle context) { return contexts.push_back(context), 0; }
API int cuCtxPopCurrent_v2(handle *context) {
  if (contexts.empty()) return 201;
  return *context = contexts.back(), contexts.pop_back(), 0;
}
API int cuGetErrorString(int, const char **text) { return *text = "as the emulator says", 0; }

API int cuModuleLoadData(handle *module, const void *image) {
  /* The library's size is in its section headers' place. */
  const unsigned char *bytes = (const unsigned char *)image;
  if (memcmp(bytes, "\177ELF", 4)) return 209;
  uint64_t headers;
  uint16_t size, count;
  memcpy(&headers, bytes + 40, 8);
  memcpy(&size, bytes + 58, 2);
  memcpy(&count, bytes + 60, 2);
  const size_t total = headers + (size_t)size * count;
  const int file = memfd_create("kernels", 0);
  if (write(file, image, total) != (ssize_t)total) return INVALID;
  *module = dlopen(("/proc/self/fd/" + std::to_string(file)).c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!*module) fprintf(stderr, "%s\n", dlerror());
  return *module ? 0 : INVALID; /* the file stays open: its name must not come again */
}

API int cuModuleGetFunction(handle *function, handle module, const char *name) {
  const std::string base = name;
  void *launch = dlsym(module, (base + "_launch").c_str()), *number = dlsym(module, (base + "_parameters").c_str());
  void *maps = dlsym(module, (base + "_maps").c_str());
  if (!launch) return NOT_FOUND;
  *function = new kernel{(int (*)(void **, const unsigned *))launch, *(int *)number, *(int *)maps};
  return 0;
}

API int cuFuncSetAttribute(handle function, int attribute, int value) {
  if (attribute != 8 || value > 227 << 10) return INVALID;
  return ((kernel *)function)->shared_bytes = value, 0;
}

API int cuMemAlloc_v2(address *where, size_t bytes) {
  LOCKED;
  if (!bytes || of(nullptr).captures) return INVALID;
  void *found = aligned_alloc(256, (bytes + 255) / 256 * 256);
  memset(found, 0xff, bytes); /* NaN: who reads what nobody wrote is seen */
  memory[*where = (address)found] = bytes;
  ++counts.allocations;
  return 0;
}

API int cuMemFree_v2(address where) {
  LOCKED;
  if (!memory.erase(where)) return INVALID;
  free((void *)where);
  return 0;
}

API int cuMemcpyHtoD_v2(address to, const void *from, size_t bytes) {
  LOCKED;
  if (!is_memory(to, bytes)) return INVALID;
  memcpy((void *)to, from, bytes);
  ++counts.uploads;
  return 0;
}

API int cuMemcpyDtoH_v2(void *to, address from, size_t bytes) {
  LOCKED;
  if (!is_memory(from, bytes)) return INVALID;
  memcpy(to, (void *)from, bytes);
  return 0;
}

API int cuMemcpyAsync(address to, address from, size_t bytes, handle given) {
  return done(given, [=] {
    if (!is_memory(to, bytes) && !is_memory(from, bytes)) return (int)INVALID;
    memmove((void *)to, (void *)from, bytes);
    ++counts.copies;
    return 0;
  });
}

struct strided {
  size_t at_from[4];
  int from_kind;
  const void *from_host;
  address from;
  void *from_array, *reserved0;
  size_t from_row, from_rows, at_to[4];
  int to_kind;
  void *to_host;
  address to;
  void *to_array, *reserved1;
  size_t to_row, to_rows, row, rows, planes;
};

API int cuMemcpy3DAsync_v2(const strided *given, handle stream) {
  const strided each = *given;
  return done(stream, [=] {
    const bool fits = each.from_row >= each.row && each.to_row >= each.row && each.from_rows >= each.rows &&
                      each.to_rows >= each.rows && each.from_kind == 2 && each.to_kind == 2;
    const size_t from = ((each.planes - 1) * each.from_rows + each.rows - 1) * each.from_row + each.row;
    const size_t to = ((each.planes - 1) * each.to_rows + each.rows - 1) * each.to_row + each.row;
    if (!fits || !is_memory(each.from, from) || !is_memory(each.to, to)) return (int)INVALID;
    for (size_t plane = 0; plane < each.planes; ++plane)
      for (size_t row = 0; row < each.rows; ++row)
        memcpy((void *)(each.to + (plane * each.to_rows + row) * each.to_row),
               (void *)(each.from + (plane * each.from_rows + row) * each.from_row), each.row);
    ++counts.copies;
    return 0;
  });
}

API int cuMemcpyDtoHAsync_v2(void *to, address from, size_t bytes, handle given) {
  if (of(given).captures) return CAPTURING;
  return done(given, [=] {
    if (!is_memory(from, bytes)) return (int)INVALID;
    memcpy(to, (void *)from, bytes);
    return 0;
  });
}

API int cuMemsetD32Async(address to, unsigned value, size_t words, handle given) {
  return done(given, [=] {
    if (!is_memory(to, words * 4)) return (int)INVALID;
    for (size_t i = 0; i < words; ++i) ((uint32_t *)to)[i] = value;
    return 0;
  });
}

API int cuPointerGetAttribute(void *value, int attribute, address where) {
  LOCKED;
  if (attribute != 2 || !is_memory(where, 1)) return INVALID;
  *(int *)value = 2;
  return 0;
}

#include "maps.h"

struct launch_attribute {
  int kind, padding, value[16];
};
struct launch_config {
  unsigned blocks[3], threads[3], shared_bytes;
  handle stream;
  const launch_attribute *attributes;
  unsigned num_attributes;
};

API int cuLaunchKernelEx(const launch_config *config, handle function, void **parameters, void **) {
  for (unsigned i = 0; i < config->num_attributes; ++i) {
    if (generation() < 9 || config->attributes[i].kind != 6 || !config->attributes[i].value[0]) return INVALID;
    ++counts.early;
  }
  const unsigned *blocks = config->blocks, *threads = config->threads;
  const kernel *each = (kernel *)function;
  if (config->shared_bytes > (unsigned)each->shared_bytes) return INVALID;
  std::vector<address> values;
  const int addresses = each->parameters - each->maps;
  for (int i = 0; i < addresses; ++i) values.push_back(*(address *)parameters[i]);
  std::vector<tensor_map> maps;
  for (int i = addresses; i < each->parameters; ++i) maps.push_back(*(tensor_map *)parameters[i]);
  const std::vector<unsigned> size = {blocks[0], blocks[1], blocks[2], threads[0], threads[1], threads[2]};
  return done(config->stream, [=]() mutable {
    std::vector<void *> pointers;
    for (address &value : values) {
      if (!is_memory(value, 1)) {
        fprintf(stderr, "a kernel got an address that is not in the memory of the GPU\n");
        return (int)INVALID;
      }
      pointers.push_back(&value);
    }
    for (tensor_map &map : maps) pointers.push_back(&map);
    ++counts.launches;
    return each->launch(pointers.data(), size.data());
  });
}

API int cuLaunchKernel(handle function, unsigned bx, unsigned by, unsigned bz, unsigned tx, unsigned ty, unsigned tz,
                       unsigned shared_bytes, handle stream, void **parameters, void **) {
  const launch_config config = {{bx, by, bz}, {tx, ty, tz}, shared_bytes, stream, nullptr, 0};
  return cuLaunchKernelEx(&config, function, parameters, nullptr);
}

API int cuStreamCreate(handle *made, unsigned) { return *made = new stream, 0; }
API int cuStreamSynchronize(handle given) { return ++counts.waits, of(given).captures ? CAPTURING : 0; }

API int cuStreamBeginCapture_v2(handle given, int) {
  of(given).captures = true;
  of(given).graph.clear();
  ++counts.captures;
  return 0;
}

API int cuStreamEndCapture(handle given, handle *graph) {
  of(given).captures = false;
  *graph = new std::vector<std::function<int()>>(of(given).graph);
  return 0;
}

API int cuGraphInstantiateWithFlags(handle *made, handle graph, unsigned long long) {
  *made = new std::vector<std::function<int()>>(*(std::vector<std::function<int()>> *)graph);
  return 0;
}

API int cuGraphLaunch(handle graph, handle given) {
  ++counts.replays;
  return done(given, [=] {
    for (auto &each : *(std::vector<std::function<int()>> *)graph)
      if (int status = each()) return status;
    return 0;
  });
}

API int cuGraphDestroy(handle graph) { return delete (std::vector<std::function<int()>> *)graph, 0; }
API int cuGraphExecDestroy(handle graph) { return delete (std::vector<std::function<int()>> *)graph, 0; }
/* An event is the nanoseconds of its last record. */
API int cuEventCreate(handle *made, unsigned) { return *made = new int64_t(0), 0; }
API int cuEventDestroy_v2(handle event) { return delete (int64_t *)event, 0; }
API int cuEventRecordWithFlags(handle event, handle given, unsigned) {
  return done(given, [=] {
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    *(int64_t *)event = now.tv_sec * 1000000000ll + now.tv_nsec;
    return 0;
  });
}
API int cuEventRecord(handle event, handle given) {
  if (of(given).captures) return CAPTURING; /* what is captured so can be read by nobody */
  return cuEventRecordWithFlags(event, given, 0);
}
API int cuEventQuery(handle) { return 0; }
API int cuEventSynchronize(handle) { return 0; }
API int cuEventElapsedTime(float *milliseconds, handle before, handle after) {
  return *milliseconds = (*(int64_t *)after - *(int64_t *)before) * 1e-6f, 0;
}
API int cuStreamWaitEvent(handle, handle, unsigned) { return ++counts.orders, 0; }
