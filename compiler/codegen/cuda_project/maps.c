/* Maps of tensors, by which GPUs from the H100 on copy tiles to memory that a block shares: the driver writes them, for an
 * address; a launch hands them over behind the addresses.
 */
enum { MAP_RANKS = 5, MAPS_AT_MOST = 4 };

typedef struct tensor_map {
  _Alignas(64) unsigned char bytes[128];
} tensor_map;

/* What a function knows of a tensor: which of its parameters has the address, and the tensor with its tiles. Axes begin
 * with the innermost one; strides are in bytes, of all others. */
typedef struct mapped_tensor {
  int function, parameter, dtype, rank;
  uint64_t extents[MAP_RANKS], strides[MAP_RANKS];
  uint32_t box[MAP_RANKS];
} mapped_tensor;

/* The driver's numbers. */
enum { MAP_OF_INT8 = 0, MAP_OF_FLOAT16 = 6, MAP_OF_FLOAT32 = 7, MAP_OF_BFLOAT16 = 9 };
enum { ROWS_OF_ELEMENTS = 0, EXCHANGED_IN_128_BYTES = 3, L2_LINES_OF_256_BYTES = 3, ZEROS_BEYOND = 0 };

/* Writes the maps of a function, and where they are; how many there are is added to `count`. */
static int write_maps(const mapped_tensor *tensors, int number, const address *arguments, tensor_map *maps, void **pointers, int *count) {
  const uint32_t every[MAP_RANKS] = {1, 1, 1, 1, 1};
  int made = 0;
  for (; tensors->rank; ++tensors) {
    if (tensors->function != number) continue;
    if (made == MAPS_AT_MOST) return fail(ERROR_KERNEL, "a kernel copies tiles of too many tensors");
    if (!cu.map) return fail(ERROR_DEVICE, "the NVIDIA driver is too old: it has no cuTensorMapEncodeTiled");
    int result = cu.map(
        &maps[made], tensors->dtype, (unsigned)tensors->rank, arguments[tensors->parameter], tensors->extents, tensors->strides,
        tensors->box, every, ROWS_OF_ELEMENTS, EXCHANGED_IN_128_BYTES, L2_LINES_OF_256_BYTES, ZEROS_BEYOND);
    if (result) return failed(ERROR_DEVICE, result, "a tensor cannot be copied by tiles");
    pointers[(*count)++] = &maps[made++];
  }
  return OK;
}
