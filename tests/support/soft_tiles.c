/* The matrix instructions of AMX-BF16 and AMX-INT8 as functions, for processors without them: tests call these in their place.
 *
 * Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2: LDTILECFG, TILELOADD, TDPBF16PS, TDPBUSD. What the
 * manual says raises an exception aborts.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local struct {
  int palette;
  int rows[8], row_bytes[8];
  unsigned char data[8][16][64];
} tiles;

static void need(int fulfilled) {
  if (!fulfilled) abort();
}

int32_t soft_ldtilecfg(const unsigned char *configuration) {
  memset(&tiles, 0, sizeof tiles);
  need(configuration[0] == 1);
  tiles.palette = 1;
  for (int i = 1; i < 16; ++i) need(configuration[i] == 0);
  for (int i = 32; i < 48; ++i) need(configuration[i] == 0);
  for (int i = 56; i < 64; ++i) need(configuration[i] == 0);
  for (int tile = 0; tile < 8; ++tile) {
    tiles.row_bytes[tile] = configuration[16 + 2 * tile] | configuration[17 + 2 * tile] << 8;
    tiles.rows[tile] = configuration[48 + tile];
    need(tiles.rows[tile] <= 16 && tiles.row_bytes[tile] <= 64 && !tiles.rows[tile] == !tiles.row_bytes[tile]);
  }
  return 0;
}

int32_t soft_tilerelease(void) {
  memset(&tiles, 0, sizeof tiles);
  return 0;
}

int32_t soft_tilezero(uint8_t tile) {
  need(tiles.palette && tiles.rows[tile]);
  memset(tiles.data[tile], 0, sizeof tiles.data[tile]);
  return 0;
}

int32_t soft_tileloadd64(uint8_t tile, const unsigned char *from, int64_t stride) {
  need(tiles.palette && tiles.rows[tile]);
  memset(tiles.data[tile], 0, sizeof tiles.data[tile]);
  for (int row = 0; row < tiles.rows[tile]; ++row)
    memcpy(tiles.data[tile][row], from + row * stride, tiles.row_bytes[tile]);
  return 0;
}

int32_t soft_tilestored64(uint8_t tile, unsigned char *to, int64_t stride) {
  need(tiles.palette && tiles.rows[tile]);
  for (int row = 0; row < tiles.rows[tile]; ++row)
    memcpy(to + row * stride, tiles.data[tile][row], tiles.row_bytes[tile]);
  return 0;
}

static float widened(uint16_t half) {
  uint32_t bits = (uint32_t)half << 16;
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

int32_t soft_tdpbf16ps(uint8_t sums, uint8_t left, uint8_t right) {
  need(tiles.palette && tiles.rows[sums] == tiles.rows[left] && tiles.row_bytes[sums] == tiles.row_bytes[right]);
  need(tiles.row_bytes[left] == 4 * tiles.rows[right]);
  for (int row = 0; row < tiles.rows[sums]; ++row)
    for (int k = 0; k < tiles.rows[right]; ++k)
      for (int column = 0; column < tiles.row_bytes[sums] / 4; ++column) {
        float sum;
        uint16_t a[2], b[2];
        memcpy(&sum, tiles.data[sums][row] + 4 * column, sizeof sum);
        memcpy(a, tiles.data[left][row] + 4 * k, sizeof a);
        memcpy(b, tiles.data[right][k] + 4 * column, sizeof b);
        sum += widened(a[0]) * widened(b[0]);
        sum += widened(a[1]) * widened(b[1]);
        memcpy(tiles.data[sums][row] + 4 * column, &sum, sizeof sum);
      }
  return 0;
}

int32_t soft_tdpbusd(uint8_t sums, uint8_t left, uint8_t right) {
  need(tiles.palette && tiles.rows[sums] == tiles.rows[left] && tiles.row_bytes[sums] == tiles.row_bytes[right]);
  need(tiles.row_bytes[left] == 4 * tiles.rows[right]);
  for (int row = 0; row < tiles.rows[sums]; ++row)
    for (int k = 0; k < tiles.rows[right]; ++k)
      for (int column = 0; column < tiles.row_bytes[sums] / 4; ++column) {
        uint32_t sum;
        memcpy(&sum, tiles.data[sums][row] + 4 * column, sizeof sum);
        const unsigned char *a = tiles.data[left][row] + 4 * k;
        const signed char *b = (const signed char *)tiles.data[right][k] + 4 * column;
        for (int term = 0; term < 4; ++term) sum += (uint32_t)(a[term] * b[term]);
        memcpy(tiles.data[sums][row] + 4 * column, &sum, sizeof sum);
      }
  return 0;
}
