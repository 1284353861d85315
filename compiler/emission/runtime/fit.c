/* Copies what is there of a tensor between the caller's, without gaps, and a buffer with room for `bounds`. */
static void fit(void *to, const void *from, int rank, const int64_t bounds[], const int64_t sizes[], size_t element, int spread) {
  if (rank == 1) {
    memcpy(to, from, (size_t)sizes[0] * element);
    return;
  }
  size_t large = element, small = element;
  for (int i = 1; i < rank; ++i) {
    large *= (size_t)bounds[i];
    small *= (size_t)sizes[i];
  }
  for (int64_t i = 0; i < sizes[0]; ++i)
    fit((unsigned char *)to + (size_t)i * (spread ? large : small),
        (const unsigned char *)from + (size_t)i * (spread ? small : large), rank - 1, bounds + 1, sizes + 1, element, spread);
}
