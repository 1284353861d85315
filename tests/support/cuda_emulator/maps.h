/* How the emulated driver writes maps of tensors; `warp_groups.h` reads them. Part of driver.cpp. */
/* A map of a tensor; the rest of the handle's 128 bytes is free. */
struct mapped {
  address where;
  uint32_t rank, element;
  uint64_t strides[5];
  uint32_t extents[5], box[5];
};
struct alignas(64) tensor_map {
  unsigned char bytes[128];
};

/* As the driver's manual has it: what may be mapped, and of that lines of 128 bytes, exchanged among eight. */
API int cuTensorMapEncodeTiled(tensor_map *map, int dtype, unsigned rank, address where, const uint64_t *extents,
                               const uint64_t *strides, const uint32_t *box, const uint32_t *steps, int interleave,
                               int swizzle, int, int fill) {
  static_assert(sizeof(mapped) <= sizeof(tensor_map), "");
  const std::map<int, uint32_t> elements = {{0, 1}, {6, 2}, {7, 4}, {9, 2}};
  if (!elements.count(dtype) || rank < 2 || rank > 5 || where % 16 || interleave || swizzle != 3 || fill) return INVALID;
  mapped made = {where, rank, elements.at(dtype), {}, {}, {}};
  size_t bytes = extents[0] * made.element;
  for (unsigned axis = 0; axis < rank; ++axis) {
    if (!extents[axis] || extents[axis] > 1ull << 31 || !box[axis] || box[axis] > 256 || steps[axis] != 1) return INVALID;
    made.extents[axis] = extents[axis];
    made.box[axis] = box[axis];
    if (!axis) continue;
    if (strides[axis - 1] % 16 || strides[axis - 1] >> 40) return INVALID;
    made.strides[axis] = strides[axis - 1];
    bytes += strides[axis - 1] * (extents[axis] - 1);
  }
  if (box[0] * made.element != 128 || (uintptr_t)map % 64) return INVALID;
  LOCKED;
  if (!is_memory(where, bytes)) return INVALID;
  ++counts.maps;
  memcpy(map, &made, sizeof made);
  return 0;
}
