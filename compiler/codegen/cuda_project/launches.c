/* What the steps of a run do: launches of grids, copies, and numbers that decide what comes next; part of runs.c. */

static int launch(const run *r, handle stream, int number, const unsigned size[6], address *arguments, int count) {
  void *pointers[PARAMETERS_AT_MOST + MAPS_AT_MOST];
  tensor_map maps[MAPS_AT_MOST];
  if (count > PARAMETERS_AT_MOST) return fail(ERROR_KERNEL, "a kernel has too many parameters");
  for (int i = 0; i < count; ++i) pointers[i] = &arguments[i];
  int status = write_maps(mapped_tensors, number, arguments, maps, pointers, &count);
  if (status) return status;
  const launch_attribute early = {.kind = BEGINS_EARLY, .value.is_allowed = 1};
  const launch_config config = {
      {size[0], size[1], size[2]}, {size[3], size[4], size[5]}, function_shared[number], stream, &early, r->of->begins_early};
  TRY(cu.launch(&config, r->of->functions[number], pointers, NULL), function_names[number]);
  return OK;
}

static int copy(handle stream, address to, address from, size_t size) {
  if (size) TRY(cu.copy(to, from, size, stream), "a tensor cannot be copied");
  return OK;
}

/* Copies what is there of a tensor between the caller's, without gaps, and a buffer with room for `bounds`: three axes at
 * a time. */
static int fit(handle stream, address to, address from, int rank, const int64_t bounds[], const int64_t sizes[], size_t element, int spread) {
  size_t large = element, small = element;
  for (int i = 1; i < rank; ++i) {
    large *= (size_t)bounds[i];
    small *= (size_t)sizes[i];
  }
  if (rank > 3) {
    for (int64_t i = 0; i < sizes[0]; ++i) {
      const address next = to + (address)i * (spread ? large : small), source = from + (address)i * (spread ? small : large);
      int status = fit(stream, next, source, rank - 1, bounds + 1, sizes + 1, element, spread);
      if (status) return status;
    }
    return OK;
  }
  const int64_t height = rank > 1 ? sizes[rank - 2] : 1, depth = rank > 2 ? sizes[rank - 3] : 1;
  const size_t row = (size_t)sizes[rank - 1] * element, room = (size_t)bounds[rank - 1] * element;
  const size_t rows = (size_t)height, room_rows = rank > 1 ? (size_t)bounds[rank - 2] : 1;
  const strided given = {
      .from_kind = ON_DEVICE, .from = from, .from_row = spread ? row : room, .from_rows = spread ? rows : room_rows,
      .to_kind = ON_DEVICE, .to = to, .to_row = spread ? room : row, .to_rows = spread ? room_rows : rows,
      .row = row, .rows = rows, .planes = (size_t)depth};
  if (row && height && depth) TRY(cu.copy_rows(&given, stream), "a tensor cannot be copied");
  return OK;
}

/* A number of the GPU's that decides what comes next. */
static int fetch(handle stream, void *to, address from, size_t size) {
  TRY(cu.download(to, from, size, stream), "a number cannot be read");
  TRY(cu.wait(stream), "a step failed");
  return OK;
}

static int set(handle stream, address to, int64_t value) {
  TRY(cu.fill(to, (unsigned)value, 1, stream), "a number cannot be set");
  TRY(cu.fill(to + 4, (unsigned)((uint64_t)value >> 32), 1, stream), "a number cannot be set");
  return OK;
}
