/* NVIDIA's driver, found when the library first runs. A machine without one loads the library, and hears
 * what is missing.
 *
 * Declared here is what is called, as CUDA 12 has it; handles are pointers, and results 0 where all went well.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

typedef uint64_t address; /* in the memory of a GPU */
typedef void *handle;

/* A launch: with an attribute it may begin before the one before it has ended. */
typedef struct launch_attribute {
  int kind;
  char padding[4];
  union {
    int is_allowed;
    char bytes[64];
  } value;
} launch_attribute;
typedef struct launch_config {
  unsigned blocks[3], threads[3], shared_bytes;
  handle stream;
  const launch_attribute *attributes;
  unsigned num_attributes;
} launch_config;

enum { BEGINS_EARLY = 6, GENERATION = 75, MOST_SHARED = 8 };
enum { NO_BARRIERS = 1, CAPTURE_OF_THIS_THREAD = 1, MEMORY_TYPE = 2, ON_DEVICE = 2, NO_TIMES = 2, EXTERNAL = 1, NO_CODE = 209 };

/* Its CUDA_MEMCPY3D: rows of bytes, as many to a plane, each with a place of its own in memory that has room for more. */
typedef struct strided {
  size_t from_x, from_y, from_z, from_level;
  int from_kind;
  const void *from_host;
  address from;
  handle from_array, reserved0;
  size_t from_row, from_rows;
  size_t to_x, to_y, to_z, to_level;
  int to_kind;
  void *to_host;
  address to;
  handle to_array, reserved1;
  size_t to_row, to_rows;
  size_t row, rows, planes;
} strided;

/* Name, the driver's symbol, parameters. */
#define DRIVER(F) \
  F(init, "cuInit", (unsigned)) \
  F(get_device, "cuDeviceGet", (int *, int)) \
  F(version, "cuDriverGetVersion", (int *)) \
  F(attribute, "cuDeviceGetAttribute", (int *, int, int)) \
  F(device, "cuCtxGetDevice", (int *)) \
  F(retain, "cuDevicePrimaryCtxRetain", (handle *, int)) \
  F(current, "cuCtxGetCurrent", (handle *)) \
  F(push, "cuCtxPushCurrent_v2", (handle)) \
  F(pop, "cuCtxPopCurrent_v2", (handle *)) \
  F(load, "cuModuleLoadData", (handle *, const void *)) \
  F(function, "cuModuleGetFunction", (handle *, handle, const char *)) \
  F(set, "cuFuncSetAttribute", (handle, int, int)) \
  F(allocate, "cuMemAlloc_v2", (address *, size_t)) \
  F(release, "cuMemFree_v2", (address)) \
  F(copy, "cuMemcpyAsync", (address, address, size_t, handle)) \
  F(copy_rows, "cuMemcpy3DAsync_v2", (const strided *, handle)) \
  F(upload, "cuMemcpyHtoD_v2", (address, const void *, size_t)) \
  F(download, "cuMemcpyDtoHAsync_v2", (void *, address, size_t, handle)) \
  F(fill, "cuMemsetD32Async", (address, unsigned, size_t, handle)) \
  F(pointer, "cuPointerGetAttribute", (void *, int, address)) \
  F(launch, "cuLaunchKernelEx", (const launch_config *, handle, void **, void **)) \
  F(new_stream, "cuStreamCreate", (handle *, unsigned)) \
  F(wait, "cuStreamSynchronize", (handle)) \
  F(begin_capture, "cuStreamBeginCapture_v2", (handle, int)) \
  F(end_capture, "cuStreamEndCapture", (handle, handle *)) \
  F(instantiate, "cuGraphInstantiateWithFlags", (handle *, handle, unsigned long long)) \
  F(replay, "cuGraphLaunch", (handle, handle)) \
  F(drop_graph, "cuGraphDestroy", (handle)) \
  F(drop_instance, "cuGraphExecDestroy", (handle)) \
  F(new_event, "cuEventCreate", (handle *, unsigned)) \
  F(drop_event, "cuEventDestroy_v2", (handle)) \
  F(record, "cuEventRecord", (handle, handle)) \
  F(record_in_graph, "cuEventRecordWithFlags", (handle, handle, unsigned)) \
  F(is_done, "cuEventQuery", (handle)) \
  F(await, "cuEventSynchronize", (handle)) \
  F(between, "cuEventElapsedTime", (float *, handle, handle)) \
  F(say, "cuGetErrorString", (int, const char **))

/* What there is from CUDA 12 on, and null before. */
#define LATER_DRIVER(F) \
  F(map, "cuTensorMapEncodeTiled", (void *, int, unsigned, address, const uint64_t *, const uint64_t *, const uint32_t *, const uint32_t *, int, int, int, int))

#define FIELD(name, symbol, parameters) int(*name) parameters;
static struct { DRIVER(FIELD) LATER_DRIVER(FIELD) } cu;
#undef FIELD

/* What went wrong in this thread last. */
static __thread char problem[256];

static int fail(int status, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(problem, sizeof problem, format, arguments);
  va_end(arguments);
  return status;
}

static int failed(int status, int result, const char *what) {
  const char *text = NULL;
  if (cu.say) cu.say(result, &text);
  return fail(status, "%s: %s (the driver's error %d)", what, text ? text : "an unknown error", result);
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static handle primary; /* the first GPU's own context, for callers that have none */

/* Finds the driver; under the lock. */
static int find_driver(int status) {
  static int found;
  if (found) return 0;
  void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!library) return fail(status, "there is no NVIDIA driver on this machine: libcuda.so.1 cannot be loaded");
#define FIND(name, symbol, parameters) \
  *(void **)&cu.name = dlsym(library, symbol); \
  if (!cu.name) return fail(status, "the NVIDIA driver is too old: it has no " symbol);
  DRIVER(FIND)
#undef FIND
#define FIND(name, symbol, parameters) *(void **)&cu.name = dlsym(library, symbol);
  LATER_DRIVER(FIND)
#undef FIND
  int result = cu.init(0);
  if (result) return failed(status, result, "there is no NVIDIA GPU that can be used");
  found = 1;
  return 0;
}
